"""Methods held against each other, paired by question: at equal N, and at equal cost."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ponder.scripts.metrics import Difference, paired
from ponder.scripts.plots import curves
from ponder.scripts.points import Point
from ponder.scripts.results import COVERAGE, MAJORITY

Values = Mapping[Hashable, Sequence[float]]


@dataclass(frozen=True)
class Comparison:
    """One method less another, on the questions that both have.

    Attributes:
        method: the one.
        base: the other.
        at: what was equal, such as "N=16" or "new_tokens=738".
        difference: mean, interval, p-value.
    """

    method: str
    base: str
    at: str
    difference: Difference

    def __str__(self) -> str:
        """The comparison in one line."""
        d = self.difference
        span = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
        return f"{self.at}: {self.method} - {self.base} = {span}, p={d.p:.3g} ({d.test}, {d.questions} questions)"

    def asdict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return {"method": self.method, "base": self.base, "at": self.at, **self.difference._asdict()}


def compare(points: Sequence[Point], labels: Sequence[str] = (), against: str = "") -> list[Comparison]:
    """Pairs of methods at their largest common N.

    Args:
        points: all points.
        labels: what is compared across; the first that has a method is what the others are held against.
        against: a method to hold all others against; majority voting if empty.

    Returns:
        Each method against the base, and each method against the same under the first label.
    """
    found = {name: {(p.n, p.ceilings): p for p in of} for name, of in curves(points).items() if not _oracle(name)}
    pairs = [(method, base) for base in found for method in found if _held(method, base, against)]
    # Votes without weights are the same under every verifier.
    weighed = [method for method in found if not method.endswith(MAJORITY)] if labels else []
    for method in dict.fromkeys(method.partition(": ")[2] for method in weighed):
        under = [name for label in labels if (name := f"{label}: {method}") in found]
        pairs += [(name, under[0]) for name in under[1:]]
    made: list[Comparison] = []
    for method, base in pairs:
        if common := found[method].keys() & found[base].keys():
            n, ceilings = max(common)
            one = _paired(method, found[method][n, ceilings].values, base, found[base][n, ceilings].values)
            made += [Comparison(method, base, f"N={n} {ceilings}".strip(), d) for d in one]
    return made


def compare_at_cost(points: Sequence[Point], x: str, against: str = "") -> list[Comparison]:
    """Each method against the base where both have spent the same on x: the most that both curves reach.

    Between two sizes of a method each question's accuracy is taken as linear in the logarithm of the mean cost.

    Args:
        points: all points.
        x: a cost, one of `ponder.scripts.results.COSTS`.
        against: a method to hold all others against; majority voting if empty.
    """
    found = {
        name: sorted((p for p in of if getattr(p, x)), key=lambda p: float(getattr(p, x)))
        for name, of in curves(points).items()
        if not _oracle(name)
    }
    made: list[Comparison] = []
    for base in found:
        for method in found:
            of, to = found[method], found[base]
            if not (_held(method, base, against) and of and to):
                continue
            cost = min(getattr(of[-1], x), getattr(to[-1], x))
            if cost < max(getattr(of[0], x), getattr(to[0], x)):
                continue  # one costs more at its least than the other at its most
            for difference in _paired(method, at_cost(of, x, cost), base, at_cost(to, x, cost)):
                made.append(Comparison(method, base, f"{x}={cost:.3g}", difference))
    return made


def at_cost(curve: Sequence[Point], x: str, cost: float) -> Values:
    """Accuracy by question between the two points around a cost.

    Args:
        curve: one method's points, by rising x.
        x: the cost's name.
        cost: within the curve.
    """
    spent = [float(getattr(p, x)) for p in curve]
    after = next((i for i, value in enumerate(spent) if value >= cost * (1 - 1e-9)), len(spent) - 1)
    high, low = curve[after], curve[max(after - 1, 0)]
    if after == 0 or np.isclose(spent[after], cost):
        return high.values
    way = float((np.log(cost) - np.log(spent[after - 1])) / (np.log(spent[after]) - np.log(spent[after - 1])))
    return {
        q: [(1 - way) * float(np.mean(low.values[q])) + way * float(np.mean(high.values[q]))]
        for q in low.values
        if q in high.values
    }


def _oracle(method: str) -> bool:
    return method.endswith(COVERAGE)


def _held(method: str, base: str, against: str) -> bool:
    """Whether a method is held against this base."""
    if method == base or method.rpartition(": ")[0] != base.rpartition(": ")[0]:
        return False
    return base.rpartition(": ")[2] == against if against else base.endswith("· majority")


def _paired(method: str, of: Values, base: str, to: Values) -> list[Difference]:
    """The difference; none where no question is in both."""
    return [paired(of, to)] if of.keys() & to.keys() else []
