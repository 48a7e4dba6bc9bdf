"""The command `ponder-rescore`: scores the stored rows of a run with another verifier. Nothing is sampled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ponder.context import Setup
from ponder.errors import UserError
from ponder.runner import run
from ponder.scripts.composing import (
    check_verifiers,
    chosen_verifier,
    composed,
    digest,
    git_commit,
    made,
    made_verifier,
    members,
    sizes,
    whole,
)
from ponder.scripts.progress import Progress
from ponder.scripts.rows import RowFile, read_about, read_rows, write_about
from ponder.scripts.run import GROUPS
from ponder.scripts.solve import in_background
from ponder.scripts.stored import Stored, StoredTask
from ponder.search.select import SELECTORS


def build(config: DictConfig, choices: Mapping[str, str]) -> list[dict[str, Any]]:
    """Instantiates and checks what re-scores each run; nothing is written, no engine of ours starts.

    Args:
        config: a composed conf/rescore.yaml.
        choices: which option each group has, as Hydra reports it.

    Returns:
        For each run, arguments of `ponder.runner.run`, `rows` and `recorders` left out, and `path`, `questions`,
        `logger`.

    Raises:
        UserError: names the key, its value and what is allowed.
    """
    whole(config, {"concurrency": 1})
    name = chosen_verifier(choices)
    if OmegaConf.is_missing(config, "run"):
        raise UserError("no run given", "run=DIR: the folder of a run, or one above several runs")
    found, verifiers = [], dict[str, Any]()
    for folder in stored_runs(Path(config.run)):
        folder = folder if folder.name not in ("", "..") else folder.resolve()
        about, rows = read_about(folder, "seed", "select.name"), read_rows(folder / "rows.jsonl")
        if not rows:
            raise UserError(f"no row in {folder / 'rows.jsonl'}", "has a question finished yet?")
        merged = over(config, about["config"])
        plain = _plain(merged, about, choices)
        key = json.dumps(plain["verifier"], sort_keys=True)
        if key not in verifiers:
            verifiers[key] = _verifier(merged, {**_names(about), **_given(choices)})
        task, select = StoredTask(rows), plain["select"]["name"]
        hashed = digest(plain)
        run_id = f"{folder.name}-rescored-{name}-{hashed}"
        roles = ("verifier", *(about["config"].get("verifiers") or {}))
        found.append(
            {
                "task": task,
                "strategy": Stored(task, made("weight", config), roles),
                "setup": Setup(samplers={}, verifiers={"verifier": verifiers[key]}),
                "seed": plain["seed"],
                "select": select,
                "selectors": {**SELECTORS, select: made("select", merged)},
                "concurrency": config.concurrency,
                "stamp": {"run_id": run_id, "config_hash": hashed, "git_commit": git_commit()},
                "describe": task.describe,
                "config": plain,
                "path": (Path(config.out) if config.out else folder.parent) / run_id,
                "questions": about.get("questions") or len(rows),
                "parameters": {**about.get("parameters", {}), **sizes({"verifier": verifiers[key]})},
                "logger": made("logger", merged),
            }
        )
    return found


def stored_runs(folder: Path) -> list[Path]:
    """The folder if it is a run, else the runs below it, re-scored ones left out.

    Raises:
        UserError: there is none.
    """
    if (folder / "rows.jsonl").exists():
        return [folder]
    below = [path.parent for path in sorted(folder.rglob("rows.jsonl"))]
    found = [one for one in below if "rescored_from" not in read_about(one)["config"]]
    if not found:
        what = f"no rows.jsonl of a run under run={folder}" if folder.exists() else f"run={folder} does not exist"
        raise UserError(what, "give the folder of a run, or one above several runs")
    return found


def over(config: DictConfig, stored: Mapping[str, Any]) -> DictConfig:
    """A run's configuration with whole parts of this command's in place of its own, not yet resolved."""
    parts = {key: _nameless(value) if key in GROUPS else value for key, value in stored.items()}
    given: Mapping[Any, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    return OmegaConf.create({**parts, **{key: value for key, value in given.items() if value is not None}})


def _plain(merged: DictConfig, about: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """The resolved configuration of the re-scored run: that of the run, but for what decides the new weights."""
    plain = {**about["config"], "rescored_from": about["run_id"]}
    for key in ("verifier", "weight", *(["select"] if choices.get("select") else [])):
        plain[key] = OmegaConf.to_container(merged[key], resolve=True, throw_on_missing=True)
    plain["verifier"]["name"] = choices["verifier"]
    plain["select"] = {**plain["select"], "name": choices.get("select") or plain["select"]["name"]}
    return plain


def _verifier(merged: DictConfig, names: Mapping[str, str]) -> Any:
    """The verifier, checked."""
    verifier = made_verifier(merged, names)
    for one in members(verifier):
        if getattr(one, "needs_logprobs", False):
            raise UserError(
                f"verifier={names['verifier']}: {type(one).__name__} reads log-probabilities of tokens, which rows do "
                "not hold",
                f"run the search again with it: ponder verifier={names['verifier']}",
            )
    check_verifiers({"verifier": verifier})
    return verifier


def _names(about: Mapping[str, Any]) -> dict[str, str]:
    """Which option each group of a stored run had."""
    return {key: value["name"] for key, value in about["config"].items() if key in GROUPS and "name" in (value or {})}


def _given(choices: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in choices.items() if value}


def _nameless(part: Any) -> Any:
    """A part of a stored configuration without the name that it was stored under, which is no argument."""
    return {key: value for key, value in part.items() if key != "name"} if isinstance(part, Mapping) else part


def main() -> None:
    """The console command `ponder-rescore`."""
    composed("ponder-rescore", "rescore", _rescore)


def _rescore(config: DictConfig, choices: Mapping[str, str]) -> None:
    for parts in build(config, choices):  # all are checked before the first begins
        path, logger = parts.pop("path"), parts.pop("logger")
        told = {name: parts.pop(name) for name in ("questions", "parameters")}
        rows = RowFile(path / "rows.jsonl")
        try:
            described = {**parts["stamp"], "config": parts["config"], **told}
            write_about(path, described)
            in_background(run(**parts, rows=rows, recorders=[Progress(path), *([logger] if logger else [])]))
        finally:
            rows.close()


if __name__ == "__main__":
    main()
