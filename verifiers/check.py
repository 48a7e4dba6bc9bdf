"""The contract of a verifier, tried on three toy traces: at start-up, by `ponder-check`, and as a user's test.

Example:
    from ponder.verifiers.check import check

    def test_vowels(): check(Vowels(bonus=0.5))
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from ponder.errors import UserError
from ponder.types import Problem, Score, Step, Trace

TOLERANCE = 1e-4
"""How far a score may differ alone and in a batch, absolutely and relatively; a GPU's
half-precision sums depend on the batch a little."""

_CALLS = "[... for t in traces], one float for each trace"


@dataclass(frozen=True)
class Finding:
    """One rule of the contract, and whether a verifier keeps it.

    Attributes:
        rule: what was tried, in a few words.
        passed: whether it holds.
        detail: what was found.
        remedy: what to do about it; empty if it passed.
    """

    rule: str
    passed: bool
    detail: str
    remedy: str = ""


def toy_traces() -> list[Trace]:
    """Three traces of text alone: one just begun, one in Unicode, one finished."""
    sum_, roots = Problem("toy-1", "What is 2 + 3?"), Problem("toy-2", "Résous x² = 4 — 求解 🧮")
    return [
        Trace(sum_, (Step("Two and three, ", why="length"),)),
        Trace(roots, (Step("On a x² = 4.\n\n"), Step("Donc x = ±2 ✓ 答案\n\n"))),
        Trace(sum_, (Step("2 + 3 makes 5.\n\n"), Step("The answer is \\boxed{5}.", why="eos"))),
    ]


def toy_group() -> list[Trace]:
    """The toy traces as three solutions of one problem, for verifiers that compare."""
    first, *others = toy_traces()
    return [first, *(replace(trace, problem=first.problem) for trace in others)]


def spelled(trace: Trace) -> Trace:
    """The trace with a token for each character, and made-up log-probabilities of the likeliest tokens there."""
    return replace(trace, steps=tuple(map(_spelled, trace.steps)))


def _spelled(step: Step) -> Step:
    ids = tuple(map(ord, step.text))
    logprobs = tuple(-0.1 - code % 7 / 10 for code in ids)
    return replace(step, token_ids=ids, logprobs=logprobs, top_logprobs=tuple((one, one - 2.0) for one in logprobs))


def check(verifier: Any, name: str | None = None, traces: Sequence[Trace] | None = None) -> None:
    """Runs `acheck` where no event loop runs.

    Args:
        verifier: any object with a method `score` or `compare`, sync or async.
        name: how to call it in an error; its class by default.
        traces: what to try it on instead of the toy traces.

    Raises:
        UserError: see `acheck`.
    """
    asyncio.run(acheck(verifier, name, traces))


async def acheck(verifier: Any, name: str | None = None, traces: Sequence[Trace] | None = None) -> None:
    """Raises if a verifier breaks the contract; else does nothing. What is tried is told at `findings`.

    Args:
        verifier: any object with a method `score` or `compare`, sync or async.
        name: how to call it in an error; its class by default.
        traces: what to try it on instead of the toy traces.

    Raises:
        UserError: names the verifier, what was expected and found, and the remedy.
    """
    for finding in await findings(verifier, name, traces):
        if not finding.passed:
            raise UserError(finding.detail, finding.remedy)


async def findings(verifier: Any, name: str | None = None, traces: Sequence[Trace] | None = None) -> list[Finding]:
    """Tries a verifier against each rule of the contract.

    Tried are: one score for each trace, a plain finite number; inside the declared `range`; step scores, where there
    are any, one for each step; the same score alone as in a batch, and the same again. Of a verifier that compares:
    the same scores for the same group, in whatever order it comes.

    Args:
        verifier: any object with a method `score` or `compare`, sync or async. Where it declares
            `needs_logprobs = True`, the toy traces have tokens and log-probabilities; where it has a
            `toy_problem`, they are solutions of that.
        name: how to call it; its class by default.
        traces: what to try it on instead of the toy traces; those of one problem are a group.

    Returns:
        In the order tried. Where there are no scores to judge, the rules that need them are not in it.
    """
    trial = _Trial(verifier, name or type(verifier).__name__, traces)
    found = [await _tried("one score for each trace", trial.scores)]
    if found[0].passed:
        found.append(await _tried("inside the declared range", trial.inside))
        found.append(await _tried("as many step scores as steps, or none", trial.steps))
        if trial.compares:
            found.append(await _tried("the same group again: the same scores", trial.again))
            found.append(await _tried("the group in another order: the same scores", trial.turned))
        else:
            found.append(await _tried("alone the same as in a batch", trial.alone))
            found.append(await _tried("the same traces again: the same scores", trial.again))
    return found


async def _tried(rule: str, attempt: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(rule, True, await attempt())
    except UserError as error:
        return Finding(rule, False, error.message, error.hint)


class _Trial:
    """One verifier and what it is tried on. Each attempt says what it found, or raises what is wrong."""

    def __init__(self, verifier: Any, name: str, traces: Sequence[Trace] | None) -> None:
        self.verifier = verifier
        self.name = name
        self.compares = callable(getattr(verifier, "compare", None))
        self.method = f"{name}.{'compare' if self.compares else 'score'}"
        self.toys = traces is None
        if traces is None:
            traces = toy_group() if self.compares else toy_traces()
            traces = [*map(spelled, traces)] if getattr(verifier, "needs_logprobs", False) else traces
            problem = getattr(verifier, "toy_problem", None)
            traces = traces if problem is None else [replace(trace, problem=problem) for trace in traces]
        groups: dict[str, list[Trace]] = {}
        for trace in traces:
            groups.setdefault(trace.problem.id if self.compares else "", []).append(trace)
        self.groups = list(groups.values())
        self.found: list[list[Score]] = []

    async def scores(self) -> str:
        """As many finite numbers as traces."""
        self.found = [await self._scores(group) for group in self.groups]
        return f"{self.method} gave {', '.join(f'{score:.4g}' for score in chain(*self.found))}"

    async def inside(self) -> str:
        """In the declared range."""
        low, high = _range(self.verifier, self.name)
        for score in chain(*self.found):
            if not low - TOLERANCE <= score <= high + TOLERANCE:
                raise UserError(
                    f"{self.method} returned {score:g}, but {self.name}.range is [{low:g}, {high:g}]",
                    "map the scores into the range, or declare the range that they have",
                )
        return f"[{low:g}, {high:g}]" if hasattr(self.verifier, "range") else "none is declared"

    async def steps(self) -> str:
        """Step scores belong to steps."""
        seen = 0
        traces, scores = chain(*self.groups), chain(*self.found)
        for trace, score in zip(traces, scores, strict=True):
            seen += len(score.steps)
            if len(score.steps) not in (0, len(trace.steps)):
                raise UserError(
                    f"{self.method} gave {len(score.steps)} step scores to a trace of {len(trace.steps)} steps",
                    "give one for each of trace.steps, or none; never split the text again",
                )
            for step in score.steps:
                _number(step, self.method, "a step score")
        return f"{seen} step scores" if seen else "no step scores"

    async def alone(self) -> str:
        """A score depends on its own trace only."""
        for group, together in zip(self.groups, self.found, strict=True):
            for place, (trace, score) in enumerate(zip(group, together, strict=True)):
                (single,) = await self._scores([trace])
                if not _close(single, score):
                    raise UserError(
                        f"{self.method} gives trace {place} {score:g} in a batch of {len(group)}, but {single:g} alone",
                        "a score may depend on its own trace only: normalise or rank nothing over the batch, keep no "
                        "state, mask the padding, and draw no random numbers",
                    )
        return f"{sum(map(len, self.groups))} traces one by one"

    async def again(self) -> str:
        """Equal questions get equal answers."""
        for group, before in zip(self.groups, self.found, strict=True):
            await self._same(group, before, group, "when it is asked again")
        return "asked twice"

    async def turned(self) -> str:
        """What stands first does not matter."""
        for group, before in zip(self.groups, self.found, strict=True):
            await self._same(group[::-1], before[::-1], group, "in the opposite order")
            await self._same([*group[1:], *group[:1]], [*before[1:], *before[:1]], group, "in another order")
        return "two other orders"

    async def _same(self, asked: list[Trace], expected: list[Score], group: list[Trace], when: str) -> None:
        for trace, score, other in zip(asked, expected, await self._scores(asked), strict=True):
            if not _close(score, other):
                raise UserError(
                    f"{self.method} gives trace {group.index(trace)} {score:g} first, but {other:g} {when}",
                    "equal questions need equal scores: keep no state, draw no random numbers or seed them by the "
                    "text, and let no place in the list decide (sort the traces by their text, say)",
                )

    async def _scores(self, traces: list[Trace]) -> list[Score]:
        call = getattr(self.verifier, "compare" if self.compares else "score", None)
        write = f"write {'async def compare' if self.compares else 'def score'}(self, traces): return {_CALLS}"
        if not callable(call):
            raise UserError(f"{self.name} has no method score, and no compare", write)
        try:
            scores = call(list(traces))
            if inspect.isawaitable(scores):
                scores = await scores
        except UserError as error:
            raise UserError(f"{self.method} refused {self._asked(traces)}: {error.message}", error.hint) from error
        except Exception as error:
            raise UserError(
                f"{self.method} raised {type(error).__name__} on {self._asked(traces)}: {error}",
                "it must accept any text, finished or not; a trace has problem, steps, text and finished",
            ) from error
        sized = hasattr(scores, "__len__") and hasattr(scores, "__iter__")
        if isinstance(scores, (str, bytes, Mapping)) or not sized:
            raise UserError(f"{self.method} returned {type(scores).__name__}, not a list of floats", write)
        if len(scores) != len(traces):
            raise UserError(f"{self.method} returned {len(scores)} scores for {len(traces)} traces", write)
        return [Score(_number(score, self.method, "a score"), getattr(score, "steps", ())) for score in scores]

    def _asked(self, traces: Sequence[Trace]) -> str:
        return f"{len(traces)} {'toy traces' if self.toys else 'traces'}"


def _number(score: Any, method: str, what: str) -> float:
    try:
        number = None if isinstance(score, (str, bytes)) or getattr(score, "ndim", 0) != 0 else float(score)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise UserError(f"{method} returned {score!r} as {what}, not a float", "return plain numbers")
    if not math.isfinite(number):
        raise UserError(f"{method} returned {number} as {what}, not a finite number", "return a low score instead")
    return number


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _range(verifier: Any, name: str) -> tuple[float, float]:
    declared = getattr(verifier, "range", (-math.inf, math.inf))
    try:
        low, high = declared
        if low < high:
            return float(low), float(high)
    except (TypeError, ValueError):
        pass
    raise UserError(f"{name}.range is {declared!r}", "declare range = (lowest, highest), or leave it out")
