"""`solve` from a script and from inside a running event loop, where notebooks live."""

from __future__ import annotations

from ponder import Budget, Problem, solve, solve_async
from ponder.samplers.scripted import Scripted
from ponder.search.best_of_n import BestOfN
from ponder.search.select import argmax
from ponder.tasks.arithmetic import Arithmetic, ArithmeticOracle
from ponder.types import Trace

PROBLEM = Problem("toy", "17;a*3?")
RIGHT, WRONG = "a17*3=51\n\n\\boxed{51}", "a17*3=41\n\n\\boxed{41}"


def boxed(trace: Trace) -> str | None:
    return Arithmetic().answer(trace)


def test_a_script_gets_an_answer_with_its_cost() -> None:
    sampler = Scripted([WRONG, RIGHT])
    found = solve(PROBLEM, BestOfN(2), sampler=sampler, verifier=ArithmeticOracle(), answer=boxed, select=argmax)
    assert found.answer == "51"
    assert found.cost["policy"].new_tokens == sampler.new_tokens == len(RIGHT) + len(WRONG) + 2
    assert found.cost["verifier"].verifier_calls == 2
    assert len(found.population) == 2


async def test_a_running_loop_is_no_obstacle() -> None:
    settings = {"verifier": ArithmeticOracle(), "answer": boxed, "select": argmax}
    blocking = solve(PROBLEM, BestOfN(2), sampler=Scripted([WRONG, RIGHT]), **settings)
    awaited = await solve_async(PROBLEM, BestOfN(2), sampler=Scripted([WRONG, RIGHT]), **settings)
    assert blocking.answer == awaited.answer == "51"
    assert blocking.cost == awaited.cost


def test_a_budget_that_ends_gives_what_there_is() -> None:
    length = len(WRONG) + 1
    budget = Budget(new_tokens=length)
    found = solve(PROBLEM, BestOfN(2), sampler=Scripted([WRONG, RIGHT]), verifier=ArithmeticOracle(), answer=boxed,
                  select=argmax, budget=budget)  # fmt: skip
    assert found.answer == "41"
    assert found.cost["policy"].new_tokens == length
