"""What it costs to reach an accuracy, against curves that can be read by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.scripts.points import Point
from ponder.scripts.reach import crossing, reach, table
from ponder.scripts.results import COSTS


def point(method: str, n: int, values: Any, cost: float) -> Point:
    """A point whose questions all cost the same."""
    bill = {name: cost * (i + 1) for i, name in enumerate(COSTS)} | {"verifier_calls": 0.0}
    spent: Any = dict.fromkeys(range(len(values)), bill)
    named: Any = dict.fromkeys(COSTS, cost)
    right: Any = {i: [value] for i, value in enumerate(values)}
    accuracy = float(np.mean(values))
    return Point(method, n, "run", accuracy, 0.0, 1.0, len(values), 1, failed=0, values=right, spent=spent, **named)


def share(right: int, of: int = 100) -> list[float]:
    return [1.0] * right + [0.0] * (of - right)


def test_between_two_points_accuracy_is_linear_in_the_log_of_the_cost() -> None:
    assert crossing(np.array([0.2, 0.6]), np.array([10.0, 1000.0]), 0.4) == pytest.approx(100.0)
    assert crossing(np.array([0.2, 0.6]), np.array([10.0, 1000.0]), 0.6) == pytest.approx(1000.0)
    assert crossing(np.array([0.5, 0.6]), np.array([10.0, 1000.0]), 0.4) == 10.0
    assert crossing(np.array([0.2, 0.6]), np.array([10.0, 1000.0]), 0.7) == np.inf
    assert crossing(np.array([0.2, 0.6, 0.5]), np.array([1.0, 2.0, 4.0]), 0.6) == pytest.approx(2.0)


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6), st.floats(0.01, 1.0))
def test_a_crossing_lies_on_the_curve(accuracy: Any, target: Any) -> None:
    cost = np.array([2.0**i for i in range(len(accuracy))])
    found = crossing(np.array(accuracy), cost, target)
    assert found == np.inf if max(accuracy) < target - 1e-9 else cost[0] <= found <= cost[-1]


def test_a_method_at_half_the_cost_has_half_the_need() -> None:
    dear = [point("dear", n, share(right), cost) for n, right, cost in ((1, 20, 100.0), (4, 60, 400.0))]
    cheap = [point("cheap", n, share(right), cost) for n, right, cost in ((1, 20, 50.0), (4, 60, 200.0))]
    found = reach([*dear, *cheap], 0.4)
    assert found["cheap"]["new_tokens"].value == pytest.approx(100.0)
    need = found["dear"]["new_tokens"]
    assert (need.value, need.ratio) == (pytest.approx(200.0), pytest.approx(2.0))
    assert need.ratio_low == pytest.approx(need.ratio_high) == pytest.approx(2.0)  # the same questions are right
    assert found["cheap"]["new_tokens"].ratio is None
    assert found["cheap"]["new_tokens"].low < 100.0 < found["cheap"]["new_tokens"].high
    assert "verifier_calls" not in found["cheap"]


def test_what_is_not_reached_is_said() -> None:
    found = reach([point("a", 1, share(20), 1.0), point("a", 4, share(40), 4.0)], 0.9)
    assert found["a"]["new_tokens"].value == np.inf
    cells = [list(column.cells) for column in table(found, 0.9).columns]
    assert cells[:2] == [["a"], ["not reached"]]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(0), 0
    for i in range(60):
        easy = rng.random(150)
        line = [point("m", n, (easy < p).astype(float).tolist(), c) for n, p, c in ((1, 0.3, 10.0), (4, 0.7, 1000.0))]
        need = reach(line, 0.5, seed=i)["m"]["new_tokens"]
        inside += need.low <= 100.0 <= need.high
    assert inside >= 51  # 95 % of 60 is 57, three standard errors below is 52


def test_one_size_is_not_enough(capsys: Any) -> None:
    assert reach([point("a", 1, share(20), 1.0)], 0.5) == {}
    assert "a has one N only" in capsys.readouterr().err


def test_coverage_is_no_reference_for_methods() -> None:
    """An oracle is cheaper than every method; the multiple is of the cheapest real one."""
    oracle = [point("pass@k", n, share(right), cost) for n, right, cost in ((1, 20, 1.0), (4, 60, 4.0))]
    real = [point("real", n, share(right), cost) for n, right, cost in ((1, 20, 50.0), (4, 60, 200.0))]
    found = reach([*oracle, *real], 0.4)
    assert found["real"]["new_tokens"].ratio is None
    assert found["pass@k"]["new_tokens"].ratio == pytest.approx(0.02)
