"""The command `ponder-check`: tries a verifier's contract or a task's gold answers, and prints what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.table import Table

from ponder.errors import UserError
from ponder.scripts.command import console
from ponder.scripts.composing import composed, made, made_verifier
from ponder.scripts.solve import in_background
from ponder.tasks.validation import validate
from ponder.verifiers.check import Finding, findings


def table(title: str, found: Sequence[Finding]) -> Table:
    """The findings, one a line, each with its remedy if it failed."""
    shown = Table(title=title)
    for name in ("tried", "", "found", "remedy"):
        shown.add_column(name, overflow="fold")
    for one in found:
        shown.add_row(one.rule, "kept" if one.passed else "BROKEN", one.detail, one.remedy)
    return shown


def main() -> None:
    """The console command `ponder-check`."""
    composed("ponder-check", "check", _check)


def _check(config: DictConfig, choices: Mapping[str, str]) -> None:
    if _given("task") and not _given("verifier"):
        _check_task(config, choices["task"])
        return
    verifier = made_verifier(config, choices)
    found = in_background(findings(verifier))
    console().print(table(f"verifier={choices['verifier']}: {type(verifier).__name__}", found))
    for one in found:
        if not one.passed:
            raise UserError(one.detail, one.remedy)


def _given(group: str) -> bool:
    """Whether the command chose an option of a group itself."""
    return any(one.startswith(f"{group}=") for one in HydraConfig.get().overrides.task)


def _check_task(config: DictConfig, name: str) -> None:
    """Proves a task's gold answers, and says how many there are."""
    task = made("task", config)
    found = validate(task)
    line = f"task={name}: {found.proven} of {found.problems} gold answers are read and graded right"
    console().print(f"{line}; {found.without} have none to prove" if found.without else line)


if __name__ == "__main__":
    main()
