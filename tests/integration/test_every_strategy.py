"""Every strategy of conf/search on real engines: what it bills is what the policy's engine emitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ponder.context import Setup
from ponder.ledger import Budget
from ponder.protocols import Picking, Until
from ponder.runner import run
from ponder.scripts.rows import RowFile, read_rows
from ponder.search import select
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
        {"policy": policy.varied(Picking(temperature=1.0))},
        {"verifier": verifier},
        solution=Until(max_tokens=64),
        max_steps=8,
        budget=budget,
        backoff=0.001,
    )
    file = RowFile(path)
    try:
        settings: Any = {"stamp": {}, "seed": 1, "select": "weighted_vote", "selectors": select.SELECTORS}
        await run(TASK, strategy, setup, rows=file, **settings)
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
    found = await rows(tmp_path / "rows.jsonl", make.at_least(4), vllm_policy, vllm_reward, Budget())
    assert [row["error"] for row in found] == [None] * 2
    assert sum(billed(row, "new_tokens") for row in found) == emitted.tokens > 0
    for row in found:
        assert any(trace["finished"] for trace in row["traces"])
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
