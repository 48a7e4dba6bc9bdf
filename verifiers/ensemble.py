"""Several verifiers as one: weighted sum, product, minimum, rank average."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ponder.errors import PonderError, UserError, VerifierError
from ponder.types import Cost, Floats, Problem, Score, Trace
from ponder.verifiers.judging import together

UNBOUNDED = (-math.inf, math.inf)
_SLACK = 1e-6  # a float32 sigmoid or mean may stand this far outside its range
_FROM_ZERO = "two scores below 0 would make a high product: use members that score from 0, or verifier=rank_average"


class Member:
    """A verifier within an ensemble: pointwise or comparing, sync or async, its errors named.

    Args:
        key: where it stands in the configuration.
        verifier: any verifier.

    Raises:
        UserError: it has neither `score` nor `compare`.
    """

    def __init__(self, key: str, verifier: Any) -> None:
        self.key = key
        self.verifier = verifier
        self.compares = callable(getattr(verifier, "compare", None))
        self._call: Any = getattr(verifier, "compare" if self.compares else "score", None)
        if not callable(self._call):
            raise UserError(f"{key}={verifier!r} is no verifier", "write it as in its yaml: _target_ and arguments")
        self.needs_logprobs = bool(getattr(verifier, "needs_logprobs", False))
        self.range: tuple[float, float] = tuple(getattr(verifier, "range", UNBOUNDED))
        self._quote = getattr(verifier, "quote", None)
        self._one_batch = threading.Lock()

    async def scores(self, traces: list[Trace]) -> list[float]:
        """One finite number a trace, in order; raises a `VerifierError` if there is none."""
        try:
            if inspect.iscoroutinefunction(self._call):
                found = await self._call(list(traces))
            else:  # one batch of plain Python at a time, in a thread, as everywhere
                found = await asyncio.to_thread(self._alone, traces)
            scores = [score if isinstance(score, Score) else float(score) for score in found]
        except PonderError:
            raise
        except Exception as error:
            raise VerifierError(f"{self.key} raised {type(error).__name__}: {error}") from error
        if len(scores) != len(traces):
            raise VerifierError(f"{self.key} returned {len(scores)} scores for {len(traces)} traces")
        low, high = self.range
        for score in scores:
            if not (math.isfinite(score) and low - _SLACK <= score <= high + _SLACK):
                raise VerifierError(f"{self.key} returned {score}, allowed are finite numbers in [{low}, {high}]")
        return scores

    def quote(self, traces: Sequence[Trace]) -> Cost:
        """The most that scoring some traces can cost."""
        if self._quote is None:
            return Cost()
        quoted: Cost = self._quote(list(traces)) if self.compares else sum(map(self._quote, traces), Cost())
        return quoted

    def _alone(self, traces: list[Trace]) -> Any:
        with self._one_batch:
            return self._call(list(traces))


class Ensemble(ABC):
    """What all ensembles share: they ask every member, and add up costs and what could not be read.

    An ensemble with a member that compares, compares: it has `compare`, not `score`.

    Args:
        members: key in the configuration -> verifier.
        compares: whether it compares in any case.

    Raises:
        UserError: no members, or one that is no verifier.
    """

    stepwise = True
    """Whether step scores combine as scores do; they are given where every member gives them."""

    score: Callable[[Sequence[Trace]], Awaitable[list[Score]]]
    compare: Callable[[Sequence[Trace]], Awaitable[list[Score]]]

    def __init__(self, members: Mapping[str, Any], compares: bool = False) -> None:
        if not members:
            raise UserError("verifier.members is empty", "name at least one: verifier.members.NAME._target_=...")
        self.members = tuple(Member(key, verifier) for key, verifier in members.items())
        self.needs_logprobs = any(member.needs_logprobs for member in self.members)
        self.range = self._bounds()
        # Context asks what has `compare` for the traces of one call; everything else is batched across questions.
        setattr(self, "compare" if compares or any(m.compares for m in self.members) else "score", self._scored)

    @abstractmethod
    def combined(self, scores: Floats) -> Floats:
        """One score each from those of all members.

        Args:
            scores: shape (members, traces).

        Returns:
            Shape (traces,).
        """

    @property
    def toy_problem(self) -> Problem | None:
        """The first member's that has one: what the check of the contract tries it on."""
        own = (getattr(member.verifier, "toy_problem", None) for member in self.members)
        return next((problem for problem in own if problem is not None), None)

    def quote(self, asked: Trace | Sequence[Trace]) -> Cost:
        """The most that scoring a trace, or comparing several, can cost."""
        traces = [asked] if isinstance(asked, Trace) else asked
        return sum((member.quote(traces) for member in self.members), Cost())

    def close(self) -> None:
        """Closes every member that can be closed."""
        for member in self.members:
            if hasattr(member.verifier, "close"):
                member.verifier.close()

    async def _scored(self, traces: Sequence[Trace]) -> list[Score]:
        found = await together(member.scores(list(traces)) for member in self.members)
        values = self.combined(np.array(found, dtype=np.float64))
        scores = []
        for trace, value, parts in zip(traces, values, zip(*found, strict=True), strict=True):
            told = [part for part in parts if isinstance(part, Score)]
            cost, unread = sum((part.cost for part in told), Cost()), sum(part.unread for part in told)
            scores.append(Score(float(value), self._steps(trace, told, len(parts)), cost, unread))
        return scores

    def _steps(self, trace: Trace, told: Sequence[Score], members: int) -> list[float]:
        if not (self.stepwise and trace.steps and len(told) == members):
            return []
        if any(len(part.steps) != len(trace.steps) for part in told):
            return []
        return [float(score) for score in self.combined(np.array([part.steps for part in told], dtype=np.float64))]

    def _bounds(self) -> tuple[float, float]:
        """What `combined` can give: sums and minima are extreme where all members are."""
        with np.errstate(invalid="ignore"):  # infinity less infinity
            corners = self.combined(np.array(list(product(*(member.range for member in self.members)))).T)
        return UNBOUNDED if np.isnan(corners).any() else (float(corners.min()), float(corners.max()))


