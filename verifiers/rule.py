"""Verifiers that are rules: for tests, demonstrations and baselines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ponder.errors import UserError
from ponder.types import Trace


class Constant:
    """The same score for everything: search without guidance.

    Args:
        value: the score.
    """

    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """The value, for each trace."""
        return [self.value] * len(traces)


class Regex:
    """1 if the solution holds a match, 0 if not.

    Args:
        pattern: a regular expression, searched for anywhere in the solution's text.

    Raises:
        UserError: the pattern is no regular expression.
    """

    range = (0.0, 1.0)

    def __init__(self, pattern: str) -> None:
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise UserError(f"verifier.pattern={pattern!r}: {error}", "allowed: a Python regular expression") from error

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """0 or 1 for each trace."""
        return [float(bool(self.pattern.search(trace.text))) for trace in traces]


class Length:
    """How near the solution's length is to a target: shorter over longer length, in [0, 1].

    Args:
        target: characters, from 1.

    Raises:
        UserError: a target below 1.
    """

    range = (0.0, 1.0)

    def __init__(self, target: int = 100) -> None:
        if target < 1:
            raise UserError(f"verifier.target={target} is out of range", "allowed: a whole number from 1")
        self.target = target

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """1 at the target, towards 0 far from it, for each trace."""
        return [min(len(t.text), self.target) / max(len(t.text), self.target) for t in traces]
