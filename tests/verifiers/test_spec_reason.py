"""SpecReason's judge: a digit a step."""

from itertools import pairwise
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.types import Trace
from ponder.verifiers.spec_reason import SpecReasonJudge
from tests.verifiers.asking import Talker, holds, scored, solution

STEPS = ("2 + 3 = 5.\n\n", "5 - 1 = 3.\n\n", "So \\boxed{3}.")


def digits(**given: float) -> list[float]:
    return [given.get(f"d{digit}", 0.0) for digit in range(10)]


def marks(trace: Trace, suffix: str, choices: Any) -> list[float]:
    """7 mostly for the first step, 2 mostly for the second, 9 for the last."""
    last = trace.problem.prompt.rpartition("Step ")[2]
    return {"1": digits(d7=0.3, d9=0.1), "2": digits(d2=0.5, d0=0.25, d4=0.25), "3": digits(d9=0.01)}[last[0]]


def test_each_step_gets_the_likeliest_digit() -> None:
    judge = Talker(thinks=marks)
    (score,) = scored(SpecReasonJudge(judge, "greedy"), solution(*STEPS))
    assert score.steps == pytest.approx((7 / 9, 2 / 9, 1.0))
    assert score == 1.0
    assert judge.requests == 0
    assert [choices for _, _, choices in judge.probed] == [tuple("0123456789")] * 3
    assert {suffix for _, suffix, _ in judge.probed} == {"Score of the last step (0 to 9): "}
    assert score.cost.new_tokens == 3


def test_each_step_gets_the_mean_digit() -> None:
    (score,) = scored(SpecReasonJudge(Talker(thinks=marks), "expected", "min"), solution(*STEPS))
    assert score.steps == pytest.approx((7.5 / 9, 2 / 9, 1.0))
    assert score == pytest.approx(2 / 9)


def test_a_judge_sees_the_steps_up_to_the_one_it_judges() -> None:
    judge = Talker(thinks=marks)
    scored(SpecReasonJudge(judge), solution(*STEPS))
    prompts = [trace.problem.prompt for trace, _, _ in judge.probed]
    assert prompts[0].endswith("Question:\nWhat is 2 + 3?\n\nStep 1: 2 + 3 = 5.")
    for shorter, longer in pairwise(prompts):
        assert longer.startswith(shorter)  # what a prefix cache serves


def test_a_trace_one_step_deeper_costs_one_probe() -> None:
    judge = Talker(thinks=marks)
    verifier = SpecReasonJudge(judge)
    trace = Trace(solution().problem)
    for depth, step in enumerate(solution(*STEPS).steps, start=1):
        trace = trace + step
        one = verifier.quote(trace)
        (score,) = scored(verifier, trace)
        assert judge.probes == depth
        assert score.cost.new_tokens == one.new_tokens == 1
        assert len(score.steps) == depth
    assert not any(verifier.quote(trace).asdict().values())
    again, sibling = scored(verifier, trace, solution(*STEPS[:2], "So \\boxed{2}."))
    assert (again.cost.new_tokens, sibling.cost.new_tokens) == (0, 1)


def test_a_shared_beginning_is_judged_and_billed_once() -> None:
    judge = Talker(thinks=marks)
    one, other = scored(SpecReasonJudge(judge), solution(*STEPS), solution(*STEPS[:2], "So \\boxed{2}."))
    assert judge.probes == 4
    assert (one.cost.new_tokens, other.cost.new_tokens) == (3, 1)
    assert one.steps[:2] == other.steps[:2]


def test_a_small_memory_forgets_and_asks_again() -> None:
    judge = Talker(thinks=marks)
    verifier = SpecReasonJudge(judge, memory=1)
    (first,), (second,) = scored(verifier, solution(*STEPS)), scored(verifier, solution(*STEPS))
    assert first.steps == second.steps
    assert judge.probes == 5


def test_empty_steps_repeat_what_stands_before_them() -> None:
    judge = Talker(thinks=marks)
    verifier = SpecReasonJudge(judge, "greedy", neutral=0.4)
    empty, late = scored(verifier, solution(""), solution("", STEPS[0], " \n", STEPS[1], ""))
    assert (empty, empty.steps) == (0.4, (0.4,))
    assert late.steps == pytest.approx((0.4, 7 / 9, 7 / 9, 2 / 9, 2 / 9))
    assert judge.probes == 2


def test_no_digit_at_all_is_unread_and_lowest() -> None:
    judge = Talker(
        thinks=lambda trace, suffix, choices: marks(trace, "", ()) if "Step 2" in trace.problem.prompt else digits()
    )
    (score,) = scored(SpecReasonJudge(judge, "greedy", "mean"), solution(*STEPS))
    assert score.steps == pytest.approx((0.0, 2 / 9, 1.0))
    assert score.unread == 1


def test_the_rules_of_all_verifiers_hold() -> None:
    holds(SpecReasonJudge, lambda trace, seed: "unasked")
    holds(lambda judge: SpecReasonJudge(judge, "greedy", "prod"), lambda trace, seed: "unasked")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"digit": "best"}, "digit"),
        ({"reduction": "max"}, "reduction"),
        ({"neutral": -1}, "neutral"),
        ({"memory": 0}, "memory"),
    ],
)
def test_a_wrong_argument_is_named(given: Any, key: str) -> None:
    with pytest.raises(UserError, match=rf"verifier\.{key}="):
        SpecReasonJudge(Talker(), **given)
