"""Methods held against each other at equal N and at equal cost, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.scripts.comparing import compare, compare_at_cost
from ponder.scripts.points import Point
from ponder.scripts.results import COSTS

VOTE = "self_consistency · majority"


def point(method: str, n: int, right: int, tokens: float, ceilings: str = "") -> Point:
    """A point of ten questions of which the first `right` are right."""
    values: Any = {i: [float(i < right)] for i in range(10)}
    costs: Any = dict.fromkeys(COSTS, 0.0) | {"new_tokens": tokens}
    return Point(method, n, "run", right / 10, 0, 1, 10, 1, failed=0, ceilings=ceilings, values=values, **costs)


def test_at_the_largest_common_n() -> None:
    made = [
        point("m", 1, 2, 10),
        point("m", 4, 9, 40),
        point("m", 8, 10, 80),
        point(VOTE, 1, 2, 10),
        point(VOTE, 4, 4, 40),
    ]
    (one,) = compare(made)
    assert (one.method, one.base, one.at) == ("m", VOTE, "N=4")
    assert one.difference.value == pytest.approx(0.5)
    assert str(one).startswith(f"N=4: m - {VOTE} = +0.500 [")
    assert one.asdict()["questions"] == 10


def test_sizes_with_other_ceilings_are_not_equal() -> None:
    assert compare([point("m", 4, 9, 40, "flops=1"), point(VOTE, 4, 4, 40)]) == []


def test_coverage_is_no_method() -> None:
    assert compare([point("pass@k", 4, 9, 40), point(VOTE, 4, 4, 40)]) == []


def test_at_equal_cost_halfway_in_the_logarithm() -> None:
    made = [point("m", 1, 2, 10), point("m", 4, 6, 1000), point(VOTE, 1, 1, 100)]
    (one,) = compare_at_cost(made, "new_tokens")
    assert one.at == "new_tokens=100"
    assert one.difference.value == pytest.approx(0.4 - 0.1)


def test_curves_that_do_not_meet_are_not_compared() -> None:
    assert compare_at_cost([point("m", 1, 2, 10), point(VOTE, 1, 1, 100)], "new_tokens") == []
    assert compare_at_cost([point("m", 1, 2, 10), point(VOTE, 1, 1, 10)], "flops") == []


def test_against_a_method_of_choice() -> None:
    made = [point("m", 1, 2, 10), point("k", 1, 5, 10), point(VOTE, 1, 1, 10)]
    assert [(one.method, one.base) for one in compare(made, against="k")] == [("m", "k"), (VOTE, "k")]
    assert [one.base for one in compare_at_cost(made, "new_tokens", against="m")] == ["m", "m"]
