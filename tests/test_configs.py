"""Every yaml in conf/ is composed and instantiated, a new one from its first day; no engine starts."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from ponder.scripts import rescore
from ponder.scripts.composing import made_verifier
from ponder.scripts.run import GROUPS as NAMED
from ponder.scripts.run import build
from tests.scripts.command import ponder_here
from tests.tasks.sample_rows import overrides

CONF = Path(__file__).parents[1] / "conf"
OPTIONS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml"))
GROUPS = sorted({group for group, _ in OPTIONS})

# What an option needs that may not be here: a folder that it leaves open, a model hub, a data set, a conversion.
NEEDS = {
    ("model", "local"): ["model.path={policy}"],
    ("model", "smollm2"): ["model.path={policy}"],
    ("draft", "vllm"): ["roles.draft.model={policy}"],
    ("experiment", "smollm2_gsm8k"): ["model.path={policy}", "task.path={questions}"],
}

pytestmark = pytest.mark.filterwarnings("default")  # vLLM and torch are imported


@pytest.fixture(autouse=True)
def composing() -> Iterator[None]:
    """Hydra with the configuration as it is installed."""
    GlobalHydra.instance().clear()
    with initialize_config_module("ponder.conf", version_base="1.3", job_name="test"):
        yield


def composed(*overrides: str) -> tuple[DictConfig, dict[str, str]]:
    """The configuration of a command, and which option each group has."""
    config = compose("run", [*overrides], return_hydra_config=True)
    choices = {key: str(value) for key, value in config.hydra.runtime.choices.items()}
    return compose("run", [*overrides]), choices


def built(*overrides: str) -> dict[str, Any]:
    """What `ponder` makes of a command."""
    return build(*composed(*overrides))


def needs(group: str, option: str, folder: Path) -> list[str]:
    """The overrides that an option needs here."""
    questions = folder / "questions.jsonl"
    questions.write_text(json.dumps({"question": "What is 1 + 1?", "answer": "#### 2"}) + "\n", encoding="utf-8")
    policy = CONF.parent / "tasks" / "embedded" / "policy"
    known = [need.format(questions=questions, policy=policy) for need in NEEDS.get((group, option), [])]
    return known + (overrides(option) if group == "task" else [])


def engines() -> int:
    """How many engines of vLLM this process has started."""
    return len(getattr(sys.modules.get("ponder.samplers.vllm_start"), "_engines", ()))


def test_run_yaml_alone_is_a_run() -> None:
    pytest.importorskip("vllm")
    parts = built()
    assert parts["plain"]["search"]["name"] == "particle_filtering"
    assert parts["select"] in parts["selectors"]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}-{option}" for group, option in OPTIONS])
def test_every_option_is_a_run(group: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if group == "task" and option in ("reasoning_gym", "word_ladder"):
        pytest.importorskip("reasoning_gym", reason="the extra `puzzles` is not installed")
    given = [f"{group}={option}", *needs(group, option, tmp_path)]
    if (group, option) == ("launcher", "slurm"):
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    config, choices = composed(*given)
    text = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8")
    # Where an option does not speak of the models, scripted ones stand in for them: vLLM takes long to import.
    light = ["sampler=scripted"] if group not in ("sampler", "model", "experiment") and "/sampler" not in text else []
    light += ["verifier=constant"] if group not in ("verifier", "experiment") and "/verifier" not in text else []
    if "vllm" in str([config.sampler, config.verifier]) and len(light) < 2:
        pytest.importorskip("vllm")
    before = engines()
    parts = built(*given, *light)
    assert engines() == before
    assert choices[group] == option
    if group in NAMED:
        assert parts["plain"][group]["name"] == option
    assert callable(parts["strategy"])
    assert callable(parts["setup"].samplers["policy"].sample)
    assert callable(parts["selectors"][parts["select"]])
    assert next(iter(parts["task"].problems())).prompt
    assert not [path for path in tmp_path.iterdir() if path.name != "questions.jsonl"]


ROOTS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "run")
REFERRING = [
    path.stem for path in sorted(CONF.glob("verifier/*.yaml")) if re.search(r"\$\{(sampler|task)", path.read_text())
]


@pytest.mark.parametrize("root", ROOTS)
def test_every_root_is_composed_and_finds_its_verifier(root: str) -> None:
    for given in (["verifier=constant"], ["verifier=task_oracle", "task=arithmetic"]):
        config = compose(root, [*given, "sampler=scripted", "model=embedded"])
        choices = {"verifier": given[0].partition("=")[2], "model": "embedded"}
        verifier = made_verifier(config, choices)
        assert hasattr(verifier, "score")
    page = compose(root, return_hydra_config=True).hydra.help
    assert page.app_name == f"ponder-{root}"
    assert "EXIT CODES" in page.template


def test_what_a_verifier_refers_to_is_in_the_run_that_is_read(tmp_path: Path) -> None:
    GlobalHydra.instance().clear()
    ponder_here(tmp_path, "debug=scripted", "task.limit=1").well()
    assert len(REFERRING) > 5
    with initialize_config_module("ponder.conf", version_base="1.3", job_name="test"):
        for name in REFERRING:
            config = compose("rescore", [f"verifier={name}", f"run={tmp_path / 'runs'}"])
            (parts,) = rescore.build(config, {"verifier": name})
            assert f"-rescored-{name}-" in parts["path"].name
            assert parts["config"]["verifier"]["name"] == name


def targets(option: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every `_target_` in a yaml with the values beside it."""
    pending: list[Any] = [OmegaConf.to_container(OmegaConf.load(option))]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "_target_" in node:
                yield node["_target_"], node
            pending += node.values()


