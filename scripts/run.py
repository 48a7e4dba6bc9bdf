"""The command `ponder`: composes a run with Hydra, checks it, and runs or resumes it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ponder.context import Setup
from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.protocols import Until
from ponder.runner import run
from ponder.scripts import composing
from ponder.scripts.composing import (
    check_judges,
    check_verifiers,
    deaf,
    digest,
    end,
    explain,
    git_commit,
    made,
    sizes,
    whole,
)
from ponder.scripts.progress import Progress
from ponder.scripts.records import search_fields
from ponder.scripts.rows import RowFile, write_about
from ponder.scripts.solve import in_background
from ponder.search.select import SELECTORS

GROUPS = ("search", "verifier", "sampler", "model", "task", "budget", "select", "logger")
WHOLE = {"budget.n": 1, "seed": 0, "concurrency": 1, "step.max_steps": 1}
"""Keys that are whole numbers, and the least that each may be."""

_refused: list[str] = []
"""What was wrong with combinations of this sweep."""


def build(config: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """Instantiates all parts of a run and checks them; nothing is written, no engine starts.

    Args:
        config: a composed conf/run.yaml.
        choices: which option each group has, as Hydra reports it.

    Returns:
        Arguments of `ponder.runner.run`, `rows` and `recorders` left out, and `path`, `plain`.

    Raises:
        UserError: names the key, its value and what is allowed.
    """
    whole(config, WHOLE)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    for group in GROUPS:
        if isinstance(plain.get(group), dict):
            plain[group]["name"] = choices.get(group, group)
    # First what is quickly made: a mistake there should not wait until vLLM is imported.
    ceilings = {key: value for key, value in plain["budget"].items() if key not in ("n", "run", "name")}
    budget, run_budget = ceiling("budget", ceilings), ceiling("budget.run", plain["budget"]["run"])
    step = until("step", {key: value for key, value in plain["step"].items() if key != "max_steps"})
    solution = until("solution", plain["solution"])
    strategy, task, verifier = (made(key, config) for key in ("search", "task", "verifier"))
    ids = [problem.id for problem in task.problems()]
    if len(set(ids)) != len(ids) or not ids:
        twice = next((one for one in ids if ids.count(one) > 1), None)
        raise UserError(
            f"task={choices.get('task')} has {'no problems' if not ids else f'two problems of id {twice!r}'}",
            "a task needs at least one problem, and ids that differ",
        )
    further = made("verifiers", config)
    setup = Setup(
        samplers={"policy": made("sampler", config), **made("roles", config)},
        verifiers={**({"verifier": verifier} if verifier else {}), **further},
        step=step,
        solution=solution,
        max_steps=plain["step"]["max_steps"],
        budget=budget,
        run_budget=run_budget,
    )
    _check_asked(strategy, setup, config, choices)
    named = {"task": task, "verifier": verifier, **{f"verifiers.{role}": part for role, part in further.items()}}
    check_judges(named, config, choices)
    check_verifiers(setup.verifiers)
    hashed = digest(plain)
    name = f"{plain['task']['name']}-{plain['search']['name']}-n{config.budget.n}-seed{config.seed}-{hashed}"
    return {
        "task": task,
        "strategy": strategy,
        "setup": setup,
        "seed": config.seed,
        "select": plain["select"]["name"],
        "selectors": {**SELECTORS, plain["select"]["name"]: made("select", config)},
        "concurrency": config.concurrency,
        "stamp": {"run_id": name, "config_hash": hashed, "git_commit": git_commit()},
        "path": Path(config.out) / name,
        "plain": plain,
    }


def _check_asked(strategy: Any, setup: Setup, config: DictConfig, choices: Mapping[str, str]) -> None:
    """Refuses a strategy that asks in words if the model it asks follows no instructions.

    Raises:
        UserError: says how to bind another model.
    """
    role = getattr(strategy, "instructed", None)
    if role and deaf(getattr(setup.samplers.get(role), "model", None), config):
        raise UserError(
            f"search={choices.get('search')} asks a model in words; "
            f"model={choices.get('model')} follows no instructions",
            "model=smollm2 or model=local; or another model where the search names who is asked: search.judge=judge "
            "+roles.judge._target_=ponder.samplers.vllm_engine.VLLMSampler +roles.judge.model=DIR",
        )


def ceiling(key: str, values: Mapping[str, Any]) -> Budget:
    """A `Budget` from its yaml; its errors name the key as the user wrote it."""
    try:
        return Budget(**values)
    except UserError as error:
        raise UserError(error.message.replace("budget", key, 1), error.hint) from error


def until(key: str, values: Mapping[str, Any]) -> Until:
    """An `Until` from its yaml.

    Raises:
        UserError: a limit that is no whole number from 1.
    """
    for limit in ("max_tokens", "every"):
        value = values.get(limit)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UserError(f"{key}.{limit}={value} is out of range", "allowed: a whole number from 1")
    return Until(**{**values, "stop": tuple(values.get("stop", ()))})


@hydra.main(version_base="1.3", config_path="pkg://ponder.conf", config_name="run")
def job(config: DictConfig) -> None:
    """One run: what `ponder` does once, and `ponder -m` for each combination."""
    try:
        _job(config)
    except Exception as error:
        message = explain("ponder", error)
        here = str(HydraConfig.get().launcher.get("_target_")).endswith("BasicLauncher")
        if message is None or HydraConfig.get().mode is not RunMode.MULTIRUN or not here:
            end("ponder", error)
        # One combination that cannot be does not cost the sweep its others.
        _refused.append(f"{' '.join(HydraConfig.get().overrides.task)}: {message}")
        print(f"ponder: {_refused[-1]}", file=sys.stderr)


def _job(config: DictConfig) -> None:
    parts = build(config, HydraConfig.get().runtime.choices)
    plain, path = parts.pop("plain"), parts.pop("path")
    logger = made("logger", config)
    rows = RowFile(path / "rows.jsonl")
    try:
        questions, setup = sum(1 for _ in parts["task"].problems()), parts["setup"]
        described = {**parts["stamp"], "config": plain, "questions": questions}
        described["parameters"] = sizes({**setup.samplers, **setup.verifiers})
        write_about(path, described)
        recorders = [Progress(path), *([logger] if logger else [])]
        in_background(run(**parts, rows=rows, describe=search_fields, config=plain, recorders=recorders))
    finally:
        rows.close()


def main() -> None:
    """Runs `job`; a mistake of the user ends in one message and exit code 2."""
    _refused.clear()
    composing.command("ponder", job)
    if _refused:
        print(f"{len(_refused)} of the sweep's combinations could not run, as said above", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
