"""Resampling: pure functions (weights, n, rng) -> indices, and two measures of evenness.

Each scheme draws index i on average n W_i times. They differ in variance: multinomial the
most, systematic usually the least (Douc, Cappe and Moulines 2005, arXiv cs/0507025). A new
scheme is a new function with this signature; pass the function, not its name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ponder.types import Floats

Indices = NDArray[np.int64]


def normalised(weights: Floats) -> Floats:
    """Weights divided by their sum.

    Args:
        weights: shape (m,), from 0; their sum may be any positive number.

    Returns:
        Shape (m,), summing to 1.

    Raises:
        ValueError: no weights, a negative, infinite or NaN one, or a sum of 0.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 1 or not len(weights):
        raise ValueError(f"weights must have shape (m,) with m from 1, not {weights.shape}")
    if not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise ValueError(f"weights must be finite and from 0, not {weights}")
    largest = weights.max()
    if largest == 0:
        raise ValueError("weights sum to 0")
    # Dividing by the largest first keeps subnormal and huge weights from vanishing in the sum.
    scaled = weights / largest
    return np.asarray(scaled / scaled.sum(), dtype=np.float64)


def multinomial(weights: Floats, n: int, rng: np.random.Generator) -> Indices:
    """Independent draws: the scheme of the bootstrap filter (Gordon et al. 1993).

    Args:
        weights: shape (m,), from 0, normalised here.
        n: how many indices.
        rng: the source of chance.

    Returns:
        Shape (n,), int64, in [0, m).

    Raises:
        ValueError: see `normalised`.
    """
    return _inverse(weights, rng.random(n))


def systematic(weights: Floats, n: int, rng: np.random.Generator) -> Indices:
    """One uniform, n points 1/n apart (Kitagawa 1996): counts are floor or ceiling of n W.

    Args, returns and errors as for `multinomial`; the indices rise.
    """
    return _inverse(weights, (np.arange(n) + rng.random()) / n)


def stratified(weights: Floats, n: int, rng: np.random.Generator) -> Indices:
    """One uniform in each of n strata of width 1/n (Kitagawa 1996): counts within 1 of n W.

    Args, returns and errors as for `multinomial`; the indices rise.
    """
    return _inverse(weights, (np.arange(n) + rng.random(n)) / n)


def residual(weights: Floats, n: int, rng: np.random.Generator) -> Indices:
    """floor(n W) copies for certain, the rest multinomial (Liu and Chen 1998).

    Args, returns and errors as for `multinomial`.
    """
    expected = n * normalised(weights)
    # Without the nudge, n W = 3 could stand as 2.9999999999999996 and lose its certain copy.
    certain = np.floor(expected + 1e-9).astype(np.int64)
    kept = np.repeat(np.arange(len(expected)), certain)[:n]
    left = n - len(kept)
    if left == 0:
        return np.asarray(kept, dtype=np.int64)
    drawn = multinomial(np.clip(expected - certain, 0.0, None), left, rng)
    return np.asarray(np.concatenate([kept, drawn]), dtype=np.int64)


def ess(weights: Floats) -> float:
    """Effective sample size 1 / sum(W^2), in [1, m] (Kong 1992).

    Args:
        weights: shape (m,), from 0, normalised here.

    Raises:
        ValueError: see `normalised`.
    """
    return float(1.0 / np.sum(normalised(weights) ** 2))


def entropy(weights: Floats) -> float:
    """Entropy of the weights over that of uniform ones, in [0, 1]; 1 for a single weight.

    Args:
        weights: shape (m,), from 0, normalised here.

    Raises:
        ValueError: see `normalised`.
    """
    shares = normalised(weights)
    if len(shares) == 1:
        return 1.0
    positive = shares[shares > 0]
    return float(-np.sum(positive * np.log(positive)) / np.log(len(shares)))


def _inverse(weights: Floats, points: Floats) -> Indices:
    """The index whose share of [0, 1) holds each point."""
    edges = np.cumsum(normalised(weights))
    # The last positive weight owns everything above, so that rounding neither runs past the
    # end nor picks a weight of zero.
    edges[np.flatnonzero(np.asarray(weights) > 0)[-1] :] = np.inf
    return np.searchsorted(edges, points, side="right").astype(np.int64)
