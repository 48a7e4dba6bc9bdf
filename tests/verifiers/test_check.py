"""The verifier's contract: who passes, who fails, and what the failure says."""

import asyncio
from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.types import Problem, Score, Trace
from ponder.verifiers.check import acheck, check, findings, spelled, toy_group, toy_traces
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
        verifier(lambda ts: [Score(0.5, [0.5] * len(t.steps)) for t in ts]),
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


class Longest:
    """Share of a solution's length in all of them: right only beside others."""

    async def compare(self, traces: Any) -> Any:
        total = sum(len(trace.text) for trace in traces)
        return [len(trace.text) / total for trace in traces]


def comparing(compare: Any) -> Any:
    return type("Mine", (), {"compare": lambda self, traces: compare(traces)})()


def test_a_verifier_that_compares_may_depend_on_its_company() -> None:
    check(Longest())
    check(comparing(lambda ts: [sum(t.text < other.text for other in ts) for t in ts]))
    assert len({trace.problem.id for trace in toy_group()}) == 1
    assert len(set(toy_group())) == 3


@pytest.mark.parametrize(
    ("compare", "says"),
    [
        (lambda ts: list(range(len(ts))), "trace 2 2 first, but 0 in the opposite order"),
        (lambda ts: [min(i, len(ts) - 1 - i) for i in range(len(ts))], "in another order"),
        (lambda ts: [0.5], "compare returned 1 scores for 3 traces"),
        (lambda ts: 1 / 0, "compare raised ZeroDivisionError on 3 toy traces"),
    ],
)
def test_what_a_comparing_one_breaks(compare: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        check(comparing(compare))
    assert "Mine.compare" in caught.value.message
    assert caught.value.hint


def test_a_comparing_one_that_draws_is_found() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="when it is asked again"):
        check(comparing(lambda ts: [rng.random() for _ in ts]))


def test_groups_are_the_traces_of_one_problem() -> None:
    seen: list[Any] = []

    def compare(traces: Any) -> Any:
        seen.append({trace.problem.id for trace in traces})
        return [0.5] * len(traces)

    check(comparing(compare), traces=toy_traces())
    assert all(len(ids) == 1 for ids in seen)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (lambda t: [0.5], "1 step scores to a trace of 2 steps"),
        (lambda t: [0.5] * (len(t.steps) + 1), "2 step scores to a trace of 1 steps"),
        (lambda t: [float("nan")] * len(t.steps), "nan as a step score"),
        (lambda t: [None] * len(t.steps), "None as a step score"),
    ],
)
def test_step_scores_belong_to_steps(steps: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        check(verifier(lambda ts: [Score(0.5, steps(t)) for t in ts]))
    assert caught.value.hint


def test_findings_tell_each_rule_and_go_on_after_a_broken_one() -> None:
    found = asyncio.run(findings(verifier(lambda ts: [2.0 + len(ts) for _ in ts], range=(0, 1))))
    assert [finding.passed for finding in found] == [True, False, True, False, True]
    assert all(bool(finding.remedy) != finding.passed for finding in found)
    assert all("Mine" in finding.detail for finding in found if not finding.passed)
    assert "Mine.score gave 5, 5, 5" in found[0].detail
    assert all(finding.passed for finding in asyncio.run(findings(Vowels())))


def test_without_scores_there_is_one_finding() -> None:
    (found,) = asyncio.run(findings(verifier(lambda ts: [])))
    assert not found.passed
    assert "0 scores for 3" in found.detail


def test_a_refusal_keeps_its_own_remedy() -> None:
    def refuse(traces: Any) -> Any:
        raise UserError("no tokens", "set sampler.top_logprobs=20")

    with pytest.raises(UserError, match=r"Mine\.score refused 3 toy traces: no tokens") as caught:
        check(verifier(refuse))
    assert caught.value.hint == "set sampler.top_logprobs=20"


def test_who_reads_log_probabilities_says_so_and_gets_them() -> None:
    def score(traces: Any) -> Any:
        return [sum(t.logprobs) / len(t.token_ids) for t in traces]

    with pytest.raises(UserError, match="ZeroDivisionError"):
        check(verifier(score))
    check(verifier(score, needs_logprobs=True))
    for trace in map(spelled, toy_traces()):
        assert len(trace.token_ids) == len(trace.logprobs) == len(trace.text)
        assert all(
            one[0] == own for step in trace.steps for one, own in zip(step.top_logprobs, step.logprobs, strict=True)
        )
