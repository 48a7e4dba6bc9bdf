"""Runner: one coroutine a question, bounded, resumable."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, Protocol, TypeVar

import numpy as np

from ponder.batching import gather
from ponder.context import Context, Report, Setup
from ponder.errors import PonderError, SamplerError, StrategyError, TaskError, UserError, VerifierError, unwrapped
from ponder.ledger import BudgetExhausted
from ponder.protocols import Recorder, Strategy, Task
from ponder.types import Answer, Cost, Population, Problem, Trace

V = TypeVar("V")
Row = dict[str, Any]
Select = Callable[[Population, Answer, np.random.Generator], str | None]
Describe = Callable[
    [Population, Sequence[Report], Callable[[Trace], float | None], Answer, Callable[[str | None], bool]], Row
]
"""What a row tells of a search: `ponder.scripts.records.search_fields`."""
_graders = ThreadPoolExecutor(thread_name_prefix="grading")  # of their own: verifiers do not wait behind slow programs


class Rows(Protocol):
    """Where a run's rows go: `ponder.scripts.rows.RowFile`, or a list of your own with `append`.

    Attributes:
        rows: what earlier runs left.
    """

    rows: list[Row]

    def append(self, row: Row) -> None:
        """Keeps a row; when this returns, it survives a power cut."""


async def search(strategy: Strategy, problem: Problem, ctx: Context) -> Population:
    """Runs a strategy on one question; if its budget ends, the last report is the result. The result is reported."""
    try:
        population = await strategy(problem, ctx)
        if not ctx.reports or ctx.reports[-1].population is not population:
            ctx.report(population)
        return population
    except (BudgetExhausted, BaseExceptionGroup) as error:
        if not isinstance(cause := unwrapped(error), BudgetExhausted):
            raise cause from error
    return ctx.reports[-1].population if ctx.reports else Population((), np.zeros(0))


async def run(
    task: Task,
    strategy: Strategy,
    setup: Setup,
    *,
    rows: Rows,
    describe: Describe,
    stamp: Mapping[str, Any],
    seed: int,
    select: str,
    selectors: Mapping[str, Select],
    config: Mapping[str, Any] | None = None,
    recorders: Sequence[Recorder] = (),
    concurrency: int = 64,
) -> None:
    """Runs a strategy over a task; questions that already have a row without error are kept.

    Args:
        task: the problems and their grading.
        strategy: called once a question.
        setup: what all questions share.
        rows: where finished questions go, and what earlier runs left.
        describe: what a row tells of a search.
        stamp: fields for each row: run id, config hash, git commit.
        seed: the run's seed.
        select: the name of the configured selector.
        selectors: all selectors, so that one run answers for each.
        config: the resolved configuration, for recorders.
        recorders: told of every row, old ones included.
        concurrency: the most questions at once.

    Raises:
        UserError: a mistake that a question brought to light; such a question is no result.
    """
    problems = list(task.problems())
    known = {row["problem_id"]: row for row in rows.rows if row["error"] is None}
    for recorder in recorders:
        recorder.start({**stamp, "config": dict(config or {}), "questions": len(problems)})
        for problem in problems:
            if problem.id in known:
                recorder.row(known[problem.id])
    gate = asyncio.Semaphore(concurrency)

    async def question(problem: Problem) -> None:
        async with gate:
            asked = {"seed": seed, "problem_id": problem.id, "prompt": problem.prompt, "meta": dict(problem.meta)}
            found = await _answered(
                task, strategy, setup.context(problem, seed, task.answer), problem, describe, select, selectors
            )
            rows.append(row := {**stamp, **asked, **found})
            for recorder in recorders:
                recorder.row(row)

    try:
        async with asyncio.TaskGroup() as group:
            for problem in problems:
                if problem.id not in known:
                    group.create_task(question(problem))
    except BaseExceptionGroup as group:
        raise unwrapped(group) from group
    finally:
        for recorder in recorders:
            recorder.close()


async def _answered(
    task: Task,
    strategy: Strategy,
    ctx: Context,
    problem: Problem,
    describe: Describe,
    select: str,
    selectors: Mapping[str, Select],
) -> Row:
    """The rest of a row: the search and its answers, or the error in their place."""
    error: PonderError | None = None
    grading = Cost()  # what a judge that grades spends: apart, since it is no part of the search
    found: Row = {"traces": [], "population": [], "reports": []}
    answers: dict[str, Any] = {name: {"answer": None, "correct": False} for name in selectors}
    try:
        population = await search(strategy, problem, ctx)
        try:
            answer = cache(task.answer)
            told = partial(describe, population, ctx.reports, ctx.known_score, answer)
            given: dict[str | None, bool] = {}  # first which answers are told of, then each one's grade, found once
            await _grading(lambda: told(lambda one: given.setdefault(one, False)))
            for name, selector in selectors.items():
                chosen = selector(population, answer, ctx.rng) if len(population) else None
                answers[name] = {"answer": chosen, "correct": False}
                given.setdefault(chosen, False)
            grades = dict(zip(given, await gather(_graded(task, problem, one) for one in given), strict=True))
            found = told(lambda one: bool(grades[one]))
            for entry in answers.values():
                entry["correct"] = bool(grades[entry["answer"]])
            grading = sum((getattr(grade, "cost", Cost()) for grade in grades.values()), Cost())
        except UserError:
            raise
        except Exception as cause:
            raise TaskError(f"{type(task).__name__}: {type(cause).__name__}: {cause}") from cause
    except UserError:
        raise
    except (SamplerError, VerifierError, TaskError) as cause:
        error = cause
    except Exception as cause:
        error = StrategyError(f"{type(strategy).__name__}: {type(cause).__name__}: {cause}")
    return {
        **found,
        "answers": answers,
        "select": select,
        "cost": cost_fields(ctx.ledger.spent),
        "grading": grading.asdict(),
        "notes": ctx.notes,
        "seconds": round(ctx.ledger.seconds, 4),
        "error": None if error is None else {"type": type(error).__name__, "message": str(error)},
    }


async def _graded(task: Task, problem: Problem, answer: str | None) -> Any:
    if inspect.iscoroutinefunction(task.grade):
        return await task.grade(problem, answer)
    return await _grading(lambda: task.grade(problem, answer))


async def _grading(work: Callable[[], V]) -> V:
    """What a task takes its time for, in a thread: it may run programs, or wait for a worker."""
    return await asyncio.get_running_loop().run_in_executor(_graders, work)


def cost_fields(spent: Mapping[str, Cost]) -> dict[str, dict[str, float]]:
    """Costs by role as plain numbers."""
    return {role: cost.asdict() for role, cost in sorted(spent.items())}
