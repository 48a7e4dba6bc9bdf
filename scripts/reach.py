"""What each method needs to reach an accuracy: costs read off its curve, with intervals over questions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from rich.table import Table

from ponder.scripts.points import Point
from ponder.scripts.results import COSTS, COVERAGE, warn
from ponder.types import Floats

RESAMPLES = 2000


@dataclass(frozen=True)
class Need:
    """One cost of one method at the wanted accuracy.

    Attributes:
        value: the cost per question, interpolated between the runs on both sides.
        low: lower end of the 95 % bootstrap interval over questions.
        high: upper end; infinite where more than 2.5 % of the resamples do not reach the accuracy.
        ratio: the cost over that of the cheapest method; None for that one itself.
        ratio_low: lower end of the ratio's interval, both methods resampled together.
        ratio_high: upper end.
    """

    value: float
    low: float
    high: float
    ratio: float | None = None
    ratio_low: float = float("nan")
    ratio_high: float = float("nan")

    def asdict(self) -> dict[str, float | None]:
        """Its fields as JSON can hold them: None for what is not reached, or not known."""
        return {name: value if value is None or np.isfinite(value) else None for name, value in asdict(self).items()}


def crossing(accuracy: Floats, cost: Floats, target: float) -> float:
    """The cost at which a curve first reaches the target; infinite if it never does.

    Between two points the accuracy is taken as linear in the logarithm of the cost. A first point that is already
    there gives its own cost: what less would have done is not known.

    Args:
        accuracy: shape (points,), in the order of rising cost.
        cost: shape (points,), above 0.
        target: in (0, 1].
    """
    there = np.flatnonzero(accuracy >= target - 1e-12)
    if not len(there):
        return float("inf")
    i = int(there[0])
    if i == 0:
        return float(cost[0])
    way = (target - accuracy[i - 1]) / (accuracy[i] - accuracy[i - 1])
    return float(np.exp((1 - way) * np.log(cost[i - 1]) + way * np.log(cost[i])))


def reach(points: Iterable[Point], target: float, seed: int = 0) -> dict[str, dict[str, Need]]:
    """What every method needs to be right in a share `target` of the questions.

    Args:
        points: of `points.summarise`; a method needs two N or more.
        target: the accuracy, in (0, 1].
        seed: of the bootstrap.

    Returns:
        By method, by cost; a cost that a method does not have (no verifier, say) is left out.
    """
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.method, []).append(point)
    for method in [method for method, of in curves.items() if len(of) < 2]:
        warn(f"{method} has one N only: what it needs to reach an accuracy cannot be read off")
        del curves[method]
    common: set[Hashable] = (
        set.intersection(*(set(p.values) for of in curves.values() for p in of)) if curves else set()
    )
    questions = sorted(common, key=str)
    if not questions:
        return {}
    shares = np.random.default_rng(seed).multinomial(
        len(questions), [1 / len(questions)] * len(questions), size=RESAMPLES
    ) / len(questions)
    weights = np.vstack([np.full(len(questions), 1 / len(questions)), shares])  # the first row is the sample itself
    found: dict[str, dict[str, Floats]] = {}
    for method, of in curves.items():
        of = sorted(of, key=lambda p: p.n)
        accuracy = weights @ np.array([[np.mean(p.values[q]) for p in of] for q in questions])
        for name in COSTS:
            cost = weights @ np.array([[p.spent[q].get(name, 0.0) for p in of] for q in questions])
            if np.all(cost[0] > 0):
                order = np.argsort(cost[0], kind="stable")
                crossed = [crossing(a[order], c[order], target) for a, c in zip(accuracy, cost, strict=True)]
                found.setdefault(method, {})[name] = np.array(crossed)
    return {method: {name: _need(of[name], _cheapest(found, name)) for name in of} for method, of in found.items()}


def _cheapest(found: Mapping[str, Mapping[str, Floats]], name: str) -> Floats:
    """What is the reference: coverage needs an oracle, so it is one only where there is nothing else."""
    real = {method: of for method, of in found.items() if not method.endswith(COVERAGE) and name in of} or found
    return min((of[name] for of in real.values() if name in of), key=lambda values: float(values[0]))


def _need(values: Floats, cheapest: Floats) -> Need:
    low, high = _interval(values[1:])
    if values is cheapest or not np.isfinite(cheapest[0]):
        return Need(float(values[0]), low, high)
    with np.errstate(invalid="ignore"):
        ratios = np.nan_to_num(values / cheapest, nan=1.0, posinf=np.inf)  # neither got there: no difference seen
    return Need(float(values[0]), low, high, float(ratios[0]), *_interval(ratios[1:]))


def _interval(values: Floats) -> tuple[float, float]:
    """The middle 95 %, order statistics, so that infinite ones stay infinite."""
    ranked = np.sort(values)
    return float(ranked[int(0.025 * len(ranked))]), float(ranked[int(np.ceil(0.975 * len(ranked))) - 1])


def table(needs: Mapping[str, Mapping[str, Need]], target: float) -> Table:
    """The needs as a table; "x" is the multiple of the cheapest method's."""
    shown = Table(title=f"cost per question to reach accuracy {target:g}, interpolated, 95 % bootstrap over questions")
    shown.add_column("method", no_wrap=True)
    for name in COSTS:
        shown.add_column(name.replace("_", " "), justify="right")
    first = COSTS[0]
    for method in sorted(needs, key=lambda m: (needs[m][first].value if first in needs[m] else float("inf"), m)):
        shown.add_row(method, *(_cell(needs[method].get(name)) for name in COSTS))
    return shown


def _cell(need: Need | None) -> str:
    if need is None:
        return "-"
    if not np.isfinite(need.value):
        return "not reached"
    text = f"{_figure(need.value)} [{_figure(need.low)}, {_figure(need.high)}]"
    if need.ratio is not None:
        text += f"\nx{need.ratio:.2f} [{need.ratio_low:.2f}, {need.ratio_high:.2f}]"
    return text


def _figure(value: float) -> str:
    if not np.isfinite(value):
        return "inf"
    return f"{value:.2e}" if value >= 1e6 else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
