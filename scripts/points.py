"""Points of scaling curves, computed from stored rows: one method at one size, its accuracy and its cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from ponder.scripts.metrics import EXACT, Values, mean_interval
from ponder.scripts.results import COSTS, COVERAGE, MAJORITY, Bill, Row, Stop, load, warn

INDEPENDENT = {"best_of_n": ("argmax", "weighted_vote"), "self_consistency": ("majority",), "coverage": ()}
"""Searches whose samples are independent, so that any subset is a smaller run; with selectors always shown."""
SUBSETS = ("argmax", "majority", "weighted_vote")
"""Selectors whose expectation over the subsets of a pool is known."""
Sizes = dict[tuple[int, str], list[Row]]
ERROR = 0.001
"""The largest Monte-Carlo standard error that a point may have: a tenth of a percentage point."""


@dataclass(frozen=True)
class Point:
    """One method at one size: how often it is right, and what a question cost on average.

    Attributes:
        method: such as "best_of_n · argmax".
        n: samples or particles.
        source: "run", or the run whose samples or reports it was computed from.
        accuracy: mean over questions (of the mean over seeds); a failed question is wrong.
        low: lower end of the 95 % interval.
        high: upper end.
        questions: distinct questions.
        seeds: distinct seeds.
        new_tokens: tokens that the policy emitted.
        all_tokens: tokens that all models computed, each counted by the size of its model over the policy's.
        verifier_tokens: tokens that verifiers computed.
        verifier_calls: traces that verifiers scored.
        flops: estimated operations, all roles.
        seconds: wall time; None where it was not measured for this method.
        failed: rows that ended in an error.
        stderr: Monte-Carlo error of `accuracy`, 0 where it is exact; at most `ERROR`.
        ceilings: the budget's ceilings for a question, such as "new_tokens=500".
        pass_at: coverage at each k up to n, for independent samples.
        values: by problem, the value under each seed.
        spent: by problem, its costs by name, means over seeds.
    """

    method: str
    n: int
    source: str
    accuracy: float
    low: float
    high: float
    questions: int
    seeds: int
    new_tokens: float
    all_tokens: float
    verifier_tokens: float
    verifier_calls: float
    flops: float
    seconds: float | None
    failed: int
    stderr: float = 0.0
    ceilings: str = ""
    pass_at: Mapping[int, float] = field(default_factory=dict)
    values: Mapping[Hashable, Sequence[float]] = field(default_factory=dict, repr=False, compare=False)
    spent: Mapping[Hashable, Bill] = field(default_factory=dict, repr=False, compare=False)

    def asdict(self) -> dict[str, Any]:
        """Every field but `values` and `spent`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("values", "spent")}


def summarise(dirs: Sequence[str | Path], group: str = "search", at: Sequence[int] = ()) -> list[Point]:
    """Every method at every size found in stored rows, and smaller N of independent samples.

    Args:
        dirs: folders with runs.
        group: what to keep apart besides search, selector and size; see `load`.
        at: the smaller N to compute; powers of 4 if empty.

    Raises:
        UserError: there is nothing to read.
    """
    return points(load(dirs, group), at)


def points(rows: Iterable[Row], at: Sequence[int] = ()) -> list[Point]:
    """The points of some rows; see `summarise`."""
    groups, found = grouped(rows), list[Point]()
    for (label, search), sizes in groups.items():
        prefix = f"{label}: " if label else ""
        for (n, ceilings), members in sizes.items():
            if len({row.setup for row in members}) > 1:
                size = f"N={n} {ceilings}".strip()
                warn(f"{search} at {size} pools different configurations; apart with group=verifier, model, search.KEY")
        largest, pool = pooled(sizes)
        ran = {n for n, ceilings in sizes if not ceilings}
        smaller = {k for k in (at or [4**i for i in range(16)]) if k < largest and search in INDEPENDENT}
        chosen = {row.select for members in sizes.values() for row in members}
        if search in ("self_consistency", "coverage"):  # a vote is all it has; equal weights make each selector one
            chosen = {"majority"} if search == "self_consistency" else set()
        for select in sorted(chosen | set(INDEPENDENT.get(search, ()))):
            method, always = f"{prefix}{search} · {select}", select in INDEPENDENT.get(search, ())
            for (n, _), members in sizes.items():
                of = [r for r in members if always or select == r.select]
                if of:
                    found.append(_point(method, n, of, select, smaller | {n}))
            if select in SUBSETS:
                for k in smaller - ran:
                    found.append(_point(method, k, pool, select, smaller, f"from N={largest}"))
        if search not in INDEPENDENT:
            continue
        other = (label, "self_consistency") in groups
        if search == next(first for first in INDEPENDENT if (label, first) in groups):
            for k in smaller | {largest}:
                found.append(_point(prefix + COVERAGE, k, pool, COVERAGE, smaller | {k}, f"from N={largest}"))
        if search == "best_of_n" and not other and "majority" not in chosen:
            for k in smaller | {largest}:
                source = f"from best_of_n N={largest}"
                found.append(_point(prefix + MAJORITY, k, pool, MAJORITY, smaller | {k}, source))
    return sorted(found, key=lambda point: (point.method, point.n, point.new_tokens))


def grouped(rows: Iterable[Row]) -> dict[tuple[str, str], Sizes]:
    """Rows by label and search, and within these by N and ceilings."""
    groups: dict[tuple[str, str], Sizes] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row.label, row.search][row.n, row.ceilings].append(row)
    return groups


