"""Universal self-consistency with a judge whose replies are written down."""

import asyncio
from typing import Any

import numpy as np
import pytest

from ponder.context import Context, Setup
from ponder.errors import UserError
from ponder.ledger import Budget, Ledger
from ponder.protocols import Picking
from ponder.samplers.scripted import Scripted
from ponder.search import select
from ponder.search.universal_self_consistency import UniversalSelfConsistency
from ponder.types import Problem

RNG = np.random.default_rng(0)
TEXTS = ["one", "two", "three", "two"]


def text(trace: Any) -> Any:
    return trace.text


class Judged(Scripted):
    """Solves by playing texts in turn; what it is asked besides the question gets one reply."""

    def __init__(self, reply: str, texts: Any = TEXTS) -> None:
        turns = iter(texts)
        self.asked: list[Problem] = []
        self.picked: list[Picking] = []

        def script(trace: Any, _seed: Any) -> Any:
            if not trace.problem.verbatim:
                return next(turns)
            self.asked.append(trace.problem)
            return reply

        super().__init__(script)

    def varied(self, picking: Picking) -> Any:
        self.picked.append(picking)
        return super().varied(picking)


@pytest.mark.parametrize(
    ("reply", "chosen"),
    [
        ("Solution 3", "three"),
        ("Solution 1 and 2 differ. I settle on\n\n**Solution 2**.", "two"),
        ("2", "two"),
        ("I cannot say.", "two"),  # the most frequent answer
        ("Solution 9", "two"),
        ("Solution 0", "two"),
        ("", "two"),
    ],
)
def test_the_named_solution_is_chosen_or_the_most_frequent_answer(lab: Any, reply: Any, chosen: Any) -> None:
    sampler = Judged(reply)
    population, _ = lab.run(UniversalSelfConsistency(4), sampler)
    assert [t.text for t in population.traces] == TEXTS
    assert select.argmax(population, text, RNG) == chosen
    assert select.weighted_vote(population, text, RNG) == chosen
    assert select.majority(population, text, RNG) == "two"
    assert population.weights[[t.text == chosen for t in population.traces]].sum() == pytest.approx(1.0, abs=1e-8)


def test_the_question_holds_all_solutions_and_is_greedy(lab: Any) -> None:
    sampler = Judged("Solution 1")
    lab.run(UniversalSelfConsistency(4), sampler, problem=Problem("p", "How many {apples}?"))
    (asked,) = sampler.asked
    assert sampler.picked == [Picking(temperature=0.0)]
    assert "How many {apples}?" in asked.prompt
    for i, words in enumerate(TEXTS, start=1):
        assert f"Solution {i}:\n{words}" in asked.prompt


def test_a_lone_solution_is_not_judged(lab: Any) -> None:
    sampler = Judged("Solution 1")
    population, _ = lab.run(UniversalSelfConsistency(1), sampler)
    assert not sampler.asked
    assert select.argmax(population, text, RNG) == "one"


def test_unfinished_solutions_are_not_candidates(lab: Any) -> None:
    lab.max_tokens = 4
    sampler = Judged("2", ["one", "endless", "two"])
    population, _ = lab.run(UniversalSelfConsistency(3), sampler)
    assert "endl" not in sampler.asked[0].prompt
    assert select.argmax(population, text, RNG) == "two"


def test_without_any_answer_the_first_is_chosen(lab: Any, table: Any) -> None:
    (ctx,) = lab.contexts(Judged("?"), table, [0])
    ctx.answer = lambda _trace: None
    population = asyncio.run(UniversalSelfConsistency(4)(Problem("p", "ask"), ctx))
    assert int(np.argmax(population.log_weights)) == 0


def test_another_model_may_judge_and_is_billed_under_its_role() -> None:
    judge = Judged("Solution 3")
    setup = Setup({"policy": Scripted(TEXTS), "judge": judge})
    ctx = Context(setup, Ledger(), np.random.default_rng(0))
    population = asyncio.run(UniversalSelfConsistency(4, judge="judge")(Problem("p", "ask"), ctx))
    assert select.argmax(population, text, RNG) == "three"
    assert ctx.ledger.spent["judge"].new_tokens == judge.new_tokens == len("Solution 3") + 1
    assert ctx.ledger.spent["judge"].samples == 0
    assert ctx.ledger.spent["policy"].samples == 4


def test_a_role_that_nobody_has_is_a_mistake(lab: Any) -> None:
    with pytest.raises(UserError, match="'judge'"):
        lab.run(UniversalSelfConsistency(4, judge="judge"), Judged("Solution 1"))


def test_a_budget_that_ends_before_the_judge_leaves_equal_weights(lab: Any) -> None:
    spent = sum(len(words) + 1 for words in TEXTS)
    lab.max_tokens = 6  # what a solution may take, and so what a sampler must have left to draw one
    population, _ = lab.run(UniversalSelfConsistency(4), Judged("Solution 1"), budget=Budget(new_tokens=spent))
    assert 1 <= len(population) <= 4
    assert np.ptp(population.log_weights) == 0
