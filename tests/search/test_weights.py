"""From scores to log-weights."""

from typing import Any

import numpy as np
import pytest

from ponder.errors import VerifierError
from ponder.search.weights import exponential, odds, probability, telescoped
from ponder.types import Population, Problem, Trace


def normalised(log_weights: Any) -> Any:
    return Population((Trace(Problem("p", "")),) * len(log_weights), log_weights).weights


def test_odds_of_nine_tenths_and_a_half() -> None:
    assert normalised(odds(np.array([0.9, 0.5]))) == pytest.approx([0.9, 0.1])


def test_certainty_is_finite() -> None:
    assert odds(np.array([1.0, 0.0])) == pytest.approx([16.1181, -16.1181], abs=1e-4)
    assert probability(np.array([1.0, 0.0])) == pytest.approx([0, -16.1181], abs=1e-4)
    assert np.all(np.isfinite(telescoped(np.array([1.0, 0.0]), np.array([0.0, 1.0]))))


def test_probability_is_proportional_to_the_score() -> None:
    assert normalised(probability(np.array([0.6, 0.2]))) == pytest.approx([0.75, 0.25])


def test_exponential_takes_any_score() -> None:
    assert exponential(np.array([-700.0, 12.5])) == pytest.approx([-700.0, 12.5])


def test_telescoped_is_the_ratio_and_the_first_step_is_the_score() -> None:
    assert np.exp(telescoped(np.array([0.6]), np.array([0.3]))) == pytest.approx([2.0])
    assert np.exp(telescoped(np.array([0.6, 0.2]))) == pytest.approx([0.6, 0.2], rel=1e-5)


@pytest.mark.parametrize("weight", [odds, probability, telescoped])
@pytest.mark.parametrize("wrong", [1.5, -0.1, np.nan, np.inf])
def test_scores_outside_the_unit_interval_are_named(weight: Any, wrong: Any) -> None:
    with pytest.raises(VerifierError, match=f"{wrong:g}.*exponential"):
        weight(np.array([0.5, wrong]), np.ones(2))


def test_rounding_is_not_outside() -> None:
    assert np.isfinite(odds(np.array([1.0 + 1e-7, -1e-7]))).all()
