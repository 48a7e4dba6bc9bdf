"""ThinkPRM and GenPRM: critics of steps."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.types import Step, Trace
from ponder.verifiers.step_critics import GenPRM, ThinkPRM
from tests.verifiers.asking import ODD, Patterned, Talker, holds, scored, solution

STEPS = ("2 + 3 = 5.\n\n", "5 - 1 = 3.\n\n", "So \\boxed{3}.")
GOOD, BAD = "\\boxed{correct}", "\\boxed{incorrect}"


class Critics(Talker):
    """The i-th of some critiques is the i-th reply; each has its probabilities."""

    def __init__(self, critiques: Sequence[Step | str], yes: Sequence[float] = (0.5,) * 9) -> None:
        super().__init__()
        self.critiques = critiques
        self.yes = yes

    def _draw(self, trace: Trace, index: int, seed: int) -> Any:
        self.texts = lambda trace, seed: self.critiques[index]
        return super()._draw(trace, index, seed)

    def _probabilities(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        super()._probabilities(trace, suffix, choices)
        yes = self.yes[len(self.probed) - 1]
        return [yes / 2, (1 - yes) / 2]


def test_a_step_has_the_share_of_critiques_that_hold_it_and_all_before() -> None:
    judge = Critics(
        [
            f"Step 1: fine, {GOOD}. Step 2: fine, {GOOD}. Step 3: {GOOD}.",
            f"Step 1: {GOOD} Step 2: 5 - 1 is 4, {BAD}",
            f"{GOOD} {BAD} {GOOD}",
            f"{BAD}",
        ]
    )
    (score,) = scored(ThinkPRM(judge, k=4, value="steps"), solution(*STEPS))
    assert score.steps == (0.75, 0.25, 0.25)
    assert (score, score.unread) == (0.25, 0)
    assert judge.probes == 0
    assert judge.requests == 1
    assert "Step 2: 5 - 1 = 3.\n\nStep 3: So \\boxed{3}.\n\nReview" in judge.asked[0].problem.prompt
    assert judge.asked[0].text == "Let's verify step by step:"


def test_the_value_is_how_likely_the_solution_is_correct() -> None:
    judge = Critics([f"{GOOD}{GOOD}{GOOD}", f"{GOOD}{BAD}\nIs the solution correct? No", "?"], [0.9, 0.2])
    (score,) = scored(ThinkPRM(judge, k=3), solution(*STEPS))
    assert score == pytest.approx(0.55)
    assert score.steps == (1.0, 0.5, 0.5)
    assert score.unread == 1
    assert [(trace.steps[-1].text, suffix) for trace, suffix, _ in judge.probed] == [
        (f"{GOOD}{GOOD}{GOOD}", "\nIs the solution correct?"),
        (f"{GOOD}{BAD}", "\nIs the solution correct?"),
    ]


@pytest.mark.parametrize(
    "critique",
    [
        "All steps are correct.",
        f"{GOOD} {GOOD}",  # and the third?
        f"{GOOD} {GOOD} {GOOD} {GOOD}",
        Step(f"{GOOD} {GOOD} {GOOD}", why="length"),
        "\\boxed{3} \\boxed{-1}",
        "",
    ],
)
def test_what_cannot_be_read_is_counted_and_is_no_score(critique: Any) -> None:
    good = f"{GOOD} {GOOD} {GOOD}"
    (score,) = scored(ThinkPRM(Critics([good, critique], [0.7]), k=2), solution(*STEPS))
    assert score == pytest.approx(0.7)
    assert (score.steps, score.unread) == ((1.0, 1.0, 1.0), 1)
    for value in ("yes", "steps"):
        (none,) = scored(ThinkPRM(Critics([critique]), k=1, value=value), solution(*STEPS))
        assert (none, none.steps, none.unread) == (0.0, (0.0, 0.0, 0.0), 1)


def test_verdicts_after_a_thought_count_and_else_those_within() -> None:
    thought = f"<think>{GOOD} or {BAD}? hm {BAD}</think>{GOOD}{GOOD}{GOOD}"
    within = f"<think>{GOOD}, {GOOD}, {BAD}</think>\nThat is all."
    (score,) = scored(ThinkPRM(Critics([thought, within]), k=2, value="steps"), solution(*STEPS))
    assert score.steps == (1.0, 1.0, 0.5)


def test_steps_without_text_are_not_judged() -> None:
    judge = Critics([f"{GOOD}{BAD}", f"{GOOD}{GOOD}"])
    (score,) = scored(ThinkPRM(judge, k=2, value="steps", neutral=0.4), solution("", *STEPS[:2], " "))
    assert score.steps == (0.4, 1.0, 0.5, 0.5)
    assert score == 0.5


def test_its_own_pattern_allows_what_can_be_read() -> None:
    judge = Patterned()
    scored(ThinkPRM(judge, k=1, pattern="verdicts"), solution(*STEPS, ""))
    (own,) = judge.patterns
    assert own is not None
    said = f"\nStep 1: {GOOD}\nStep 2: {BAD}\nStep 3: {GOOD}"
    assert re.fullmatch(own, said)
    assert not re.fullmatch(own, f"\nStep 1: {GOOD}\nStep 2: {BAD}")
    (score,) = scored(ThinkPRM(Critics([said]), k=1, value="steps"), solution(*STEPS))
    assert (score.steps, score.unread) == ((1.0, 0.0, 0.0), 0)
    judge = Patterned()
    scored(ThinkPRM(judge, k=1, pattern="a+"), solution(*STEPS))
    assert judge.patterns == ["a+"]


def test_each_step_has_the_mean_of_yes_after_its_critiques() -> None:
    judge = Critics(["Sound.", "**Judgement**: $\\boxed{No}$"], [0.9, 0.5, 0.2, 0.4, 1.0, 0.0])
    (score,) = scored(GenPRM(judge, k=2, reduction="min"), solution(*STEPS))
    assert score.steps == pytest.approx((0.7, 0.3, 0.5))
    assert score == pytest.approx(0.3)
    assert (judge.requests, judge.probes) == (3, 6)
    assert {suffix for _, suffix, _ in judge.probed} == {"\n**Judgement**: $\\boxed{"}
    assert [trace.text for trace, _, _ in judge.probed] == ["Sound.", ""] * 3
    assert {choices for _, _, choices in judge.probed} == {("Yes", "No")}


def test_a_critique_cut_off_is_no_part_of_a_step() -> None:
    judge = Critics(["Sound.", "x" * 99], [0.8, 0.6, 0.4])
    (score,) = scored(GenPRM(judge, k=2, max_tokens=10), solution(*STEPS))
    assert score.steps == pytest.approx((0.8, 0.6, 0.4))
    assert score.unread == 3
    (none,) = scored(GenPRM(Critics(["x" * 99]), k=1, max_tokens=10), solution(*STEPS))
    assert (none, none.steps, none.unread) == (0.0, (0.0, 0.0, 0.0), 3)


def test_a_trace_one_step_deeper_costs_the_critiques_of_that_step() -> None:
    judge = Critics(["Sound.", "Sound."])
    verifier = GenPRM(judge, k=2)
    trace = Trace(solution().problem)
    for depth, step in enumerate(solution(*STEPS).steps, start=1):
        trace = trace + step
        (score,) = scored(verifier, trace)
        assert judge.requests == depth
        assert score.cost.new_tokens == 2 * (len("Sound.") + 2)
    assert judge.asked[-1].problem.prompt.endswith("\n\nStep 2: 5 - 1 = 3.\n\nStep 3: So \\boxed{3}.")
    assert verifier.quote(trace).new_tokens == 0


def wavers(trace: Trace, seed: int) -> str:
    count = trace.problem.prompt.count("\n\nStep ") + trace.problem.prompt.count("Solution:\nStep ")
    return [f"{GOOD} " * count, ODD, f"{GOOD * (count - 1)}{BAD}", "x" * 500][seed % 4]


@pytest.mark.parametrize(
    "make",
    [
        lambda judge: ThinkPRM(judge, k=3, max_tokens=200),
        lambda judge: ThinkPRM(judge, k=2, value="steps", max_tokens=200, opening=""),
        lambda judge: GenPRM(judge, k=2, max_tokens=200),
    ],
)
def test_the_rules_of_all_verifiers_hold(make: Any) -> None:
    holds(make, wavers)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: ThinkPRM(Talker(), value="no"), "value"),  # type: ignore[arg-type]
        (lambda: ThinkPRM(Talker(), k=0), "k"),
        (lambda: GenPRM(Talker(), k=0), "k"),
        (lambda: GenPRM(Talker(), reduction="max"), "reduction"),
        (lambda: GenPRM(Talker(), memory=0), "memory"),
    ],
)
def test_a_wrong_argument_is_named(make: Any, key: str) -> None:
    with pytest.raises(UserError, match=rf"verifier\.{key}="):
        make()
