"""Laws fitted to scaling curves, with intervals over questions: coverage, saturation, spread of repeated runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table
from scipy.optimize import OptimizeWarning, curve_fit, least_squares

from ponder.scripts.metrics import Interval, pass_at_k
from ponder.scripts.plots import curves
from ponder.scripts.points import INDEPENDENT, Point, grouped, pooled
from ponder.scripts.results import COVERAGE, Row
from ponder.types import Floats

RESAMPLES = 500
LEAST = 4
"""Fewer samples than this say nothing of a law."""


@dataclass(frozen=True)
class CoverageLaw:
    """Coverage c of k samples as log c = a k^b (Brown et al. 2024, arXiv:2407.21787, equation 2).

    Attributes:
        pool: whose samples.
        n: samples a question.
        a: below 0; log c at k = 1.
        b: below 0; the faster coverage grows, the lower.
        a_interval: 95 %, bootstrap over questions.
        b_interval: 95 %, the same resamples.
        error: largest distance of the law from the measured coverage, in points of coverage.
    """

    pool: str
    n: int
    a: float
    b: float
    a_interval: Interval
    b_interval: Interval
    error: float

    def __str__(self) -> str:
        """The law in one line."""
        a, b = (f"[{low:.4g}, {high:.4g}]" for low, high in (self.a_interval, self.b_interval))
        return (
            f"{self.pool}: log coverage = a k^b, a = {self.a:.4g} {a}, b = {self.b:.4g} {b}, "
            f"within {self.error:.3f} of coverage for k = 1 to {self.n}"
        )


@dataclass(frozen=True)
class Saturation:
    """Accuracy at size N as ceiling - gap N^-rate; our reading of "saturates", no paper's law.

    Attributes:
        method: whose curve.
        sizes: how many N it was fitted to.
        ceiling: what the curve tends to, in [0, 1].
        rate: above 0; how fast it gets there.
        ceiling_interval: 95 %, bootstrap over questions.
        rate_interval: 95 %, the same resamples.
        left: ceiling less the accuracy at the largest N.
    """

    method: str
    sizes: int
    ceiling: float
    rate: float
    ceiling_interval: Interval
    rate_interval: Interval
    left: float


@dataclass(frozen=True)
class Spread:
    """How much repeated runs of one question differ (Balachandran et al. 2025, arXiv:2504.00294).

    Attributes:
        method: search and selector.
        n: samples or particles.
        seeds: runs of each question.
        tokens: mean new tokens of a question.
        deviation: standard deviation of a question's new tokens over its seeds, mean over questions.
        share: deviation over mean, a question at a time, mean over questions.
        average: accuracy, mean over seeds.
        best: share of questions that some seed has right.
        worst: share of questions that every seed has right.
    """

    method: str
    n: int
    seeds: int
    tokens: float
    deviation: float
    share: float
    average: float
    best: float
    worst: float


def coverage_laws(rows: Iterable[Row], seed: int = 0) -> list[CoverageLaw]:
    """The law of each pool of independent samples that has `LEAST` a question and is neither all right nor all wrong.

    Fitted to coverage itself, exp(a k^b), at up to 40 values of k, evenly spaced in their logarithm, as in the paper.
    """
    found: list[CoverageLaw] = []
    for name, n, members in pools(rows):
        ks = np.unique(np.geomspace(1, n, 40).round().astype(int))
        values: dict[Hashable, list[list[float]]] = defaultdict(list)
        for row in members:
            size, right = len(row.pool), sum(sample.right for sample in row.pool.samples)
            values[row.problem].append([pass_at_k(size, right, min(k, size)) if size else 0.0 for k in ks])
        table = np.array([np.mean(of, axis=0) for of in values.values()])
        if n < LEAST or not 0 < table.mean(axis=0)[0] <= table.mean(axis=0)[-1] < 1:
            continue
        a, b = map(float, _coverage(table.mean(axis=0), ks))
        drawn = _resampled(table, partial(_coverage, ks=ks), seed)
        error = float(np.abs(np.exp(a * ks**b) - table.mean(axis=0)).max())
        found.append(CoverageLaw(name, n, a, b, _middle(drawn[:, 0]), _middle(drawn[:, 1]), error))
    return found


def pools(rows: Iterable[Row]) -> list[tuple[str, int, list[Row]]]:
    """Name, N and rows of every pool of independent samples, the largest of each search."""
    groups = grouped(row for row in rows if row.search in INDEPENDENT)
    return [(f"{label}: {search}" if label else search, *pooled(sizes)) for (label, search), sizes in groups.items()]


def _coverage(mean: Floats, ks: Any) -> Floats:
    """(a, b) of the law; not-a-number where there is none."""
    if not 0 < mean[0] < 1:
        return np.full(2, np.nan)
    try:
        fitted, _ = curve_fit(
            lambda k, a, b: np.exp(a * k**b),
            ks.astype(float),
            mean,
            p0=(np.log(mean[0]), -0.5),
            jac=lambda k, a, b: np.stack([e := k**b * np.exp(a * k**b), a * np.log(k) * e], axis=1),
            maxfev=2000,
        )
    except (RuntimeError, OptimizeWarning):
        return np.full(2, np.nan)
    return np.asarray(fitted)


def saturations(points: Sequence[Point], seed: int = 0) -> list[Saturation]:
    """What each method's accuracy tends to, for those that have four sizes or more."""
    found: list[Saturation] = []
    for method, of in curves(points).items():
        of = sorted((p for p in of if not p.ceilings), key=lambda p: p.n)
        sizes = np.array([p.n for p in of], dtype=float)
        if len(set(sizes)) < 4 or len(set(sizes)) < len(sizes) or method.endswith(COVERAGE):
            continue
        common = sorted(set.intersection(*(set(p.values) for p in of)), key=str)
        if not common:
            continue
        table = np.array([[np.mean(p.values[q]) for p in of] for q in common])
        ceiling, _, rate = _saturation(table.mean(axis=0), sizes)
        drawn = _resampled(table, partial(_saturation, sizes=sizes), seed, resamples=200)
        left = float(ceiling - table.mean(axis=0)[-1])
        found.append(Saturation(method, len(sizes), ceiling, rate, _middle(drawn[:, 0]), _middle(drawn[:, 2]), left))
    return found


