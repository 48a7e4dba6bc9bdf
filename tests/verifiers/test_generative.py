"""GenRM: probes after a question, and after critiques."""

from typing import Any

import pytest

from ponder.errors import UserError
from ponder.types import Step, Trace
from ponder.verifiers.generative import GenRM, GenRMCoT
from tests.verifiers.asking import ODD, Talker, holds, scored, solution

GOOD, BAD = solution("2 + 3 = 5.\n\n", "So \\boxed{5}."), solution("2 + 3 = 6.\n\n", "So \\boxed{6}.")


def doubtful(trace: Trace, suffix: str, choices: Any) -> list[float]:
    return [0.1, 0.3] if "= 6" in trace.problem.prompt else [0.6, 0.2]


def test_the_probe_is_a_share_of_yes_and_no() -> None:
    judge = Talker(thinks=doubtful)
    good, bad = scored(GenRM(judge), GOOD, BAD)
    assert (good, bad) == (pytest.approx(0.75), pytest.approx(0.25))
    assert good.steps == ()
    (_, (asked, suffix, choices)) = judge.probed
    assert (asked.text, suffix, choices) == ("", "", ("Yes", "No"))
    assert asked.problem.verbatim
    assert asked.problem.prompt.endswith("2 + 3 = 6.\n\nSo \\boxed{6}.\n\nIs the answer correct (Yes/No)?")
    assert judge.requests == 0
    assert good.cost.new_tokens == 1


def test_a_judge_that_gives_neither_word_a_chance_is_unread() -> None:
    (score,) = scored(GenRM(Talker(thinks=lambda t, s, c: [0.0, 0.0])), GOOD)
    assert (score, score.unread) == (0.0, 1)


def test_critiques_are_averaged_and_those_cut_off_are_not() -> None:
    says = {0: "Right.", 1: "Hm.", 2: "x" * 50}
    found = {"Right.": [0.9, 0.1], "Hm.": [0.2, 0.2]}
    first: list[int] = []

    def say(trace: Trace, seed: int) -> str:
        first.append(seed)
        return says[(seed - first[0]) % 3]

    judge = Talker(say, lambda trace, suffix, choices: found[trace.text])
    (score,) = scored(GenRMCoT(judge, k=3, max_tokens=20), GOOD)
    assert score == pytest.approx((0.9 + 0.5) / 2)
    assert score.unread == 1
    assert (judge.requests, judge.probes) == (1, 2)
    assert {suffix for _, suffix, _ in judge.probed} == {"\nIs the answer correct (Yes/No)?"}
    assert all(choices == (" Yes", " No") for _, _, choices in judge.probed)
    assert all(not trace.finished and 0 not in trace.token_ids for trace, _, _ in judge.probed)


def test_a_critique_that_gives_its_verdict_is_probed_in_its_place() -> None:
    judge = Talker(lambda t, s: "All well.\n\nIs the answer correct (Yes/No)? No", lambda t, s, c: [0.8, 0.2])
    (score,) = scored(GenRMCoT(judge, k=1), GOOD)
    assert score == pytest.approx(0.8)
    assert judge.probed[0][0].text == "All well."


def test_no_critique_that_ended_is_the_lowest_score() -> None:
    (score,) = scored(GenRMCoT(Talker(lambda t, s: Step("cut", why="length")), k=4), GOOD)
    assert (score, score.unread) == (0.0, 4)
    assert score.cost.new_tokens == 12


@pytest.mark.parametrize("text", ["", " \n"])
def test_without_text_nobody_is_asked(text: str) -> None:
    judge = Talker()
    for verifier in (GenRM(judge, neutral=0.4), GenRMCoT(judge, neutral=0.4)):
        (score,) = scored(verifier, solution(text))
        assert (score, score.unread, score.cost.verifier_tokens) == (0.4, 0, 0)
    assert judge.requests == judge.probes == 0


def mumbles(trace: Trace, seed: int) -> str:
    return ODD if seed % 3 else "x" * 500


def test_the_rules_of_all_verifiers_hold() -> None:
    holds(GenRM, mumbles)
    holds(lambda judge: GenRMCoT(judge, k=3, max_tokens=300), mumbles)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: GenRM(None), "judge"),  # type: ignore[arg-type]
        (lambda: GenRM(Talker(), neutral=2), "neutral"),
        (lambda: GenRMCoT(Talker(), k=0), "k=0"),
        (lambda: GenRMCoT(Talker(), k=True), "k=True"),
        (lambda: GenRMCoT(Talker(), max_tokens=0), "max_tokens"),
    ],
)
def test_a_wrong_argument_is_named(make: Any, key: str) -> None:
    with pytest.raises(UserError, match=rf"verifier\.{key}"):
        make()
