"""One policy engine and one reward engine for the whole session, on the embedded models if they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest_plugins = ["tests.wheel"]
EMBEDDED = Path(__file__).parents[1] / "tasks" / "embedded"
ENGINE = {"max_model_len": 512, "max_num_seqs": 256}
ENGINES = ("vllm_policy", "vllm_reward")
"""Fixtures that start one."""


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a small causal language model."""
    from tests import tiny_models

    if (EMBEDDED / "policy" / "model.safetensors").exists():
        return str(EMBEDDED / "policy")
    return str(tiny_models.policy(tmp_path_factory.mktemp("policy")))


@pytest.fixture(scope="session")
def reward_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a small process reward model."""
    from tests import tiny_models

    if (EMBEDDED / "prm" / "model.safetensors").exists():
        return str(EMBEDDED / "prm")
    return str(tiny_models.reward(tmp_path_factory.mktemp("reward")))


@pytest.fixture(scope="session")
def vllm_policy(policy_folder: str) -> Iterator[Any]:
    """The policy on vLLM, hot enough that samples differ. Await it on the session's event loop."""
    pytest.importorskip("vllm")
    from ponder.samplers.vllm_engine import VLLMSampler

    sampler = VLLMSampler(policy_folder, temperature=2.0, engine=ENGINE)
    yield sampler
    sampler.close()


@pytest.fixture(scope="session")
def vllm_reward(reward_folder: str) -> Iterator[Any]:
    """The reward model on vLLM. Await it on the session's event loop."""
    pytest.importorskip("vllm")
    from ponder.verifiers.prm import ProcessRewardModel

    verifier = ProcessRewardModel(reward_folder, "embedded", options={"max_model_len": 512})
    yield verifier
    verifier.close()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Warnings of torch and vLLM, which we cannot mend, do not fail the tests that run them."""
    if {"policy_folder", "reward_folder"} & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In several processes a file's tests stay together, and all files that use the engines: each starts once."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid.partition("::")[0])

    @cache
    def scope(file: str) -> str:
        text = (config.rootpath / file).read_text(encoding="utf-8")
        return "engines" if any(f"{name}:" in text for name in ENGINES) else file

    return Together(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """A stopped engine's sockets close when they are collected, with a warning that is not ours."""
    config.addinivalue_line("filterwarnings", "ignore:Unclosed (context|socket):ResourceWarning")
