"""SpecReason: accept, reject, fall back, go ahead, stop; who wrote what, and the bill."""

import asyncio
from typing import Any

import numpy as np
import pytest

from ponder.context import Context, Setup
from ponder.errors import UserError
from ponder.ledger import Budget, Ledger
from ponder.protocols import Until
from ponder.runner import search
from ponder.search.specreason import SpecReason
from ponder.types import Problem
from tests.laws.speaking import Speaker


def digit(which: int) -> list[float]:
    return [0.7 if i == which else 0.3 / 9 for i in range(10)]


def judged(marks: dict[str, int]) -> Any:
    """Probabilities of the digit that a step is worth."""
    return lambda trace: digit(
        next(mark for step, mark in marks.items() if f"Last step:\n{step}" in trace.problem.prompt)
    )


def run(
    strategy: Any, draft: Any, policy: Any, verifier: Any = None, budget: Budget | None = None
) -> tuple[Any, Context]:
    setup = Setup(
        {"policy": policy, "draft": draft},
        {"verifier": verifier} if verifier else {},
        step=Until(stop=("\n",)),
        solution=Until(max_tokens=64),
        max_steps=6,
    )
    ctx = Context(setup, Ledger(budget), np.random.default_rng(0))
    return asyncio.run(search(strategy, Problem("p", "ask"), ctx)), ctx


def test_good_steps_are_kept_and_bad_ones_written_by_the_policy() -> None:
    draft = Speaker({"solve": ["good\n", "bad\n", "end"]})
    policy = Speaker({"solve": ["mended\n"]}, judged({"good": 9, "bad": 2, "end": 8}))
    population, ctx = run(SpecReason(1), draft, policy)
    (trace,) = population.traces
    assert trace.text == "good\nmended\nend"
    assert trace.finished
    assert ctx.notes == {
        "drafted steps": 3,
        "accepted steps": 2,
        "rejected steps": 1,
        "accepted tokens": 5 + 4,
        "rejected tokens": 4,
        "policy tokens": 7,
        "acceptance rate": 2 / 3,
        "saved token rate": 9 / 16,
    }
    assert ctx.ledger.spent["draft"].new_tokens == 5 + 4 + 4
    assert ctx.ledger.spent["policy"].new_tokens == 7 + 3  # and a probe a drafted step


@pytest.mark.parametrize(("threshold", "text"), [(0.0, "a\nb"), (9.0, "A\nB")])
def test_the_threshold_takes_all_or_nothing(threshold: float, text: str) -> None:
    draft, policy = Speaker({"solve": ["a\n", "b"]}), Speaker({"solve": ["A\n", "B"]}, lambda _: digit(8))
    assert run(SpecReason(1, threshold=threshold), draft, policy)[0].traces[0].text == text
    assert bool(policy.probed) == (threshold > 0)  # who accepts everything need not ask


def test_an_expected_digit_is_the_mean_and_a_greedy_one_the_likeliest() -> None:
    """0.6 for 9 and 0.4 for 0: greedy 9, expected 5.4."""
    for kind, text in (("greedy", "a"), ("expected", "A")):
        draft = Speaker({"solve": ["a"]})
        policy = Speaker({"solve": ["A"]}, lambda _: [0.4, *[0.0] * 8, 0.6])
        assert run(SpecReason(1, digit=kind), draft, policy)[0].traces[0].text == text


def test_a_judge_that_names_no_digit_rejects() -> None:
    draft, policy = Speaker({"solve": ["a"]}), Speaker({"solve": ["A"]}, lambda _: [0.0] * 10)
    assert run(SpecReason(1, threshold=1.0), draft, policy)[0].traces[0].text == "A"


class Marks:
    """A reward model that likes steps in small letters."""

    range = (0.0, 1.0)

    def score(self, traces: Any) -> list[float]:
        return [1.0 if trace.steps[-1].text.islower() else 0.2 for trace in traces]


def test_a_reward_model_may_judge() -> None:
    draft, policy = Speaker({"solve": ["a\n", "B\n", "c"]}), Speaker({"solve": ["x\n"]})
    population, ctx = run(SpecReason(1, judge="verifier"), draft, policy, Marks())
    assert population.traces[0].text == "a\nx\nc"
    assert ctx.ledger.total.verifier_calls == 3
    assert not policy.probed


def test_the_first_steps_may_be_the_policys() -> None:
    draft, policy = Speaker({"solve": ["b"]}), Speaker({"solve": ["A\n"]}, lambda _: digit(9))
    population, ctx = run(SpecReason(1, first_steps=1), draft, policy)
    assert population.traces[0].text == "A\nb"
    assert ctx.notes["drafted steps"] == 1


def test_going_ahead_gives_the_same_solution_and_bills_what_it_throws_away() -> None:
    marks = judged({"one": 9, "two": 9, "bad": 1, "end": 9})
    found = []
    for ahead in (0, 1):
        follows = {"": "one\n", "one\n": "two\n", "one\ntwo\n": "bad\n", "one\ntwo\nbad\n": "lost\n"}
        draft = Speaker({"solve": [lambda trace, f=follows: f.get(trace.text, "end")]})  # type: ignore[misc]
        policy = Speaker({"solve": ["mended\n"]}, marks)
        population, ctx = run(SpecReason(1, ahead=ahead), draft, policy)
        found.append((population.traces[0].text, ctx.ledger.spent["draft"].new_tokens))
    assert found[0][0] == found[1][0] == "one\ntwo\nmended\nend"
    assert found[1][1] - found[0][1] == len("lost\n")


def test_a_solution_ends_with_its_answer_or_when_it_repeats_itself() -> None:
    policy = Speaker({"solve": ["x"]}, lambda _: digit(9))
    (trace,) = run(SpecReason(1), Speaker({"solve": ["so\n", "\\boxed{4}\n", "more\n"]}), policy)[0].traces
    assert (trace.text, trace.finished) == ("so\n\\boxed{4}\n", True)
    (trace,) = run(SpecReason(1), Speaker({"solve": ["so\n", "again\n"]}), policy)[0].traces
    assert (trace.text, trace.closed, trace.finished) == ("so\nagain\nagain\n", True, False)


def test_a_budget_that_ends_in_the_middle_leaves_what_there_was() -> None:
    draft = Speaker({"solve": ["good\n", "good\n", "end"]})
    policy = Speaker({"solve": ["mended\n"]}, judged({"good": 9, "end": 9}))
    population, ctx = run(SpecReason(1), draft, policy, budget=Budget(new_tokens=15))
    assert population.traces[0].text == "good\ngood\n"  # two steps and two probes are 12, and 3 do not make an end
    assert ctx.ledger.total.new_tokens <= 15


def test_without_a_draft_it_says_so() -> None:
    setup = Setup({"policy": Speaker({"solve": ["a"]})})
    with pytest.raises(UserError, match="'draft'"):
        asyncio.run(SpecReason(1)(Problem("p", "ask"), Context(setup, Ledger(), np.random.default_rng(0))))


@pytest.mark.parametrize(("key", "value"), [("threshold", 9.5), ("digit", "mean"), ("first_steps", -1), ("ahead", 2)])
def test_arguments_out_of_range(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        SpecReason(1, **{key: value})
