"""The command `ponder`: composes a run with Hydra, checks it, and runs or resumes it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import ponder
from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.protocols import Until
from ponder.records import RowFile
from ponder.runner import Setup, run
from ponder.scripts.progress import Progress
from ponder.scripts.solve import in_background
from ponder.search.select import SELECTORS
from ponder.verifiers.check import acheck

PACKAGE = Path(ponder.__file__).parent
GROUPS = ("search", "verifier", "sampler", "model", "task", "budget", "select", "logger")
UNSTAMPED = ("out", "concurrency", "logger")
"""Keys that change where and how fast a run goes, but not its rows."""

OmegaConf.register_new_resolver("embedded", lambda name: str(PACKAGE / "tasks" / "embedded" / name), replace=True)


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
    n = config.budget.n
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UserError(f"budget.n={n} is out of range", "allowed: a whole number from 1")
    if isinstance(config.seed, bool) or not isinstance(config.seed, int) or config.seed < 0:
        raise UserError(f"seed={config.seed} is out of range", "allowed: a whole number from 0")
    if not isinstance(config.concurrency, int) or config.concurrency < 1:
        raise UserError(f"concurrency={config.concurrency} is out of range", "allowed: a whole number from 1")
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    for group in GROUPS:
        if isinstance(plain.get(group), dict):
            plain[group]["name"] = choices.get(group, group)
    verifier = instantiate(config.verifier)
    ceilings = {key: value for key, value in plain["budget"].items() if key not in ("n", "run", "name")}
    setup = Setup(
        samplers={"policy": instantiate(config.sampler), **instantiate(config.roles)},
        verifiers={**({"verifier": verifier} if verifier else {}), **instantiate(config.verifiers)},
        step=until("step", {k: v for k, v in plain["step"].items() if k != "max_steps"}),
        solution=until("solution", plain["solution"]),
        max_steps=plain["step"]["max_steps"],
        budget=Budget(**ceilings),
        run_budget=Budget(**plain["budget"]["run"]),
    )
    for part in setup.verifiers.values():
        # Ours were checked by their tests, and a model's engine should not start before it is used.
        if not type(part).__module__.startswith("ponder."):
            in_background(acheck(part))
    task = instantiate(config.task)
    ids = [problem.id for problem in task.problems()]
    if len(set(ids)) != len(ids) or not ids:
        twice = next((one for one in ids if ids.count(one) > 1), None)
        raise UserError(
            f"task={choices.get('task')} has {'no problems' if not ids else f'two problems of id {twice!r}'}",
            "a task needs at least one problem, and ids that differ",
        )
    stamped = {key: value for key, value in plain.items() if key not in UNSTAMPED}
    digest = hashlib.blake2b(json.dumps(stamped, sort_keys=True).encode(), digest_size=4).hexdigest()
    name = f"{plain['task']['name']}-{plain['search']['name']}-n{n}-seed{config.seed}-{digest}"
    return {
        "task": task,
        "strategy": instantiate(config.search),
        "setup": setup,
        "seed": config.seed,
        "select": plain["select"]["name"],
        "selectors": {**SELECTORS, plain["select"]["name"]: instantiate(config.select)},
        "concurrency": config.concurrency,
        "stamp": {"run_id": name, "config_hash": digest, "git_commit": git_commit()},
        "path": Path(config.out) / name,
        "plain": plain,
    }


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


def git_commit() -> str | None:
    """The commit of the working folder, None outside a repository."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


@hydra.main(version_base="1.3", config_path="pkg://ponder.conf", config_name="run")
def job(config: DictConfig) -> None:
    """One run: what `ponder` does once, and `ponder -m` for each combination."""
    try:
        _job(config)
    except Exception as error:
        _exit(error)


def _job(config: DictConfig) -> None:
    parts = build(config, HydraConfig.get().runtime.choices)
    plain, path = parts.pop("plain"), parts.pop("path")
    logger = instantiate(config.logger)
    rows = RowFile(path / "rows.jsonl")
    try:
        described = {**parts["stamp"], "config": plain, "questions": sum(1 for _ in parts["task"].problems())}
        (path / "run.json").write_text(json.dumps(described, indent=1) + "\n")
        recorders = [Progress(path), *([logger] if logger else [])]
        in_background(run(**parts, rows=rows, config=plain, recorders=recorders))
    finally:
        rows.close()


def main() -> None:
    """Runs `job`; a mistake of the user ends in one message and exit code 2."""
    sys.path.insert(0, os.getcwd())  # a user's own verifier stands beside their yamls
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here instead of being printed by Hydra
    try:
        job()
    except KeyboardInterrupt:
        print("ponder: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        _exit(error)
    finally:
        stop_engines()


def stop_engines() -> None:
    """Ends engines while the loop still runs: at interpreter exit vLLM takes the end for a crash, and says so."""
    for name in ("ponder.samplers.vllm_engine", "ponder.verifiers.prm_engines"):
        if module := sys.modules.get(name):
            module.shutdown_engines()


def _exit(error: Exception) -> NoReturn:
    message = explain(error)
    if message is None:
        raise error
    print(f"ponder: {message}", file=sys.stderr)
    sys.exit(2)


def explain(error: BaseException) -> str | None:
    """What the user did wrong, None if the error is not theirs."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    mistakes = [one for one in chain if isinstance(one, UserError)]
    if mistakes:
        return str(mistakes[0])
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        hint = "ponder --help lists the groups and keys; +KEY=VALUE adds a key that is not there yet"
        causes = [str(one).strip() for one in chain if not isinstance(one, HydraException)]
        parts = dict.fromkeys([str(error).split("Config search path:")[0].strip(), *causes])
        return "\n  ".join([*parts, hint])
    return None


if __name__ == "__main__":
    main()
