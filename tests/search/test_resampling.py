"""Resampling: expected offspring, floors and ceilings, rounding."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from ponder.search.resampling import entropy, ess, multinomial, normalised, residual, stratified, systematic

SCHEMES = [multinomial, systematic, stratified, residual]
WEIGHTS = np.array([0.05, 0.4, 0.0, 0.3, 0.25])


def counts(scheme: Any, weights: Any, n: Any, rng: Any) -> Any:
    return np.bincount(scheme(weights, n, rng), minlength=len(weights))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_expected_offspring(scheme: Any) -> None:
    rng, n, rounds = np.random.default_rng(0), 7, 4000
    drawn = np.array([counts(scheme, WEIGHTS, n, rng) for _ in range(rounds)])
    error = drawn.std(axis=0) / np.sqrt(rounds)
    assert np.all(np.abs(drawn.mean(axis=0) - n * WEIGHTS) <= 4 * error + 1e-12)
    assert np.all(drawn.sum(axis=1) == n)


@given(
    weights=st.lists(st.floats(0.001, 1), min_size=1, max_size=20),
    n=st.integers(1, 50),
    seed=st.integers(0, 2**32),
)
def test_systematic_counts_are_floor_or_ceiling(weights: Any, n: Any, seed: Any) -> None:
    expected = n * normalised(np.array(weights))
    drawn = counts(systematic, np.array(weights), n, np.random.default_rng(seed))
    assert np.all(drawn >= np.floor(expected - 1e-9))
    assert np.all(drawn <= np.ceil(expected + 1e-9))


@given(
    weights=st.lists(st.floats(0.001, 1), min_size=1, max_size=20),
    n=st.integers(1, 50),
    seed=st.integers(0, 2**32),
)
def test_residual_keeps_every_certain_copy_and_stratified_stays_within_one(weights: Any, n: Any, seed: Any) -> None:
    expected = n * normalised(np.array(weights))
    assert np.all(counts(residual, np.array(weights), n, np.random.default_rng(seed)) >= np.floor(expected - 1e-9))
    drawn = counts(stratified, np.array(weights), n, np.random.default_rng(seed))
    # A share can touch a part of two strata besides the whole ones between them.
    assert np.all(drawn >= np.floor(expected + 1e-9) - 1)
    assert np.all(drawn <= np.ceil(expected - 1e-9) + 1)


def test_multinomial_chi_square() -> None:
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    drawn = counts(multinomial, weights, 40_000, np.random.default_rng(3))
    assert chisquare(drawn, 40_000 * weights).pvalue > 0.001


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("total", [1 - 1e-9, 1 + 1e-9, 0.99, 1.01, 1e-300, 1e300])
def test_sums_off_one_are_renormalised(scheme: Any, total: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        drawn = scheme(WEIGHTS * total, 9, rng)
        assert drawn.dtype == np.int64
        assert drawn.shape == (9,)
        assert np.all((drawn >= 0) & (drawn < 5) & (drawn != 2))


@given(
    scheme=st.sampled_from(SCHEMES),
    weights=st.lists(st.floats(0, 1), min_size=1, max_size=30).filter(lambda weights: max(weights) > 0),
    off=st.sampled_from([0.0, 1e-9, -1e-9, 1e-2, -1e-2]),
    n=st.integers(1, 60),
    seed=st.integers(0, 2**32),
)
def test_whatever_weights_sum_to_indices_are_in_range_and_of_positive_weight(
    scheme: Any, weights: Any, off: Any, n: Any, seed: Any
) -> None:
    shares = normalised(np.array(weights)) * (1 + off)
    drawn = scheme(shares, n, np.random.default_rng(seed))
    assert drawn.shape == (n,)
    assert drawn.min() >= 0
    assert drawn.max() < len(shares)
    assert np.all(shares[drawn] > 0)


class Edge:
    """A generator that returns the largest value below 1, where cumulative sums run out."""

    def random(self, size: Any = None) -> Any:
        return np.nextafter(1.0, 0.0) if size is None else np.full(size, np.nextafter(1.0, 0.0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_never_past_the_end_nor_on_a_weight_of_zero(scheme: Any) -> None:
    weights = np.append(np.full(10, 0.1), 0.0)
    assert scheme(weights, 10, Edge()).max() == 9


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("weights", [[0.5, -0.5], [np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0], [], [[1.0]]])
def test_what_is_no_weight(scheme: Any, weights: Any) -> None:
    with pytest.raises(ValueError, match="weights"):
        scheme(np.array(weights), 3, np.random.default_rng(0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_more_or_fewer_draws_than_weights_and_plain_lists(scheme: Any) -> None:
    rng = np.random.default_rng(0)
    assert len(scheme([0.5, 0.5], 7, rng)) == 7
    assert len(scheme([0.25] * 4, 1, rng)) == 1
    assert len(scheme([1.0], 0, rng)) == 0


@pytest.mark.parametrize("scheme", [systematic, residual])
def test_equal_weights_keep_every_particle(scheme: Any) -> None:
    for n in (3, 6, 7, 10, 49):
        assert sorted(scheme(np.full(n, 1 / n), n, np.random.default_rng(n))) == list(range(n))


def test_ess_and_entropy() -> None:
    assert ess(np.full(4, 0.25)) == pytest.approx(4)
    assert ess(np.array([1.0, 0, 0, 0])) == 1
    assert entropy(np.array([0.5, 0.5])) == pytest.approx(1)
    assert entropy(np.array([1.0, 0.0])) == 0
    assert entropy(np.array([1.0])) == 1
