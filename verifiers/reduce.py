"""Step scores -> one score. Pure functions; each needs at least one score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ponder.errors import UserError

Reduction = Callable[[Sequence[float]], float]


def last(scores: Sequence[float]) -> float:
    """The newest step's score."""
    return _given(scores)[-1]


def lowest(scores: Sequence[float]) -> float:
    """The worst step's score."""
    return min(_given(scores))


def prod(scores: Sequence[float]) -> float:
    """The product of all: the chance that every step is right, were they independent."""
    return math.prod(_given(scores))


def mean(scores: Sequence[float]) -> float:
    """The average."""
    return math.fsum(_given(scores)) / len(scores)


REDUCTIONS: dict[str, Reduction] = {"last": last, "min": lowest, "prod": prod, "mean": mean}


def reduction(name: str) -> Reduction:
    """The reduction of this name.

    Raises:
        UserError: there is none.
    """
    if name not in REDUCTIONS:
        raise UserError(
            f"verifier.reduction={name!r} is unknown", f"Allowed: {', '.join(REDUCTIONS)}, whole (PRMs only)"
        )
    return REDUCTIONS[name]


def _given(scores: Sequence[float]) -> Sequence[float]:
    if not len(scores):
        raise ValueError("no step scores to reduce: a trace without steps has no score")
    return scores
