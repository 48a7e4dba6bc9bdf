"""Self-Refine with a critic whose words are written down: content, never content, out of budget."""

from typing import Any

import numpy as np
import pytest

from ponder.ledger import Budget
from ponder.search import select
from ponder.search.self_refine import SelfRefine
from ponder.types import Problem
from tests.laws.speaking import Speaker, prompts

RNG = np.random.default_rng(0)


def texts(population: Any) -> list[str]:
    return [trace.text for trace in population.traces]


def chosen(population: Any) -> Any:
    return select.argmax(population, lambda trace: trace.text, RNG)


def test_it_revises_until_the_critic_is_content(lab: Any) -> None:
    model = Speaker({"solve": ["one"], "critique": ["Too small.", "Nothing is wrong."], "revision": ["two"]})
    population, _ = lab.run(SelfRefine(5), model, problem=Problem("p", "How many?"))
    assert texts(population) == ["one", "two"]
    assert chosen(population) == "two"
    assert "Too small." in prompts(model)[2]
    assert "one" in prompts(model)[2]
    assert [problem.verbatim for problem in model.asked] == [False, True, False, True]
    assert all(trace.problem.prompt == "How many?" for trace in population.traces)


def test_a_critic_that_is_never_content_ends_with_n_solutions(lab: Any) -> None:
    model = Speaker({"solve": ["one"], "critique": ["No."], "revision": ["two", "three"]})
    population, _ = lab.run(SelfRefine(3), model)
    assert texts(population) == ["one", "two", "three"]
    assert chosen(population) == "three"
    assert len(model.asked) == 5  # no critique of the last


def test_a_first_solution_that_pleases_stays_alone(lab: Any) -> None:
    model = Speaker({"solve": ["one"], "critique": ["Nothing is wrong."]})
    assert texts(lab.run(SelfRefine(4), model)[0]) == ["one"]


def test_with_one_solution_nobody_is_asked(lab: Any) -> None:
    model = Speaker({"solve": ["one"]})
    lab.run(SelfRefine(1), model)
    assert len(model.asked) == 1


@pytest.mark.parametrize(("tokens", "expected"), [(4, ["one"]), (9, ["one"]), (16, ["one", "two"])])
def test_a_budget_that_ends_in_between_leaves_the_last_whole_solution(lab: Any, tokens: int, expected: Any) -> None:
    """Each text is its characters and an end: 4, then 4 for "No." and 4 for "two"."""
    lab.max_tokens = 4
    model = Speaker({"solve": ["one"], "critique": ["No."], "revision": ["two", "six"]})
    population, ctx = lab.run(SelfRefine(4), model, budget=Budget(new_tokens=tokens))
    assert texts(population) == expected
    assert ctx.ledger.total.new_tokens <= tokens
