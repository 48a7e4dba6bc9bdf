"""What a row keeps of a search. Everything else, curves and votes, is computed from rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ponder.context import Report
from ponder.runner import Row, cost_fields
from ponder.types import Population, Score, Trace


def search_fields(
    population: Population,
    reports: Sequence[Report],
    score: Callable[[Trace], float | None],
    answer: Callable[[Trace], str | None],
    grade: Callable[[str | None], bool],
) -> Row:
    """What a row tells of a search: traces, final population, anytime points.

    Final and closed traces are stored themselves, others only where no stored one continues them: a report speaks of a
    prefix as (trace, depth, log weight).
    """
    seen: dict[Trace, Any] = dict.fromkeys(
        [*population.traces, *(t for report in reports for t in report.population.traces)]
    )
    final = set(population.traces)
    own: dict[Trace, tuple[int, int]] = {}
    places: dict[tuple[object, ...], tuple[int, int]] = {}
    for trace in sorted(seen, key=len, reverse=True):  # longest first, so that a prefix finds what continues it
        path = tuple((step.token_ids or step.text, step.why == "eos") for step in trace.steps)
        if trace in final or trace.closed or path not in places:
            for depth in range(len(trace) + 1):
                places.setdefault(path[:depth], (len(own), depth))
            own[trace] = (len(own), len(trace))
        seen[trace] = own.get(trace, places[path])
    return {
        "traces": [_trace_fields(trace, score(trace), answer(trace), grade) for trace in own],
        "population": [[own[trace][0], weight] for trace, weight in _weighted(population)],
        "reports": [
            {
                "cost": cost_fields(report.cost),
                "seconds": round(report.seconds, 4),
                "population": [[*seen[trace], weight] for trace, weight in _weighted(report.population)],
            }
            for report in reports
        ],
    }


def _weighted(population: Population) -> list[tuple[Trace, float]]:
    finite = np.nan_to_num(population.log_weights, nan=-1e30, posinf=1e30, neginf=-1e30)  # JSON knows no infinity
    return list(zip(population.traces, finite.tolist(), strict=True))


def _trace_fields(trace: Trace, score: float | None, answer: str | None, grade: Callable[[str | None], bool]) -> Row:
    return {
        "steps": [step.text for step in trace.steps],
        "why": [step.why for step in trace.steps],
        "tokens": [len(step.token_ids) for step in trace.steps],
        "logprobs": [round(sum(step.logprobs), 6) for step in trace.steps],
        "score": None if score is None else float(score),
        "scores": list(score.steps) if isinstance(score, Score) else [],
        "unread": score.unread if isinstance(score, Score) else 0,
        "finished": trace.finished,
        "answer": answer,
        "correct": grade(answer),
    }
