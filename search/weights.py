"""From verifier scores to log-weights: functions (scores, previous) -> log potentials.

`previous` are the scores one step earlier, 1 before the first step; only `telescoped` uses
them. Pass the function; a new weighting is a new function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import logit

from ponder.errors import VerifierError
from ponder.types import Floats, Population, Trace

Weight = Callable[[Floats, Floats], Floats]

SMALLEST = 1e-7
"""Scores are clipped to [1e-7, 1 - 1e-7] before a logarithm, as in its_hub; the particle
filtering paper's code clips at 2e-16."""

_SLACK = 1e-6  # a float32 sigmoid or mean may stand this far outside [0, 1]


def odds(scores: Floats, previous: Floats | float = 1.0) -> Floats:
    """Log r / (1 - r): the particle filtering paper's weight (arXiv 2502.01618).

    Args:
        scores: shape (n,), r in [0, 1].
        previous: not used.

    Returns:
        Shape (n,), in [-16.1181, 16.1181].

    Raises:
        VerifierError: a score outside [0, 1].
    """
    return np.asarray(logit(_clipped(scores)), dtype=np.float64)


def probability(scores: Floats, previous: Floats | float = 1.0) -> Floats:
    """Log r: weights proportional to the score, as in weighted best-of-N.

    Args and errors as for `odds`.

    Returns:
        Shape (n,), in [-16.1181, 0].
    """
    return np.asarray(np.log(_clipped(scores)), dtype=np.float64)


def exponential(scores: Floats, previous: Floats | float = 1.0) -> Floats:
    """The score itself: weights are a softmax of the scores. For unbounded rewards.

    Args:
        scores: shape (n,), any finite numbers.
        previous: not used.

    Returns:
        Shape (n,).
    """
    return np.asarray(scores, dtype=np.float64)


def telescoped(scores: Floats, previous: Floats | float = 1.0) -> Floats:
    """Log r_t - log r_{t-1}: the product over all steps is the last score alone.

    The twisted-SMC weight for a verifier that estimates the final reward from a prefix
    (arXiv 2404.17546).

    Args:
        scores: shape (n,), r_t in [0, 1].
        previous: r_{t-1}, shape (n,) or one number; 1 before the first step.

    Returns:
        Shape (n,), in [-16.1181, 16.1181].

    Raises:
        VerifierError: a score outside [0, 1].
    """
    return np.asarray(np.log(_clipped(scores)) - np.log(_clipped(previous)), dtype=np.float64)


def weighted(traces: Sequence[Trace], scores: Floats, weight: Weight) -> Population:
    """Traces that count by their scores alone, not by those of their prefixes.

    Args:
        traces: n traces.
        scores: one each, shape (n,).
        weight: from scores to log-weights.
    """
    return Population(tuple(traces), weight(scores, np.ones(len(scores))))


def unit(scores: Floats | float, needed_by: str) -> Floats:
    """Scores that must lie in [0, 1], but for rounding; clipped to it, shape (n,).

    Raises:
        VerifierError: one lies outside, or is NaN; says what needs it there.
    """
    scores = np.atleast_1d(np.asarray(scores, dtype=np.float64))
    inside = (scores >= -_SLACK) & (scores <= 1.0 + _SLACK)  # false for NaN too
    if not np.all(inside):
        raise VerifierError(f"the verifier scored {scores[~inside][0]:g}, outside [0, 1], which {needed_by}")
    return np.clip(scores, 0.0, 1.0)


def _clipped(scores: Floats | float) -> Floats:
    remedy = "for unbounded scores set search.weight.path=ponder.search.weights.exponential"
    return np.clip(unit(scores, f"this weight needs; {remedy}"), SMALLEST, 1.0 - SMALLEST)
