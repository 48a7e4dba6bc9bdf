"""A task whose gold answers are not read or not graded right is told so; one that is right is counted."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks.validation import Validated, validate
from ponder.types import Problem, Trace


class Sums:
    """i + i for i from 0; each part can be replaced."""

    def __init__(self, n: int = 5) -> None:
        self.n = n

    def problems(self) -> list[Problem]:
        return [Problem(f"sum-{i}", f"{i} + {i}?") for i in range(self.n)]

    def solution(self, problem: Problem) -> str | None:
        return f"It is {2 * int(problem.id[4:])}"

    def answer(self, trace: Trace) -> str | None:
        return trace.text.rpartition(" ")[2] or None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        return answer == str(2 * int(problem.id[4:]))


def test_gold_answers_are_counted() -> None:
    assert validate(Sums()) == Validated(problems=5, proven=5, without=0)


def test_problems_without_a_solution_are_counted_apart() -> None:
    class Half(Sums):
        def solution(self, problem: Problem) -> str | None:
            return None if problem.id == "sum-2" else super().solution(problem)

    assert validate(Half()) == Validated(5, 4, 1)


def test_what_a_judge_grades_is_not_proven() -> None:
    class Judged(Sums):
        async def grade(self, problem: Problem, answer: str | None) -> bool:  # type: ignore[override]
            raise AssertionError("a judge is not asked")

    assert validate(Judged()) == Validated(5, 0, 5)


def broken(name: str, method: Any) -> Sums:
    return type("Broken", (Sums,), {name: method})()  # type: ignore[no-any-return]


def test_what_is_wrong_is_named() -> None:
    def twice(self: Sums) -> list[Problem]:
        return [Problem("sum-1", "1 + 1?"), Problem("sum-1", "1 + 1, again?")]

    def divides(self: Sums, problem: Problem, answer: str | None) -> bool:
        return answer is not None and 1 / int(problem.id[4:]) > 0

    for name, method, words in [
        ("answer", lambda self, trace: "7", "sum-0: its own solution is read as '7' and graded wrong"),
        ("answer", lambda self, trace: None, "sum-0: its own solution is read as None"),
        ("grade", lambda self, problem, answer: False, "graded wrong; sum-1: .*; sum-2: .*; and 2 more"),
        ("grade", lambda self, problem, answer: True, "sum-0: no answer is graded right"),
        ("grade", divides, "sum-0: ZeroDivisionError: division by zero"),
        ("problems", lambda self: [], "no problems"),
        ("problems", twice, "ids twice"),
        ("solution", None, "Broken has no solution"),
    ]:
        with pytest.raises(UserError, match=words):
            validate(broken(name, method))
