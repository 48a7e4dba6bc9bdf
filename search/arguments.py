"""Checks of a strategy's arguments: each names the key, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ponder.errors import UserError


def whole(name: str, value: object, least: int = 1) -> None:
    """Refuses what is no whole number from `least`.

    Raises:
        UserError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"search.{name}={value!r} is out of range", f"allowed: a whole number from {least}")


def number(name: str, value: float, allowed: str) -> None:
    """Refuses what lies outside an interval, NaN included.

    Args:
        name: the argument.
        value: what was given.
        allowed: the interval as it is written, such as "(0, 1]" or "[0, inf)".

    Raises:
        UserError: it lies outside.
    """
    low, high = (float(end) for end in allowed[1:-1].split(","))
    inside = not isinstance(value, bool) and isinstance(value, int | float) and not math.isnan(value)
    above = inside and (value > low or (allowed[0] == "[" and value == low))
    if not (above and (value < high or (allowed[-1] == "]" and value == high))):
        raise UserError(f"search.{name}={value!r} is out of range", f"allowed: a number in {allowed}")


def choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuses what is not on a list.

    Raises:
        UserError: it is not.
    """
    if value not in allowed:
        raise UserError(f"search.{name}={value!r} is unknown", f"allowed: {', '.join(allowed)}")


def divides(name: str, value: int, n: int) -> None:
    """Refuses a whole number that does not divide n.

    Raises:
        UserError: it is none, or does not.
    """
    whole(name, value)
    if n % value:
        fits = [d for d in range(1, n + 1) if n % d == 0]
        raise UserError(
            f"search.{name}={value} does not divide search.n={n}", f"allowed for {name}: {', '.join(map(str, fits))}"
        )
