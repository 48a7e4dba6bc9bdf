"""Outcome reward models in vLLM: the same rewards as in transformers, at linear cost."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ponder.verifiers.outcome import OutcomeRewardModel
from tests.tiny_families import OUTCOMES
from tests.verifiers.test_outcome import WEIGHTS, trace

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

MODELS: dict[str, dict[str, Any]] = {
    "outcome_llama": {},
    "outcome_qwen": {"system": "Be strict."},
    "objectives": {"weights": WEIGHTS},
}


@pytest_asyncio.fixture(loop_scope="session", params=MODELS)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[OutcomeRewardModel]]:
    """The same model in vLLM and in transformers."""
    folder = str(OUTCOMES[request.param](tmp_path / request.param))
    options = {"max_model_len": 1024, "max_num_batched_tokens": 1024}
    served = OutcomeRewardModel(folder, "vllm", options=options, **MODELS[request.param])
    yield [served, OutcomeRewardModel(folder, "transformers", **MODELS[request.param])]
    served.close()


@pytest.mark.asyncio(loop_scope="session")
async def test_vllm_equals_transformers_at_linear_cost(pair: list[OutcomeRewardModel]) -> None:
    served, plain = pair
    traces = [trace(f"t{i}", i % 6 + 1) for i in range(12)]
    ours, theirs = await served.score(traces), await plain.score(traces)
    furthest = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    assert furthest < 1e-3, furthest
    assert max(theirs) - min(theirs) > 0.1

    grown = trace("grown", 8)
    computed = 0
    for depth in range(1, 9):
        short = dataclasses.replace(grown, steps=grown.steps[:depth])
        (a,), (b,) = await served.score([short]), await plain.score([short])
        assert abs(a - b) < 1e-3
        computed += a.cost.verifier_tokens
    # A block of vLLM's cache, and what closes the turn, are computed again at each depth.
    assert computed < served.quote(grown).verifier_tokens + 8 * (32 + 16)
