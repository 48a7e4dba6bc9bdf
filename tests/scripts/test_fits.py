"""Laws of curves, against data that follow them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ponder.scripts.fits import coverage_laws, saturations, spreads
from ponder.scripts.points import Point, points
from ponder.scripts.results import COSTS, Row


def pool_row(name: str, right: int, n: int, *, search: str = "coverage", seed: int = 0, tokens: int = 10) -> Row:
    """A question of which `right` of n samples are right."""
    traces = [{"steps": ["s"], "answer": str(i), "correct": i < right, "score": None} for i in range(n)]
    data: dict[str, Any] = {
        "traces": traces,
        "population": [[i, 0.0] for i in range(n)],
        "answers": {"majority": {"answer": "0", "correct": right > n / 2}},
        "select": "majority",
        "cost": {"policy": {"new_tokens": tokens, "samples": n}},
        "seconds": 1.0,
        "reports": [],
    }
    return Row("", search, n, seed, ("toy", name), "", data)


def test_the_law_of_coverage_is_found() -> None:
    """Chances whose mean coverage is exp(a k^b): by moments, a mixture over a grid fitted to the law itself."""
    a, b, n = -1.6, -0.4, 64
    grid = np.geomspace(1e-4, 1.0, 40)
    ks = np.arange(1, n + 1)
    wanted = np.exp(a * ks**b)
    from scipy.optimize import nnls

    shares, _ = nnls(np.vstack([1 - (1 - grid[None, :]) ** ks[:, None], 10 * np.ones(40)]), np.append(wanted, 10))
    rng = np.random.default_rng(0)
    chances = rng.choice(grid, size=1500, p=shares / shares.sum())
    rows = [pool_row(str(i), int(rng.binomial(n, p)), n) for i, p in enumerate(chances)]
    (law,) = coverage_laws(rows)
    assert (law.pool, law.n) == ("coverage", n)
    assert law.a == pytest.approx(a, abs=0.15)
    assert law.b == pytest.approx(b, abs=0.05)
    assert law.a_interval[0] <= a <= law.a_interval[1]
    assert law.b_interval[0] <= b <= law.b_interval[1]
    assert law.error < 0.02
    assert str(law).startswith("coverage: log coverage = a k^b, a = -1.")


@pytest.mark.parametrize(("right", "n"), [(0, 16), (16, 16), (1, 3)])
def test_where_there_is_no_law_none_is_told(right: int, n: int) -> None:
    assert coverage_laws([pool_row(str(i), right, n) for i in range(5)]) == []


def test_a_search_whose_samples_depend_on_each_other_has_no_law() -> None:
    assert coverage_laws([pool_row(str(i), i, 8, search="particle_filtering") for i in range(5)]) == []


def saturating(ceiling: float, gap: float, rate: float, sizes: list[int]) -> list[Point]:
    made = []
    for n in sizes:
        mean = ceiling - gap * n**-rate
        values: Any = {i: [mean + 0.01 * (-1) ** i] for i in range(50)}
        costs: Any = dict.fromkeys(COSTS, 1.0)
        made.append(Point("m", n, "run", mean, 0, 1, 50, 1, failed=0, values=values, **costs))
    return made


def test_what_a_curve_tends_to_is_found() -> None:
    (found,) = saturations(saturating(0.8, 0.5, 0.7, [1, 2, 4, 8, 16, 64]))
    assert found.ceiling == pytest.approx(0.8, abs=1e-3)
    assert found.rate == pytest.approx(0.7, abs=1e-2)
    assert found.ceiling_interval[0] <= 0.8 <= found.ceiling_interval[1]
    assert found.left == pytest.approx(0.5 * 64**-0.7, abs=1e-3)


def test_three_sizes_say_nothing() -> None:
    assert saturations(saturating(0.8, 0.5, 0.7, [1, 2, 4])) == []


def test_the_spread_of_repeated_runs() -> None:
    counts = {"p": (100, 120, 140), "q": (50, 50, 50)}
    rows = [
        pool_row(name, 3 * (seed > 0) if name == "p" else 4, 4, search="self_consistency", seed=seed, tokens=tokens)
        for name, of in counts.items()
        for seed, tokens in enumerate(of)
    ]
    found = [one for one in spreads(points(rows), rows) if one.n == 4]
    (line,) = found
    assert (line.method, line.seeds, line.tokens) == ("self_consistency · majority", 3, 85.0)
    assert line.deviation == pytest.approx((20.0 + 0.0) / 2)
    assert line.share == pytest.approx((20 / 120) / 2)
    assert (line.average, line.best, line.worst) == (pytest.approx(5 / 6), 1.0, 0.5)
    assert spreads(points(rows[:1]), rows[:1]) == []