def _saturation(mean: Floats, sizes: Floats) -> Floats:
    """(ceiling, gap, rate) by least squares."""
    start = [min(1.0, float(mean.max()) + 0.01), max(0.0, float(mean.max() - mean[0])), 0.5]
    fitted = least_squares(
        lambda p: p[0] - p[1] * sizes ** -p[2] - mean, start, bounds=([0.0, -1.0, 0.01], [1.0, 1.0, 5.0])
    )
    return np.asarray(fitted.x)


def _resampled(table: Floats, fit: Callable[[Floats], Floats], seed: int, resamples: int = RESAMPLES) -> Floats:
    """A fit to the mean of resampled questions, once a resample."""
    rng, questions = np.random.default_rng(seed), len(table)
    shares = rng.multinomial(questions, [1 / questions] * questions, size=resamples) / questions
    return np.array([fit(mean) for mean in shares @ table])


def _middle(values: Floats) -> Interval:
    """The middle 95 % of what could be fitted."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def spreads(points: Iterable[Point], rows: Iterable[Row]) -> list[Spread]:
    """How much the seeds of each method's own runs differ; methods of one seed have no line."""
    tokens: dict[tuple[str, int, str], dict[Hashable, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        tokens[row.method, row.n, row.ceilings][row.problem].append(row.spent("new_tokens"))
    found: list[Spread] = []
    for point in points:
        of = tokens.get((point.method.rpartition(" · ")[0], point.n, point.ceilings))
        if point.source != "run" or point.seeds < 2 or not of:
            continue
        repeated = [np.array(counts) for counts in of.values() if len(counts) > 1]
        if not repeated:
            continue
        deviations = [float(counts.std(ddof=1)) for counts in repeated]
        shares = [d / counts.mean() for d, counts in zip(deviations, repeated, strict=True) if counts.mean() > 0]
        found.append(
            Spread(
                method=point.method,
                n=point.n,
                seeds=point.seeds,
                tokens=point.new_tokens,
                deviation=float(np.mean(deviations)),
                share=float(np.mean(shares)) if shares else 0.0,
                average=point.accuracy,
                best=float(np.mean([max(values) for values in point.values.values()])),
                worst=float(np.mean([min(values) for values in point.values.values()])),
            )
        )
    return found


def tables(saturated: Sequence[Saturation], spread: Sequence[Spread]) -> list[Table]:
    """Both as tables."""
    first = Table(title="accuracy as ceiling - gap N^-rate, least squares, 95 % bootstrap over questions")
    first.add_column("method", no_wrap=True)
    for name in ("sizes", "ceiling", "rate", "left at the largest N"):
        first.add_column(name, justify="right")
    for s in saturated:
        ceiling = f"{s.ceiling:.3f} [{s.ceiling_interval[0]:.3f}, {s.ceiling_interval[1]:.3f}]"
        rate = f"{s.rate:.2f} [{s.rate_interval[0]:.2f}, {s.rate_interval[1]:.2f}]"
        first.add_row(s.method, str(s.sizes), ceiling, rate, f"{s.left:.3f}")
    second = Table(title="repeated runs of one question: new tokens, and accuracy over its seeds")
    second.add_column("method", no_wrap=True)
    for name in ("N", "seeds", "new tok.", "deviation", "of the mean", "average", "best", "worst"):
        second.add_column(name, justify="right")
    for r in spread:
        tokens = (f"{r.tokens:,.0f}", f"{r.deviation:,.1f}", f"{100 * r.share:.1f} %")
        second.add_row(r.method, str(r.n), str(r.seeds), *tokens, f"{r.average:.3f}", f"{r.best:.3f}", f"{r.worst:.3f}")
    return [table for table, of in ((first, saturated), (second, spread)) if of]


def plain(found: Iterable[CoverageLaw | Saturation | Spread]) -> list[Mapping[str, Any]]:
    """Laws and spreads as JSON can hold them."""
    return [asdict(one) for one in found]
