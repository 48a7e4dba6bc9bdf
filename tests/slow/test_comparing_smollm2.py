"""Verifiers that compare ask a real model: its template, its guided decoding, its costs. Not how well it judges."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ponder.batching import gather
from ponder.types import Cost, Problem, Step, Trace
from ponder.verifiers.chops import CHOPS
from ponder.verifiers.grm import GroupwiseGRM, PointwiseGRM
from ponder.verifiers.knockout import Knockout
from ponder.verifiers.mbr import MBR, token_f1

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default"),  # of transformers and vLLM
]

TOM = Problem("tom", "Tom has 3 boxes with 4 pens each. He gives 5 pens away. How many pens are left?")
TRACES = [
    Trace(TOM, (Step(text, why="eos"),))
    for text in (
        "3 boxes with 4 pens each are 3 * 4 = 12 pens.\n\n12 - 5 = 7, so \\boxed{7}.",
        "3 boxes with 4 pens each are 3 + 4 = 7 pens.\n\n7 - 5 = 2, so \\boxed{2}.",
        "There are some pens left.",
    )
]
UPPER = ("prompt_tokens", "new_tokens", "verifier_tokens", "flops")


async def test_a_small_model_compares(smollm2: Any) -> None:
    judge = smollm2
    verifiers: dict[str, Any] = {
        "deepseek_grm free": PointwiseGRM(judge, k=2, max_tokens=96),
        "deepseek_grm guided": PointwiseGRM(judge, k=1, max_tokens=768, decoding="guided"),
        "deepseek_grm_groupwise free": GroupwiseGRM(judge, k=2, max_tokens=96),
        "deepseek_grm_groupwise guided": GroupwiseGRM(judge, k=2, max_tokens=768, decoding="guided"),
        "chops free": CHOPS(judge, max_tokens=96),
        "chops guided": CHOPS(judge, max_tokens=768, decoding="guided"),
        "knockout": Knockout(judge),
        "mbr by the judge": MBR(judge),
        "mbr by words": MBR(utility=token_f1),
        "x_mbr": MBR(judge, evidence=3, language="French", max_tokens=96),
    }
    found: dict[str, Any] = {}

    async def compare(name: str, verifier: Any) -> None:
        compares = hasattr(verifier, "compare")
        most = verifier.quote(TRACES) if compares else sum(map(verifier.quote, TRACES), Cost())
        begun = time.monotonic()
        found[name] = scores = await (verifier.compare if compares else verifier.score)(TRACES)
        seconds = time.monotonic() - begun
        spent = sum((score.cost for score in scores), Cost())
        print(  # noqa: T201
            f"{name}: {[round(float(score), 3) for score in scores]} unread {[score.unread for score in scores]} "
            f"new {spent.new_tokens}, computed {spent.verifier_tokens}, cached {spent.verifier_cached_tokens}, "
            f"{seconds:.1f} s"
        )
        assert all(0 <= score <= 1 for score in scores)
        assert all(getattr(spent, field) <= getattr(most, field) for field in UPPER)
        assert (spent.new_tokens > 0) == (name != "mbr by words")

    await gather(compare(name, verifier) for name, verifier in verifiers.items())  # one engine, all at once
    turned = await verifiers["knockout"].compare(TRACES[::-1])
    assert turned[::-1] == found["knockout"]
    # What guided decoding is for: every reply comes to its verdict.
    for name in ("deepseek_grm guided", "deepseek_grm_groupwise guided", "chops guided"):
        assert not any(score.unread for score in found[name])
    for name in ("knockout", "mbr by the judge"):  # a probe reads what it asks for
        assert not any(score.unread for score in found[name])
    assert sorted(found["chops guided"]) == [0, 0, 1]
    assert sorted(found["knockout"])[-1] == 1
