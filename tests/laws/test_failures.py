"""An engine that falters: completed, repeated, or recorded with its cause, while the others finish."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder.context import Setup
from ponder.protocols import Until
from ponder.runner import run
from ponder.samplers.scripted import Scripted
from ponder.scripts.records import search_fields
from ponder.scripts.rows import RowFile, read_rows
from ponder.search import select
from ponder.search.best_of_n import BestOfN
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.self_consistency import SelfConsistency
from ponder.types import Problem, Step, Trace
from ponder.verifiers.rule import Constant

every_strategy = pytest.mark.parametrize("make", [BestOfN, SelfConsistency, ParticleFiltering])


class Faltering(Scripted):
    """Returns at most `most` completions, and raises on the first `failures` requests of a problem."""

    def __init__(self, most: int = 100, failures: int = 0, poisoned: str = "") -> None:
        super().__init__(["a\n\nb", "c\n\nd"], order="seed")
        self.most, self.failures, self.poisoned = most, failures, poisoned
        self.failed: dict[str, int] = {}

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        problem = trace.problem.id
        failed = self.failed.get(problem, 0)
        if problem == self.poisoned or failed < self.failures:
            self.failed[problem] = failed + 1
            raise ConnectionError("the engine is away")
        return await super().sample(trace, min(n, self.most), until, seed=seed)


class Letters:
    """Two problems; every text is an answer."""

    def problems(self) -> Sequence[Problem]:
        return [Problem("p0", "ask 0"), Problem("p1", "ask 1")]

    def answer(self, trace: Trace) -> str | None:
        return trace.text or None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        return answer == "a\n\nb"


def rows(path: Path, strategy: Any, sampler: Scripted, solution: Until | None = None) -> dict[str, Any]:
    setup = Setup(
        {"policy": sampler}, {"verifier": Constant()}, solution=solution or Until(max_tokens=100), backoff=0.001
    )
    file = RowFile(path)
    try:
        asyncio.run(
            run(
                Letters(),
                strategy,
                setup,
                rows=file,
                describe=search_fields,
                stamp={},
                seed=0,
                select="argmax",
                selectors=select.SELECTORS,
            )
        )
    finally:
        file.close()
    return {row["problem_id"]: row for row in read_rows(path)}


@every_strategy
def test_missing_completions_are_asked_for_again(tmp_path: Path, make: Any) -> None:
    sampler = Faltering(most=2)
    found = rows(tmp_path / "rows.jsonl", make(5), sampler)
    for row in found.values():
        assert row["error"] is None
        assert len(row["population"]) == 5
    assert sum(row["cost"]["policy"]["new_tokens"] for row in found.values()) == sampler.new_tokens


@every_strategy
def test_a_request_that_fails_once_is_repeated_with_the_same_result(tmp_path: Path, make: Any) -> None:
    steady = rows(tmp_path / "a.jsonl", make(5), Faltering())
    shaken = rows(tmp_path / "b.jsonl", make(5), Faltering(failures=1))
    assert all(row["error"] is None for row in shaken.values())
    assert [row["population"] for row in shaken.values()] == [row["population"] for row in steady.values()]


@every_strategy
def test_a_request_that_always_fails_costs_its_own_question_only(tmp_path: Path, make: Any) -> None:
    found = rows(tmp_path / "rows.jsonl", make(5), Faltering(poisoned="p0"))
    assert found["p0"]["error"]["type"] == "SamplerError"
    assert "the engine is away" in found["p0"]["error"]["message"]
    assert not any(answer["correct"] for answer in found["p0"]["answers"].values())
    assert found["p1"]["error"] is None


@every_strategy
def test_a_solution_cut_by_the_limit_is_truncated_not_finished(tmp_path: Path, make: Any) -> None:
    found = rows(tmp_path / "rows.jsonl", make(3), Faltering(), solution=Until(max_tokens=4))
    for row in found.values():
        assert row["error"] is None
        assert all(trace["why"][-1] == "length" and not trace["finished"] for trace in row["traces"])
        assert row["cost"]["policy"]["new_tokens"] == 3 * 4
