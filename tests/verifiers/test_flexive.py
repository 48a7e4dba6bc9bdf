"""FlexiVe: fast looks, and a slow one where they disagree."""

import re
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.types import Step, Trace
from ponder.verifiers.flexive import PLACEHOLDER, FlexiVe
from tests.verifiers.asking import ODD, Patterned, Talker, holds, scored, solution

STEPS = ("2 + 3 = 5.\n\n", "5 - 1 = 3.\n\n", "So \\boxed{3}.")


class Looks(Talker):
    """Fast replies and slow ones, in order."""

    def __init__(self, fast: list[Any], slow: list[Any] | None = None) -> None:
        super().__init__()
        self.fast, self.slow = fast, slow or []

    def _draw(self, trace: Trace, index: int, seed: int) -> Any:
        said = (self.fast if trace.text == PLACEHOLDER else self.slow)[index]
        self.texts = lambda trace, seed: said if isinstance(said, (str, Step)) else f"So \\boxed{{{said}}}."
        return super()._draw(trace, index, seed)

    @property
    def thought(self) -> int:
        return sum(not trace.text for trace in self.asked)


def test_steps_are_right_up_to_the_first_wrong_one() -> None:
    judge = Looks([2])
    (score,) = scored(FlexiVe(judge, "fast", k=1), solution(*STEPS))
    assert (score, score.steps, score.unread) == (0.0, (1.0, 0.0, 0.0), 0)
    (score,) = scored(FlexiVe(Looks([-1]), "fast", k=1), solution(*STEPS))
    assert (score, score.steps) == (1.0, (1.0, 1.0, 1.0))
    assert judge.asked[0].text == PLACEHOLDER
    assert "Step 3: So \\boxed{3}.\n\nFind the first" in judge.asked[0].problem.prompt


def test_slow_replies_think_as_the_judge_is_used_to() -> None:
    judge = Looks([], ["<think>1 or \\boxed{1}?</think>\\boxed{3}", 3, -1])
    (score,) = scored(FlexiVe(judge, "slow", k=3), solution(*STEPS))
    assert score.steps == (1.0, 1.0, 0.0)
    assert judge.thought == 3


@pytest.mark.parametrize(
    ("fast", "threshold", "slow", "steps"),
    [
        ([2, 2, 2, -1], 0.75, None, (1.0, 0.0, 0.0)),  # rho = 3/4
        ([2, 2, 3, -1], 0.75, -1, (1.0, 1.0, 1.0)),  # rho = 2/4
        ([2, 2, 3, -1], 0.5, None, (1.0, 0.0, 0.0)),
        ([2, 2, 2, "?"], 1.0, 1, (0.0, 0.0, 0.0)),  # what is unread agrees with none
        ([-1, "?", "?", "?"], 0.5, 2, (1.0, 0.0, 0.0)),
        ([2, 3, 3, 2], 0.75, "??", (1.0, 0.0, 0.0)),  # the fast vote stands; of equal ones the earlier step
    ],
)
def test_flex_thinks_where_too_few_agree(fast: Any, threshold: float, slow: Any, steps: Any) -> None:
    judge = Looks(fast, [slow])
    (score,) = scored(FlexiVe(judge, "flex", k=4, threshold=threshold), solution(*STEPS))
    assert score.steps == steps
    assert judge.thought == (slow is not None)
    assert score.unread == sum(isinstance(said, str) for said in [*fast, slow])
    assert score.cost.new_tokens == judge.new_tokens


def test_rho_is_exact() -> None:
    judge = Looks([2] * 11 + [3] * 9)
    scored(FlexiVe(judge, k=20, threshold=0.55), solution(*STEPS))
    assert judge.thought == 0


@pytest.mark.parametrize(
    "said",
    [
        "All is well.",
        "",
        "\\boxed{0}",
        "\\boxed{4}",
        "\\boxed{-2}",
        "\\boxed{" + "9" * 5000 + "}",  # int refuses so many digits
        "<think>\\boxed{2}",
        Step("\\boxed{2}", why="length"),
    ],
)
def test_what_cannot_be_read_is_lowest_and_counted(said: Any) -> None:
    (score,) = scored(FlexiVe(Looks([said, said], [said]), k=2, max_tokens=6000, fast_tokens=6000), solution(*STEPS))
    assert (score, score.steps, score.unread) == (0.0, (0.0, 0.0, 0.0), 3)
    (score,) = scored(FlexiVe(Looks([said, -1, said]), "fast", k=3), solution(*STEPS))
    assert (score, score.unread) == (1.0, 2)


def test_an_error_outvotes_none_of_as_many_votes() -> None:
    (score,) = scored(FlexiVe(Looks([-1, 3]), "fast", k=2), solution(*STEPS))
    assert score.steps == (1.0, 1.0, 0.0)


def test_steps_without_text_have_no_number() -> None:
    (score,) = scored(FlexiVe(Looks([2]), "fast", k=1, neutral=0.4), solution("", STEPS[0], " ", STEPS[1], ""))
    assert score.steps == (0.4, 1.0, 1.0, 0.0, 0.0)


def test_each_kind_of_reply_has_its_limit_and_the_pattern_is_for_fast_ones() -> None:
    verifier = FlexiVe(Talker(), max_tokens=70, fast_tokens=7, pattern="verdict")
    assert (verifier.judge.until.max_tokens, verifier.fast.until.max_tokens) == (70, 7)
    assert verifier.fast.sampler._picking["pattern"]  # type: ignore[attr-defined]
    assert "pattern" not in verifier.judge.sampler._picking  # type: ignore[attr-defined]


def test_its_own_pattern_allows_what_can_be_read() -> None:
    def patterns(pattern: str) -> set[Any]:
        judge = Patterned()
        scored(FlexiVe(judge, "fast", k=2, pattern=pattern), solution(*STEPS, ""))
        return set(judge.patterns)

    (own,) = patterns("verdict")
    for said in ("-1", "1", "2", "3", "0", "4", "12", "-3"):
        (score,) = scored(FlexiVe(Looks([said]), "fast", k=1), solution(*STEPS))
        assert bool(re.fullmatch(own, f"\\boxed{{{said}}}")) == (said in ("-1", "1", "2", "3"))
        (score,) = scored(FlexiVe(Looks([f"\\boxed{{{said}}}"]), "fast", k=1), solution(*STEPS))
        assert score.unread == (said not in ("-1", "1", "2", "3"))
    assert patterns("[a-z]+") == {"[a-z]+"}


def wavers(trace: Trace, seed: int) -> str:
    return ["So \\boxed{1}", "None: \\boxed{-1}.", ODD, "x" * 500, "None: \\boxed{-1}."][seed % 5]


@pytest.mark.parametrize("mode", ["fast", "slow", "flex"])
def test_the_rules_of_all_verifiers_hold(mode: Any) -> None:
    holds(lambda judge: FlexiVe(judge, mode, k=3, max_tokens=200, fast_tokens=100), wavers)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"mode": "think"}, "mode='think'"),
        ({"k": 0}, "k=0"),
        ({"threshold": 1.5}, "threshold=1.5"),
        ({"fast_tokens": 0}, "fast_tokens=0"),
        ({"mode": "slow", "pattern": "verdict"}, "pattern"),
    ],
)
def test_a_wrong_argument_is_named(given: Any, key: str) -> None:
    with pytest.raises(UserError, match=rf"verifier\.{key}"):
        FlexiVe(Talker(), **given)