def mean(values: Values) -> float:
    """Mean accuracy over problems; see `ponder.scripts.metrics.mean_interval`."""
    return float(np.mean([np.mean(of_problem) for of_problem in values.values()]))


def pooled(sizes: Sizes) -> tuple[int, list[Row]]:
    """The largest N and its rows: without ceilings, if there are such."""
    (n, ceilings) = max(sizes, key=lambda size: (not size[1], size[0]))
    return n, sizes[n, ceilings]


def _point(method: str, n: int, rows: Sequence[Row], select: str, ks: Iterable[int], source: str = "run") -> Point:
    """One point; a source other than "run" computes it from subsets and scales the costs by n over the samples."""
    stored, sampler_only, variance = source == "run", select in (COVERAGE, MAJORITY), 0.0
    values: dict[Hashable, list[float]] = defaultdict(list)
    covered: dict[int, dict[Hashable, list[float]]] = {k: defaultdict(list) for k in sorted(ks) if k <= n}
    bills: dict[Hashable, list[Bill]] = defaultdict(list)
    for row in rows:
        value = row.stored(select) if stored else row.at(n, select, draws(len(rows)))
        values[row.problem].append(value.value)
        variance += value.stderr**2
        scale = 1.0 if stored else row.share(n)
        bill = row.bill(["policy"]) if sampler_only else row.bill()
        bills[row.problem].append({name: cost * scale for name, cost in bill.items()})
        if row.search in INDEPENDENT:
            for k, of_problem in covered.items():
                of_problem[row.problem].append(row.at(k, COVERAGE).value)
    return _made(
        method,
        n,
        source,
        rows,
        values,
        bills,
        seconds=not sampler_only,
        stderr=sqrt(variance) / len(rows),
        pass_at={k: mean(of) for k, of in covered.items() if of},
    )


def _made(
    method: str,
    n: int,
    source: str,
    rows: Sequence[Row],
    values: Mapping[Hashable, Sequence[float]],
    bills: Mapping[Hashable, Sequence[Bill]],
    *,
    seconds: bool = True,
    stderr: float = 0.0,
    pass_at: Mapping[int, float] | None = None,
) -> Point:
    """A point of values and bills by problem."""
    accuracy, (low, high) = mean_interval(values)
    costs = {name: sum(bill[name] for of in bills.values() for bill in of) / len(rows) for name in COSTS}
    return Point(
        method=method,
        n=n,
        source=source,
        accuracy=accuracy,
        low=low,
        high=high,
        questions=len(values),
        seeds=len({row.seed for row in rows}),
        failed=sum(row.failed for row in rows),
        stderr=stderr,
        ceilings=rows[0].ceilings,
        pass_at=pass_at or {},
        values=values,
        spent={problem: {k: sum(b[k] for b in of) / len(of) for k in COSTS} for problem, of in bills.items()},
        **costs | {} if seconds else costs | {"seconds": None},
    )


def draws(rows: int) -> int:
    """How many random subsets a question needs for the mean over some rows to have an error of `ERROR` at most."""
    return max(EXACT, ceil(0.25 / ERROR**2 / rows))


def anytime(rows: Iterable[Row], x: str, stops: int = 8) -> list[Point]:
    """Accuracy as if each question had been stopped at a budget, from the reports of searches that go step by step.

    A question stopped at a budget answers with its last report within it; one without any is wrong. What it had
    spent on the other axes then is interpolated between reports.

    Args:
        rows: stored rows; only the largest N of each method is used, and no search of independent samples.
        x: the cost that is limited, one of `COSTS`.
        stops: how many budgets, evenly spaced in their logarithm up to the dearest question's whole cost.

    Returns:
        Points of methods named "search · selector (anytime)".
    """
    of_select: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.search not in INDEPENDENT and row.select in SUBSETS:
            of_select[row.select].append(row)
    groups = [(key, select, sizes) for select, of in of_select.items() for key, sizes in grouped(of).items()]
    found: list[Point] = []
    for (label, search), select, sizes in groups:
        n, members = pooled(sizes)
        method, paths = f"{search} · {select}", [row.path(select) for row in members]
        firsts = [next((s.bill[x] for s in path[:-1] if s.bill[x] > 0), 0.0) for path in paths]
        most = max(path[-1].bill[x] for path in paths)
        if not any(firsts):
            warn(f"{method} has no reports with {x}: nothing to tell of it on its way")
            continue
        for budget in np.geomspace(min(first for first in firsts if first), most, stops):
            values: dict[Hashable, list[float]] = defaultdict(list)
            bills: dict[Hashable, list[Bill]] = defaultdict(list)
            for row, path in zip(members, paths, strict=True):
                stop = stopped(path, x, float(budget))
                values[row.problem].append(stop.value)
                bills[row.problem].append(stop.bill)
            name = f"{label}: {method}" if label else method
            found.append(_made(f"{name} (anytime)", n, f"reports of N={n}", members, values, bills))
    return found


def stopped(path: Sequence[Stop], x: str, budget: float) -> Stop:
    """Where a search stands when it has spent a budget on x."""
    spent = [stop.bill[x] for stop in path]
    last = max(i for i, cost in enumerate(spent) if cost <= budget * (1 + 1e-9))
    bill = {name: float(np.interp(budget, spent, [stop.bill[name] for stop in path])) for name in COSTS}
    return Stop(bill, path[last].value)
