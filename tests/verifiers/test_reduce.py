"""Reductions against hand-worked numbers."""

import pytest

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
