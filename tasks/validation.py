"""Does a task read and grade its own gold answers right? `ponder-check task=NAME`, and a test of your own task."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from ponder.errors import TaskError, UserError
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
    judged = inspect.iscoroutinefunction(task.grade)
    for problem in problems:
        if not judged and task.grade(problem, None):
            faults.append(f"{problem.id}: no answer is graded right")
        solution = task.solution(problem)
        if solution is None or judged:
            continue
        answer = _read(task, problem, solution)
        if answer is None or not task.grade(problem, answer):
            faults.append(f"{problem.id}: its own solution is read as {answer!r} and graded wrong")
        else:
            proven += 1
    if faults:
        shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise UserError(f"{name}: {shown}", "mend the row, the extraction (`answer`) or the grading (`grade`)")
    return Validated(len(problems), proven, len(problems) - proven)


def _read(task: Any, problem: Problem, solution: str) -> str | None:
    trace = Trace(problem, (Step(solution, why="eos"),))
    try:
        answer: str | None = task.answer(trace)
    except Exception as error:
        raise TaskError(f"{type(task).__name__}.answer: {problem.id}: {type(error).__name__}: {error}") from error
    return answer


__all__ = ["Validated", "validate"]
