"""Token-level speculation is vLLM's: passed through by conf, it changes no greedy output."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ponder.protocols import Picking, Until
from ponder.samplers.vllm_engine import VLLMSampler
from ponder.tasks.arithmetic import Arithmetic
from ponder.tasks.embedded import POLICY
from ponder.types import Trace

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # of vLLM
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}


async def greedy(sampler: Any) -> list[str]:
    """The greedy solutions of twenty problems."""
    plain = sampler.varied(Picking(temperature=0.0))
    problems = list(Arithmetic(level=3, limit=20).problems())
    found = await asyncio.gather(*(plain.sample(Trace(p), 1, Until(max_tokens=64), seed=0) for p in problems))
    return [step.text for (step,) in found]


def test_ngram_speculation_gives_the_same_greedy_outputs() -> None:
    async def both() -> tuple[list[str], list[str]]:
        without = VLLMSampler(POLICY)
        plain = await greedy(without)
        without.close()
        speculating = VLLMSampler(POLICY, engine={"speculative_config": NGRAM})
        guessed = await greedy(speculating)
        speculating.close()
        return plain, guessed

    plain, guessed = asyncio.run(both())
    assert plain == guessed
    assert len(set(plain)) > 10
