"""The contract of a verifier, tried on three toy traces: at start-up, and as a user's test.

Example:
    from ponder.verifiers.check import check

    def test_vowels(): check(Vowels(bonus=0.5))
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ponder.errors import UserError
from ponder.types import Problem, Step, Trace

TOLERANCE = 1e-4
"""How far a score may differ alone and in a batch, absolutely and relatively; a GPU's
half-precision sums depend on the batch a little."""

_CALLS = "def score(self, traces): return [... for t in traces], one float for each trace"


def toy_traces() -> list[Trace]:
    """Three traces of text alone: one just begun, one in Unicode, one finished."""
    sum_, roots = Problem("toy-1", "What is 2 + 3?"), Problem("toy-2", "Résous x² = 4 — 求解 🧮")
    return [
        Trace(sum_, (Step("Two and three, ", why="length"),)),
        Trace(roots, (Step("On a x² = 4.\n\n"), Step("Donc x = ±2 ✓ 答案\n\n"))),
        Trace(sum_, (Step("2 + 3 makes 5.\n\n"), Step("The answer is \\boxed{5}.", why="eos"))),
    ]


def check(verifier: Any, name: str | None = None, traces: Sequence[Trace] | None = None) -> None:
    """Runs `acheck` where no event loop runs.

    Args:
        verifier: any object with a method `score`, sync or async.
        name: how to call it in an error; its class by default.
        traces: what to try it on instead of the toy traces.

    Raises:
        UserError: see `acheck`.
    """
    asyncio.run(acheck(verifier, name, traces))


async def acheck(verifier: Any, name: str | None = None, traces: Sequence[Trace] | None = None) -> None:
    """Raises if a verifier breaks the contract; else does nothing.

    Checked are: as many scores as traces, plain finite numbers, inside the declared `range`,
    and for each trace the same score alone as in a batch.

    Args:
        verifier: any object with a method `score`, sync or async.
        name: how to call it in an error; its class by default.
        traces: what to try it on instead of the toy traces.

    Raises:
        UserError: names the verifier, what was expected and found, and the remedy.
    """
    name = name or type(verifier).__name__
    traces = list(traces) if traces is not None else toy_traces()
    batch = await _scores(verifier, name, traces)
    low, high = _range(verifier, name)
    for score in batch:
        if not low - TOLERANCE <= score <= high + TOLERANCE:
            raise UserError(
                f"{name}.score returned {score:g}, but {name}.range is [{low:g}, {high:g}]",
                "map the scores into the range, or declare the range that they have",
            )
    for place, (trace, together) in enumerate(zip(traces, batch, strict=True)):
        (alone,) = await _scores(verifier, name, [trace])
        if not math.isclose(alone, together, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            raise UserError(
                f"{name}.score gives trace {place} {together:g} in a batch of {len(traces)}, but {alone:g} alone",
                "a score may depend on its own trace only: normalise or rank nothing over the batch, keep no state, "
                "mask the padding, and draw no random numbers",
            )


async def _scores(verifier: Any, name: str, traces: list[Trace]) -> list[float]:
    if not callable(getattr(verifier, "score", None)):
        raise UserError(f"{name} has no method score", f"write {_CALLS}")
    try:
        scores = verifier.score(list(traces))
        if inspect.isawaitable(scores):
            scores = await scores
    except Exception as error:
        raise UserError(
            f"{name}.score raised {type(error).__name__} on {len(traces)} toy traces: {error}",
            "it must accept any text, finished or not; a trace has problem, steps, text and finished",
        ) from error
    if isinstance(scores, (str, bytes, Mapping)) or not (hasattr(scores, "__len__") and hasattr(scores, "__iter__")):
        raise UserError(f"{name}.score returned {type(scores).__name__}, not a list of floats", f"write {_CALLS}")
    if len(scores) != len(traces):
        raise UserError(f"{name}.score returned {len(scores)} scores for {len(traces)} traces", f"write {_CALLS}")
    return [_number(score, name) for score in scores]


def _number(score: Any, name: str) -> float:
    try:
        number = None if isinstance(score, (str, bytes)) or getattr(score, "ndim", 0) != 0 else float(score)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise UserError(f"{name}.score returned {score!r} as a score, not a float", f"write {_CALLS}")
    if not math.isfinite(number):
        raise UserError(f"{name}.score returned {number}, not a finite number", "return a low score instead")
    return number


def _range(verifier: Any, name: str) -> tuple[float, float]:
    declared = getattr(verifier, "range", (-math.inf, math.inf))
    try:
        low, high = declared
        if low < high:
            return float(low), float(high)
    except (TypeError, ValueError):
        pass
    raise UserError(f"{name}.range is {declared!r}", "declare range = (lowest, highest), or leave it out")