NAMED_IN_FULL = [
    path
    for group in ("search", "verifier", "sampler", "task", "logger", "sandbox")
    for path in sorted(CONF.glob(f"{group}/*.yaml"))
]


@pytest.mark.parametrize("option", NAMED_IN_FULL, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_yaml_names_every_argument(option: Path) -> None:
    """Nothing is hidden: what can be set stands in the yaml, and what stands there can be set."""
    (name, node), *_ = targets(option)
    if name == "builtins.dict":  # stands for nothing
        return
    module, _, attribute = name.rpartition(".")
    arguments = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    # A default such as `/verifier@members.prm: NAME` gives a key, too.
    named = [key for one in node.get("defaults", []) if one != "_self_" for key in one]
    parts = {key.partition("@")[2].split(".")[0] for key in named if not key.startswith("override ")}
    assert set(node) - {"_target_", "defaults"} | parts == set(arguments)


@pytest.mark.parametrize("option", sorted(CONF.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_yaml_says_what_it_is(option: Path) -> None:
    if option.parent.name != "select":  # one line, whose last word says it
        assert "#" in option.read_text(encoding="utf-8")


def test_an_override_changes_the_value_that_is_used() -> None:
    given = ("sampler=scripted", "verifier=constant", "search=particle_filtering", "search.ess_threshold=0.3")
    parts = built(*given, "budget.n=7", "budget.new_tokens=99", "budget.run.seconds=5", "step.max_steps=3")
    assert parts["strategy"].ess_threshold == 0.3
    assert parts["strategy"].n == 7
    assert parts["setup"].budget.new_tokens == 99
    assert parts["setup"].run_budget.seconds == 5
    assert parts["setup"].max_steps == 3
    other = built(*given[:3], "search.resampling.path=ponder.search.resampling.multinomial")
    assert other["strategy"].resampling.__name__ == "multinomial"
    assert other["path"] != parts["path"]


def test_a_task_sets_its_own_limits_and_the_command_has_the_last_word() -> None:
    parts = built("sampler=scripted", "verifier=constant", "solution.max_tokens=77", 'step.stop=["\\n"]')
    assert parts["setup"].step.max_tokens == 24
    assert parts["setup"].solution.max_tokens == 77


def test_values_with_an_equals_sign_survive() -> None:
    config, _ = composed("sampler=scripted", 'model.template="a=b {prompt}"', "verifier=constant")
    assert config.model.template == "a=b {prompt}"
    pytest.importorskip("vllm")
    sampler = built('model.template="a=b {prompt}"', "verifier=constant")["setup"].samplers["policy"]
    assert sampler.chat.template == "a=b {prompt}"


def test_a_strategy_keeps_the_chance_of_the_vote_it_was_selected_by() -> None:
    for path in sorted(CONF.glob("select/*.yaml")):
        parts = built("sampler=scripted", "verifier=constant", f"select={path.stem}")
        assert parts["selectors"][path.stem].__name__ == path.stem


def test_help_is_a_manual(tmp_path: Path) -> None:
    GlobalHydra.instance().clear()
    page = ponder_here(tmp_path, "--help").well().out
    for group, option in OPTIONS:
        assert any(line.startswith(f"{group}:") and option in line for line in page.splitlines()), (group, option)
    for word in ("ponder -m", "--config-dir", "EXIT CODES", "budget.new_tokens"):
        assert word in page
    assert not list(tmp_path.iterdir())
