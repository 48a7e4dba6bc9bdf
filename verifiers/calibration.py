"""Scores as probabilities of being right, by a table that `ponder-calibrate` fits to stored rows."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from ponder.errors import UserError
from ponder.types import Floats
from ponder.verifiers.ensemble import Ensemble


class Calibrated(Ensemble):
    """A verifier whose scores, step scores too, are made probabilities of being right by a fitted table, in [0, 1].

    Args:
        verifier: any verifier.
        table: a file that `ponder-calibrate` wrote; None leaves the scores as they are.

    Raises:
        UserError: no verifier, or a file that is missing or no table.
    """

    def __init__(self, verifier: Any, table: str | None = None) -> None:
        self.table = None if table is None else load(Path(table))
        super().__init__({"verifier.verifier": verifier})

    def combined(self, scores: Floats) -> Floats:
        """The probability that belongs to each score."""
        return scores[0] if self.table is None else self.table(scores[0])

    def _bounds(self) -> tuple[float, float]:
        return self.members[0].range if self.table is None else (0.0, 1.0)


@dataclass(frozen=True)
class Isotonic:
    """A rising table, straight between its points and level beyond them.

    Attributes:
        scores: rising.
        probabilities: of being right at each, never falling, in [0, 1].
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", tuple(map(float, self.scores)))
        object.__setattr__(self, "probabilities", tuple(map(float, self.probabilities)))
        rising = np.diff(self.scores), np.diff((0.0, *self.probabilities, 1.0))
        if len(self.scores) != len(self.probabilities) or not self.scores or (rising[0] <= 0).any():
            raise ValueError("scores must rise, and be as many as probabilities")
        if not (rising[1] >= 0).all():
            raise ValueError("probabilities must not fall, and lie in [0, 1]")

    def __call__(self, scores: Floats) -> Floats:
        """Probabilities of being right, of the shape of the scores."""
        return np.asarray(np.interp(scores, self.scores, self.probabilities), dtype=np.float64)


@dataclass(frozen=True)
class Platt:
    """A logistic curve: 1 / (1 + exp(-(slope x score + intercept))) (Platt 1999)."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise ValueError("slope and intercept must be finite")

    def __call__(self, scores: Floats) -> Floats:
        """Probabilities of being right, of the shape of the scores."""
        return np.asarray(expit(self.slope * np.asarray(scores) + self.intercept), dtype=np.float64)


Table = Isotonic | Platt
TABLES: dict[str, type[Table]] = {"isotonic": Isotonic, "platt": Platt}


def load(path: Path) -> Table:
    """The table in a file of `ponder-calibrate`.

    Raises:
        UserError: the file is missing, or holds no table.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return TABLES[stored["method"]](**stored["table"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"verifier.table={path} cannot be read ({type(error).__name__}: {error})",
            f"write it with ponder-calibrate RUN method={'|'.join(TABLES)} out={path}",
        ) from error