class WeightedSum(Ensemble):
    """The weighted sum of its members' scores.

    Args:
        members: name -> verifier.
        weights: name -> weight, one for each member; None for equal ones that sum to 1.

    Raises:
        UserError: no members, names that do not match, or a weight that is no finite number.
    """

    def __init__(self, members: Mapping[str, Any], weights: Mapping[str, float] | None = None) -> None:
        given = dict.fromkeys(members, 1.0 / max(1, len(members))) if weights is None else dict(weights)
        if set(given) != set(members):
            raise UserError(
                f"verifier.weights has {sorted(given)}, verifier.members has {sorted(members)}",
                "allowed: one weight for each member, or null for equal ones",
            )
        if not all(math.isfinite(weight) for weight in given.values()):
            raise UserError(f"verifier.weights={given}", "allowed: finite numbers")
        self.weights = np.array([given[name] for name in members], dtype=np.float64)
        super().__init__(_keyed(members))

    def combined(self, scores: Floats) -> Floats:
        """The weighted sum."""
        return np.asarray(self.weights @ scores, dtype=np.float64)


class Product(Ensemble):
    """The product of its members' scores, none of which may be below 0: all must approve.

    Args:
        members: name -> verifier.

    Raises:
        UserError: no members, or one whose declared range goes below 0. While scoring: `VerifierError`.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__(_keyed(members))
        for member in self.members:
            if -math.inf < member.range[0] < 0:
                raise UserError(f"{member.key} scores in {list(member.range)}", _FROM_ZERO)

    def combined(self, scores: Floats) -> Floats:
        """The product.

        Raises:
            VerifierError: a score below 0.
        """
        if scores.size and scores.min() < -_SLACK:
            raise VerifierError(f"verifier.members: a score of {scores.min():g}; {_FROM_ZERO}")
        return np.asarray(scores.clip(0.0).prod(axis=0), dtype=np.float64)

    def _bounds(self) -> tuple[float, float]:
        low, high = np.array([member.range for member in self.members]).clip(0.0).T
        return (float(low.prod()), float(high.prod())) if np.isfinite(high).all() else (0.0, math.inf)


class Minimum(Ensemble):
    """The lowest of its members' scores: the sternest decides. Their ranges should be alike.

    Args:
        members: name -> verifier.

    Raises:
        UserError: no members.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__(_keyed(members))

    def combined(self, scores: Floats) -> Floats:
        """The minimum."""
        return np.asarray(scores.min(axis=0), dtype=np.float64)


class RankAverage(Ensemble):
    """The mean rank of a trace among those of one call, in (0, 1]: 1 if it is every member's best.

    Members' ranges do not matter. Equal scores share the mean of their ranks. It compares, so that a score depends on
    which other traces it was given with.

    Args:
        members: name -> verifier.

    Raises:
        UserError: no members.
    """

    stepwise = False

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__(_keyed(members), compares=True)

    def combined(self, scores: Floats) -> Floats:
        """The mean rank, over the number of traces."""
        return np.asarray(rankdata(scores, axis=1).mean(axis=0) / max(1, scores.shape[1]), dtype=np.float64)

    def _bounds(self) -> tuple[float, float]:
        return (0.0, 1.0)


def _keyed(members: Mapping[str, Any]) -> dict[str, Any]:
    return {f"verifier.members.{name}": verifier for name, verifier in dict(members).items()}
