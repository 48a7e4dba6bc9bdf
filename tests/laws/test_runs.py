"""Whole runs: the rows of a question depend on the seed and the question, and on nothing else."""

import asyncio
from typing import Any

import pytest

from ponder import solve
from ponder.context import Setup
from ponder.ledger import Budget
from ponder.protocols import Until
from ponder.runner import run
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.scripts.records import search_fields
from ponder.scripts.rows import RowFile, read_rows
from ponder.search import select
from ponder.search.best_of_n import BestOfN
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.self_consistency import SelfConsistency
from ponder.types import Problem
from ponder.verifiers.rule import Length

STRATEGIES = [BestOfN(5), SelfConsistency(5), ParticleFiltering(5), ParticleFiltering(5, finished="absorb")]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: f"{type(s).__name__}")


class Questions:
    """Which text is it? The right one is "ab"."""

    def __init__(self, count: Any = 12, backwards: Any = False) -> None:
        self.order = list(range(count))[:: -1 if backwards else 1]

    def problems(self) -> Any:
        return [Problem(f"q{i}", f"ask {i}") for i in self.order]

    def answer(self, trace: Any) -> Any:
        return trace.text or None

    def grade(self, problem: Any, answer: Any) -> Any:
        return answer == "ab"


def rows(
    path: Any,
    strategy: Any,
    sampler: Any,
    task: Any,
    *,
    seed: Any = 0,
    concurrency: Any = 8,
    budget: Any = None,
) -> Any:
    """The rows of a run by problem, without what depends on the clock."""
    setup = Setup({"policy": sampler}, {"verifier": Length(2)}, step=Until(every=1), budget=budget or Budget())
    file = RowFile(path)
    settings: Any = {"rows": file, "describe": search_fields, "stamp": {}, "seed": seed, "select": "argmax"}
    settings["selectors"] = select.SELECTORS
    try:
        asyncio.run(run(task, strategy, setup, concurrency=concurrency, **settings))
    finally:
        file.close()
    return {row["problem_id"]: without_clock(row) for row in read_rows(path)}


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_clock(v) for k, v in value.items() if k != "seconds"}
    return [without_clock(v) for v in value] if isinstance(value, list) else value


@every_strategy
def test_rows_are_the_same_whatever_the_concurrency_and_the_order(tmp_path: Any, uneven: Any, strategy: Any) -> None:
    one = rows(tmp_path / "a.jsonl", strategy, uneven, Questions(), concurrency=1)
    many = rows(tmp_path / "b.jsonl", strategy, ToyLanguage(uneven.transitions), Questions(backwards=True))
    assert len(one) == 12
    assert all(row["error"] is None for row in one.values())
    assert one == many


@every_strategy
def test_alone_equals_in_company(tmp_path: Any, uneven: Any, strategy: Any) -> None:
    company = rows(tmp_path / "a.jsonl", strategy, uneven, Questions(6))
    alone = rows(tmp_path / "b.jsonl", strategy, uneven, Questions(1))
    assert alone["q0"] == company["q0"]


@every_strategy
def test_same_seed_same_rows_other_seed_other_rows(tmp_path: Any, uneven: Any, strategy: Any) -> None:
    first, again, other = (
        rows(tmp_path / f"{i}.jsonl", strategy, uneven, Questions(), seed=seed) for i, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert first != other


@every_strategy
def test_every_selector_answers_and_the_bill_is_the_samplers(tmp_path: Any, uneven: Any, strategy: Any) -> None:
    found = rows(tmp_path / "a.jsonl", strategy, uneven, Questions())
    assert all(set(row["answers"]) == set(select.SELECTORS) for row in found.values())
    assert sum(row["cost"]["policy"]["new_tokens"] for row in found.values()) == uneven.new_tokens


@every_strategy
def test_a_question_out_of_budget_has_a_row_with_its_best_so_far(tmp_path: Any, even: Any, strategy: Any) -> None:
    found = rows(tmp_path / "a.jsonl", strategy, even, Questions(4), budget=Budget(new_tokens=15))
    for row in found.values():
        assert row["error"] is None
        assert row["cost"]["policy"]["new_tokens"] <= 15
        assert row["answers"]["majority"]["answer"] is not None


def test_solving_one_problem() -> None:
    sampler = Scripted(["12", "1234", "12"])
    found = solve("ask", BestOfN(3), sampler=sampler, verifier=Length(4), select=select.argmax)
    assert found.answer == "1234"
    voted = solve("ask", SelfConsistency(3), sampler=sampler, select=select.majority)
    assert voted.answer == "12"
