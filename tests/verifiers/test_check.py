"""The verifier's contract: who passes, who fails, and what the failure says."""

import asyncio
from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.types import Problem, Score, Step, Trace
from ponder.verifiers.check import acheck, check, toy_traces
from ponder.verifiers.rule import Constant, Length, Regex


class Vowels:
    def __init__(self, bonus: Any = 0.0) -> None:
        self.bonus = bonus

    def score(self, traces: Any) -> Any:
        return [sum(c in "aeiou" for c in t.text) + self.bonus for t in traces]


class Later(Vowels):
    async def score(self, traces: Any) -> Any:
        await asyncio.sleep(0)
        return super().score(traces)


def verifier(score: Any, **attributes: Any) -> Any:
    return type("Mine", (), {"score": lambda self, traces: score(traces), **attributes})()


@pytest.mark.parametrize(
    "good",
    [
        Vowels(),
        Later(2),
        Constant(1),
        Regex("=|5"),
        Length(20),
        verifier(lambda ts: np.array([0.5] * len(ts), dtype=np.float32)),
        verifier(lambda ts: [Score(0.5, (0.5,)) for _ in ts]),
        verifier(lambda ts: [0.5 + 1e-6 * len(ts) for _ in ts], range=(0, 1)),
        verifier(lambda ts: [1e6 + len(ts) for _ in ts]),
    ],
)
def test_what_keeps_the_contract(good: Any) -> None:
    check(good)


@pytest.mark.parametrize(
    ("score", "says"),
    [
        (lambda ts: [0.5], "1 scores for 3 traces"),
        (lambda ts: [0.5] * (len(ts) + 1), "4 scores for 3"),
        (lambda ts: [float("nan")] * len(ts), "finite"),
        (lambda ts: [float("inf")] * len(ts), "finite"),
        (lambda ts: 1 / 0, "ZeroDivisionError"),
        (lambda ts: [t.meta for t in ts], "AttributeError"),
        (lambda ts: [len(ts) / 10] * len(ts), "alone"),
        (lambda ts: list(np.arange(len(ts)) / len(ts)), "alone"),
        (lambda ts: 0.5, "returned float"),
        (lambda ts: None, "returned NoneType"),
        (lambda ts: "0.5", "returned str"),
        (lambda ts: (0.5 for _ in ts), "returned generator"),
        (lambda ts: dict.fromkeys(ts, 0.5), "returned dict"),
        (lambda ts: ["0.5"] * len(ts), "'0.5' as a score"),
        (lambda ts: [None] * len(ts), "None as a score"),
        (lambda ts: np.ones((len(ts), 1)), "as a score"),
        (lambda ts: [[0.5]] * len(ts), "as a score"),
    ],
)
def test_what_breaks_it(score: Any, says: Any) -> None:
    with pytest.raises(UserError, match=says) as caught:
        check(verifier(score))
    assert "Mine" in caught.value.message
    assert caught.value.hint


def test_a_verifier_that_remembers_is_found() -> None:
    seen = []

    def score(traces: Any) -> Any:
        seen.extend(traces)
        return [float(len(seen)) for _ in traces]

    with pytest.raises(UserError, match="alone"):
        check(verifier(score))


def test_the_declared_range_holds() -> None:
    with pytest.raises(UserError, match=r"2.*\[0, 1\]"):
        check(verifier(lambda ts: [2.0 for _ in ts], range=(0, 1)))
    with pytest.raises(UserError, match="range is"):
        check(verifier(lambda ts: [2.0 for _ in ts], range=5))


def test_a_class_without_score() -> None:
    with pytest.raises(UserError, match="object has no method score"):
        check(object())


def test_a_given_name_is_used() -> None:
    with pytest.raises(UserError, match=r"^verifier\.score returned 0"):
        check(verifier(lambda ts: []), "verifier")


def test_within_an_event_loop() -> None:
    asyncio.run(acheck(Later()))
    with pytest.raises(UserError, match="Later"):
        asyncio.run(acheck(Later("x")))


def test_the_toy_traces_are_what_the_docs_promise() -> None:
    traces = toy_traces()
    assert len(traces) == 3
    assert sum(t.finished for t in traces) == 1
    assert any(not t.text.isascii() for t in traces)
    assert not any(t.token_ids for t in traces)


def test_own_traces() -> None:
    with pytest.raises(UserError, match="KeyError"):
        check(verifier(lambda ts: [t.problem.meta["x"] for t in ts]))
    check(verifier(lambda ts: [t.problem.meta["x"] for t in ts]), traces=[Trace(Problem("p", "", {"x": 1}))])


def test_rules() -> None:
    one, other = Trace(PROBLEM := Problem("p", "ask"), (Step("x = 4"),)), Trace(PROBLEM)
    assert Regex(r"=\s*\d").score([one, other]) == [1.0, 0.0]
    assert Length(10).score([one, other]) == [0.5, 0.0]
    with pytest.raises(UserError, match=r"verifier\.pattern"):
        Regex("(")
    with pytest.raises(UserError, match=r"verifier\.target"):
        Length(0)
