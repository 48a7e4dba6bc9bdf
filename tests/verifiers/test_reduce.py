"""Reductions against hand-worked numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.verifiers.reduce import REDUCTIONS, reduction


@pytest.mark.parametrize(("name", "expected"), [("last", 0.8), ("min", 0.2), ("prod", 0.144), ("mean", 1.9 / 3)])
def test_values(name: str, expected: float) -> None:
    assert reduction(name)([0.9, 0.2, 0.8]) == pytest.approx(expected)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_nothing_reduces_to_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="no step scores"):
        reduction(name)([])


def test_an_unknown_name_names_what_is_allowed() -> None:
    with pytest.raises(UserError, match="last, min, prod, mean"):
        reduction("median")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_probability_stays_one_and_the_product_is_the_sternest(scores: list[float]) -> None:
    reduced = {name: reduce(scores) for name, reduce in REDUCTIONS.items()}
    assert 0 <= reduced["prod"] <= reduced["min"] <= reduced["mean"] + 1e-12
    assert reduced["min"] <= reduced["last"] <= 1
    assert reduced["mean"] <= max(scores) + 1e-12
    for name in ("prod", "min", "mean"):  # what does not look at the order
        assert reduction(name)(scores[::-1]) == pytest.approx(reduced[name])


@pytest.mark.parametrize("name", REDUCTIONS)
def test_one_step_is_its_own_reduction(name: str) -> None:
    assert reduction(name)([0.3]) == 0.3
