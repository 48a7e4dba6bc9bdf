"""Every strategy of conf/search on real engines: what it bills is what the policy's engine emitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ponder.context import Setup
from ponder.ledger import Budget
from ponder.protocols import Picking, Until
from ponder.runner import run
from ponder.scripts.records import search_fields
from ponder.scripts.rows import RowFile, read_rows
from ponder.search import select
from ponder.search.beam_search import BeamSearch
from ponder.search.cross_lingual import CrossLingual
from ponder.search.deepconf import DeepConfOnline
from ponder.search.entropic_particle_filtering import EntropicParticleFiltering
from ponder.search.mcts import MCTS, puct
from ponder.search.particle_gibbs import ParticleGibbs
from ponder.tasks.arithmetic import Arithmetic
from tests.integration.test_vllm_search import Engine
from tests.integration.test_vllm_search import emitted as emitted
from tests.strategies import every_strategy

pytest.importorskip("vllm")
session = pytest.mark.asyncio(loop_scope="session")
TASK = Arithmetic(level=1, limit=2)


async def rows(path: Path, strategy: Any, policy: Any, verifier: Any, budget: Budget) -> list[dict[str, Any]]:
    """The rows of a run over two questions."""
    setup = Setup(
        dict.fromkeys(("policy", "draft"), policy.varied(Picking(temperature=1.0))),
        {"verifier": verifier},
        solution=Until(max_tokens=64),
        max_steps=8,
        budget=budget,
        backoff=0.001,
    )
    file = RowFile(path)
    try:
        settings: Any = {"stamp": {}, "seed": 1, "select": "weighted_vote", "selectors": select.SELECTORS}
        await run(TASK, strategy, setup, rows=file, describe=search_fields, **settings)
    finally:
        file.close()
    return list(read_rows(path))


def billed(row: dict[str, Any], name: str) -> Any:
    return sum(cost[name] for cost in row["cost"].values())


@session
@every_strategy
async def test_the_bill_is_what_the_engine_emitted(
    tmp_path: Path, vllm_policy: Any, vllm_reward: Any, emitted: Engine, make: Any
) -> None:
    strategy = make.at_least(4)
    found = await rows(tmp_path / "rows.jsonl", strategy, vllm_policy, vllm_reward, Budget())
    assert [row["error"] for row in found] == [None] * 2
    assert sum(billed(row, "new_tokens") for row in found) == emitted.tokens > 0
    for row in found:
        # The embedded policy follows no instructions: what it is asked in words it need not finish.
        assert any(trace["finished"] for trace in row["traces"]) or isinstance(strategy, CrossLingual)
        assert row["reports"]


@session
@every_strategy
async def test_a_ceiling_is_kept(
    tmp_path: Path, vllm_policy: Any, vllm_reward: Any, emitted: Engine, make: Any
) -> None:
    found = await rows(tmp_path / "rows.jsonl", make.at_least(4), vllm_policy, vllm_reward, Budget(new_tokens=50))
    assert [row["error"] for row in found] == [None] * 2
    assert sum(billed(row, "new_tokens") for row in found) == emitted.tokens
    assert all(0 < billed(row, "new_tokens") <= 50 for row in found)


OPTIONS: dict[str, Any] = {
    "aborted solutions": DeepConfOnline(12, keep=0.5, warm_up=4, group=8, concurrent=4),
    "ancestors": ParticleGibbs(8, iterations=2, ancestors="sampled", ess_threshold=1.0),
    "look-ahead modulation": EntropicParticleFiltering(4, lookahead=2),
    "lookahead": BeamSearch(4, width=2, lookahead=1),
    "prior and value": MCTS(12, selection=puct, prior="logprob", leaf="value", output="max_visit"),
}
"""What the defaults do not reach: log-probabilities, greedy steps and given tokens read on the engine."""


@session
@pytest.mark.parametrize("name", OPTIONS)
async def test_options_are_billed_as_well(
    tmp_path: Path, vllm_policy: Any, vllm_reward: Any, emitted: Engine, name: str
) -> None:
    found = await rows(tmp_path / "rows.jsonl", OPTIONS[name], vllm_policy, vllm_reward, Budget())
    assert [row["error"] for row in found] == [None] * 2
    assert sum(billed(row, "new_tokens") for row in found) == emitted.tokens > 0
    assert all(any(trace["finished"] for trace in row["traces"]) for row in found)
