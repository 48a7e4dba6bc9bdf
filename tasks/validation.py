"""Does a task read and grade its own gold answers right? `ponder-check task=NAME`, and a test of your own task."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from ponder.errors import UserError
from ponder.types import Problem, Step, Trace


@dataclass(frozen=True)
class Validated:
    """What was proven.

    Attributes:
        problems: how many problems the task has.
        proven: how many of their gold answers were read and graded right.
        without: problems that have no gold answer to prove: what a judge grades, or what has no solution known.
    """

    problems: int
    proven: int
    without: int


def validate(task: Any) -> Validated:
    """Proves that each of a task's gold answers is read from a solution, and graded right; and that no answer is wrong.

    Args:
        task: a task with `solution(problem)`, a right solution as a model would write it, None if none is known.

    Returns:
        The counts.

    Raises:
        UserError: the task has no `solution`, a gold answer is misread or graded wrong (the first few are named), or an
            empty solution is graded right.
    """
    name = type(task).__name__
    if not callable(getattr(task, "solution", None)):
        raise UserError(f"{name} has no solution(problem)", "write one: a right solution as a model would write it")
    problems = list(task.problems())
    if len({problem.id for problem in problems}) != len(problems) or not problems:
        raise UserError(f"{name} has {'ids twice' if problems else 'no problems'}", "each problem needs its own id")
    faults, proven = list[str](), 0
    for problem in problems:
        try:
            fault, had = _tried(task, problem)
        except Exception as error:  # whatever a task raises is what is wrong with it
            fault, had = f"{type(error).__name__}: {error}", True
        if fault:
            faults.append(f"{problem.id}: {fault}")
        proven += had and not fault
    if faults:
        shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise UserError(f"{name}: {shown}", "mend the row, the extraction (`answer`) or the grading (`grade`)")
    return Validated(len(problems), proven, len(problems) - proven)


def _tried(task: Any, problem: Problem) -> tuple[str, bool]:
    """What is wrong with a problem's gold answer, empty if nothing is; and whether it has one to prove."""
    solution = task.solution(problem)
    if inspect.iscoroutinefunction(task.grade):  # a judge is not asked
        return "", False
    if task.grade(problem, None):
        return "no answer is graded right", True
    if solution is None:
        return "", False
    answer = task.answer(Trace(problem, (Step(solution, why="eos"),)))
    if answer is None or not task.grade(problem, answer):
        return f"its own solution is read as {answer!r} and graded wrong", True
    return "", True


__all__ = ["Validated", "validate"]
