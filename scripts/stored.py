"""Stored rows as a task and a strategy, so that re-scoring them is a run like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ponder.context import Context, Report
from ponder.errors import SamplerError, StrategyError, TaskError, VerifierError
from ponder.runner import Row
from ponder.scripts.records import search_fields
from ponder.search.weights import Weight, weighted
from ponder.types import Cost, Population, Problem, Step, Trace

_ERRORS = {kind.__name__: kind for kind in (SamplerError, VerifierError, TaskError, StrategyError)}
_COUNTS = {f.name for f in fields(Cost)}


class StoredTask:
    """The questions of some rows, with the answers and the grades that their traces were given.

    No data set and no grader is asked again.

    Args:
        rows: rows of one run, as `ponder.scripts.rows.read_rows` gives them.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = {row["problem_id"]: row for row in rows}
        self.traces = {id_: _traces(row) for id_, row in self.rows.items()}
        self._answers: dict[Trace, str | None] = {}
        self._right: dict[tuple[str, str | None], bool] = {}
        self._written: dict[Trace, Row] = {}
        for id_, traces in self.traces.items():
            for trace, written in zip(traces, self.rows[id_]["traces"], strict=True):
                self._answers.setdefault(trace, written["answer"])
                self._right[id_, written["answer"]] = bool(written["correct"])
                self._written.setdefault(trace, written)

    def problems(self) -> Iterable[Problem]:
        """The questions, in the order of their rows."""
        return [_problem(row) for row in self.rows.values()]

    def answer(self, trace: Trace) -> str | None:
        """The stored answer."""
        return self._answers[trace]

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """The stored grade; an answer that no trace gave is wrong."""
        return self._right.get((problem.id, answer), False)

    def describe(
        self,
        population: Population,
        reports: Sequence[Report],
        score: Callable[[Trace], float | None],
        answer: Callable[[Trace], str | None],
        grade: Callable[[str | None], bool],
    ) -> Row:
        """What a row tells of a search, with the stored tokens and log-probabilities of its steps."""
        found = search_fields(population, reports, score, answer, grade)
        by_text = {_key(written): written for trace in population.traces if (written := self._written[trace])}
        for written in found["traces"]:
            old = by_text[_key(written)]
            written |= {name: old[name] for name in ("tokens", "logprobs") if name in old}
        return found


class Stored:
    """A search that was made: gives the final population of each row, weighted by the scores of this run's verifier.

    What the models spent is charged again, so that costs compare with those of other runs; what the run's own
    verifiers spent is not.

    Args:
        task: the rows.
        weight: from scores to log-weights, a function of `search/weights.py`.
        verifiers: the roles of the run's own verifiers.
    """

    def __init__(self, task: StoredTask, weight: Weight, verifiers: Iterable[str] = ("verifier",)) -> None:
        self.task = task
        self.weight = weight
        self.verifiers = frozenset(verifiers)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Scores the stored population; see `ponder.protocols.Strategy`.

        Raises:
            PonderError: what made the question fail when it was run.
        """
        row = self.task.rows[problem.id]
        for role, counts in row["cost"].items():
            if role not in self.verifiers:
                await _charge(ctx, role, _cost(counts))
        if error := row["error"]:
            raise _ERRORS.get(error["type"], StrategyError)(error["message"])
        traces = [self.task.traces[problem.id][place] for place, _ in row["population"]]
        if not traces:
            return Population.equal(traces)
        scores = await ctx.score(traces)
        try:
            return weighted(traces, scores, self.weight)
        except VerifierError as error:  # the remedy names the key as `ponder` has it
            raise VerifierError(str(error).replace("search.weight.path", "weight.path")) from error


async def _charge(ctx: Context, role: str, cost: Cost) -> None:
    async with ctx.ledger.reserve(role, lambda _: cost, 1, 1) as grant:
        grant.charge(cost)


def _cost(counts: Mapping[str, Any]) -> Cost:
    return Cost(**{name: count for name, count in counts.items() if name in _COUNTS})


def _problem(row: Row) -> Problem:
    return Problem(row["problem_id"], row["prompt"], row["meta"])


def _traces(row: Row) -> list[Trace]:
    """The row's traces; those that differ in tokens alone become one and the same."""
    problem, traces = _problem(row), list[Trace]()
    seen: dict[Trace, Trace] = {}
    for written in row["traces"]:
        steps = [Step(text, why=why) for text, why in zip(written["steps"], written["why"], strict=True)]
        trace = Trace(problem, tuple(steps), closed=not written["finished"])
        traces.append(seen.setdefault(trace, trace))
    return traces


def _key(written: Row) -> tuple[Any, ...]:
    return tuple(written["steps"]), tuple(written["why"])
