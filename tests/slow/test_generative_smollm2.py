"""Generative verifiers ask a real model: its tokens, its chat template, its guided decoding. Not how well it judges."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ponder.types import Problem, Step, Trace
from ponder.verifiers.flexive import FlexiVe
from ponder.verifiers.generative import GenRM, GenRMCoT
from ponder.verifiers.spec_reason import SpecReasonJudge
from ponder.verifiers.step_critics import GenPRM, ThinkPRM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default"),  # of transformers and vLLM
]

TOM = Problem("tom", "Tom has 3 boxes with 4 pens each. He gives 5 pens away. How many pens are left?")
RIGHT = Trace(
    TOM, (Step("3 boxes with 4 pens each are 3 * 4 = 12 pens.\n\n"), Step("12 - 5 = 7, so \\boxed{7}.", why="eos"))
)
WRONG = Trace(
    TOM, (Step("3 boxes with 4 pens each are 3 + 4 = 7 pens.\n\n"), Step("7 - 5 = 2, so \\boxed{2}.", why="eos"))
)


async def test_a_small_model_judges(smollm2: Any) -> None:
    judge = smollm2
    done = "Okay, I think I have finished thinking.\n\n"

    def flexive(pattern: str | None) -> FlexiVe:
        return FlexiVe(judge, "fast", k=3, fast_tokens=96, placeholder=done, pattern=pattern)

    verifiers: dict[str, tuple[Any, int]] = {
        "gen_rm": (GenRM(judge), 1),
        "spec_reason greedy": (SpecReasonJudge(judge, "greedy"), 2),
        "spec_reason expected": (SpecReasonJudge(judge, "expected"), 2),
        "flexive fast": (flexive(None), 3),
        "flexive fast, pattern": (flexive("verdict"), 3),
        "gen_rm_cot": (GenRMCoT(judge, k=2, max_tokens=96), 2),
        "gen_prm": (GenPRM(judge, k=1, max_tokens=64), 2),
        "think_prm, pattern": (ThinkPRM(judge, k=2, max_tokens=64, pattern="verdicts"), 2),
    }
    found = {}
    for name, (verifier, judgements) in verifiers.items():
        quotes = [verifier.quote(trace) for trace in (RIGHT, WRONG)]
        begun = time.monotonic()
        found[name] = scores = await verifier.score([RIGHT, WRONG])
        seconds = time.monotonic() - begun
        print(  # noqa: T201
            f"{name}: {[round(float(score), 3) for score in scores]} steps {[score.steps for score in scores]} "
            f"unread {[score.unread for score in scores]} of {judgements} each, "
            f"new {sum(score.cost.new_tokens for score in scores)}, "
            f"computed {sum(score.cost.verifier_tokens for score in scores)}, "
            f"cached {sum(score.cost.verifier_cached_tokens for score in scores)}, {seconds:.1f} s"
        )
        for score, quote in zip(scores, quotes, strict=True):
            assert 0 <= score <= 1
            assert score.unread <= judgements
            assert len(score.steps) in (0, 2)
            assert score.cost.new_tokens >= judgements
            assert all(
                count <= getattr(quote, field) for field, count in score.cost.asdict().items() if "cached" not in field
            )
    again = await GenRM(judge).score([WRONG])  # alone now
    for name in ("gen_rm", "spec_reason greedy", "spec_reason expected", "flexive fast, pattern", "think_prm, pattern"):
        assert not any(score.unread for score in found[name]), name  # what probes and patterns are for
    assert found["gen_rm"][0] != found["gen_rm"][1] == pytest.approx(again[0], abs=0.01)
    for score in found["flexive fast, pattern"]:
        assert score.cost.new_tokens < 3 * 12
