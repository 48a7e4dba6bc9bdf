"""The values that everything else speaks of: Problem, Step, Trace, Population, Cost.

All are frozen. A trace grows by `trace + step`, which shares its past: forking a trace a thousand times copies
nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Why = Literal["stop", "eos", "length", "abort"]
Floats = NDArray[np.float64]
Scheme = Callable[[Floats, int, np.random.Generator], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work took: counts, which add with `+`.

    Attributes:
        samples: solutions or particles begun (the N of most papers).
        prompt_tokens: prompt tokens sent, cached ones included.
        cached_tokens: those of the prompt tokens that a prefix cache answered.
        new_tokens: tokens a model emitted, rejected and discarded ones included.
        verifier_tokens: tokens a verifier computed, read or written; a verifier that is asked in words also books what
            it wrote as new_tokens of its role, and what it was sent as prompt_tokens.
        verifier_cached_tokens: tokens a verifier took from a prefix cache.
        verifier_calls: traces that a verifier scored.
        flops: floating-point operations, an estimate: about 2 x parameters x computed tokens.
    """

    samples: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    new_tokens: int = 0
    verifier_tokens: int = 0
    verifier_cached_tokens: int = 0
    verifier_calls: int = 0
    flops: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(operator.add, _counts(self), _counts(other)))

    def __mul__(self, times: int) -> Cost:
        return Cost(*(count * times for count in _counts(self)))

    def asdict(self) -> dict[str, float]:
        """Field name to count, in declaration order."""
        return dict(zip(self.__slots__, _counts(self), strict=True))


_counts = operator.attrgetter(*Cost.__slots__)


class Score(float):
    """A score that knows more than its value; a plain float serves as well.

    Attributes:
        steps: one score for each step of the trace, or empty.
        cost: what computing it took.
        unread: judgements behind it that could not be read; they are no part of the value.
    """

    steps: tuple[float, ...]
    cost: Cost
    unread: int

    def __new__(  # noqa: D102
        cls, value: float, steps: Sequence[float] = (), cost: Cost | None = None, unread: int = 0
    ) -> Score:
        score = super().__new__(cls, value)
        score.steps, score.cost, score.unread = tuple(steps), cost or Cost(), unread
        return score


class Probabilities(tuple[float, ...]):
    """Next-token probabilities of a probe's choices, with what the probe cost."""

    cost: Cost

    def __new__(cls, values: Iterable[float], cost: Cost | None = None) -> Probabilities:  # noqa: D102
        probabilities = super().__new__(cls, values)
        probabilities.cost = cost or Cost()
        return probabilities


@dataclass(frozen=True)
class Problem:
    """One question, without its gold answer: that stays with the Task.

    Attributes:
        id: unique within its task; seeds and stored rows hang on it.
        prompt: the question as the model shall read it.
        meta: what selection, plots or verifiers may need (level, subject, language, ...).
        verbatim: the prompt is all that is sent: the question template and the system message, which says how to
            answer, are left out. For what strategies ask besides the question itself (to compare candidates, say).
    """

    id: str
    prompt: str
    meta: Mapping[str, Any] = field(default_factory=dict, compare=False)
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of a solution, as a sampler returned it.

    Attributes:
        text: the text of `token_ids`; the end-of-sequence token has none.
        token_ids: all tokens emitted for this step, end-of-sequence included.
        logprobs: log-probability of each token, in nats, or empty.
        why: what ended it: a step's own end ("stop"), the end of the solution ("eos"), a token limit ("length"), or a
            caller ("abort").
        cost: what the request took. A request's prompt is charged to its first step.
        top_logprobs: for each token, log-probabilities of the likeliest tokens there, falling; empty if not asked for.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    why: Why = "stop"
    cost: Cost = field(default=Cost(), compare=False)
    top_logprobs: tuple[tuple[float, ...], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Trace:
    """A problem and the steps towards its solution so far.

    Traces are equal that answer the same problem with the same tokens in the same steps.

    Attributes:
        problem: the question.
        steps: the steps, oldest first.
        closed: no room is left (step or token limit); set by Context.
    """

    problem: Problem
    steps: tuple[Step, ...] = ()
    closed: bool = False

    def __add__(self, step: Step) -> Trace:
        return replace(self, steps=(*self.steps, step))

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def text(self) -> str:
        """The solution so far, without the prompt."""
        return "".join(step.text for step in self.steps)

    @cached_property
    def token_ids(self) -> tuple[int, ...]:
        """The solution's tokens so far, without the prompt."""
        return tuple(token for step in self.steps for token in step.token_ids)

    @cached_property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probability of each token so far, in nats; empty where a sampler gives none."""
        return tuple(logprob for step in self.steps for logprob in step.logprobs)

    @property
    def finished(self) -> bool:
        """Whether the model itself ended the solution. A truncated trace never is."""
        return bool(self.steps) and self.steps[-1].why == "eos"

    @property
    def alive(self) -> bool:
        """Whether another step can follow."""
        return not (self.finished or self.closed or (bool(self.steps) and self.steps[-1].why == "abort"))

    @cached_property
    def key(self) -> tuple[object, ...]:
        """What makes two traces equal."""
        return (self.problem.id, self.closed, *((s.token_ids or s.text, s.why == "eos") for s in self.steps))

    @cached_property
    def _hash(self) -> int:
        return hash(self.key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and self.key == other.key


Answer = Callable[[Trace], str | None]


def whole_text(trace: Trace) -> str | None:
    """What stands for an answer where no task says: the text of a finished trace."""
    return trace.text if trace.finished else None


@dataclass(frozen=True, eq=False)
class Population:
    """Weighted traces of one problem: particles, beams, samples.

    Attributes:
        traces: n traces; equal ones may repeat.
        log_weights: shape (n,), unnormalised, in nats.
        log_evidence: log of the normalising constant gathered by resampling so far.
    """

    traces: tuple[Trace, ...]
    log_weights: Floats
    log_evidence: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "traces", tuple(self.traces))
        object.__setattr__(self, "log_weights", np.asarray(self.log_weights, dtype=np.float64))
        if self.log_weights.shape != (len(self.traces),):
            raise ValueError(f"{len(self.traces)} traces need as many log weights, not {self.log_weights.shape}")

    @classmethod
    def start(cls, problem: Problem, n: int) -> Population:
        """n empty traces of equal weight."""
        return cls.equal([Trace(problem)] * n)

    @classmethod
    def equal(cls, traces: Sequence[Trace]) -> Population:
        """These traces, each with weight 1."""
        return cls(tuple(traces), np.zeros(len(traces)))

    def __len__(self) -> int:
        return len(self.traces)

    @property
    def alive(self) -> bool:
        """Whether any trace can take another step."""
        return any(trace.alive for trace in self.traces)

    @property
    def weights(self) -> Floats:
        """Normalised weights, shape (n,), summing to 1; uniform if all are zero."""
        if not np.isfinite(total := self._log_sum):
            return np.full(len(self.traces), 1.0 / max(len(self.traces), 1))
        return np.asarray(np.exp(self.log_weights - total), dtype=np.float64)

    @property
    def _log_sum(self) -> float:
        """Log of the sum of the weights; scipy's logsumexp takes twenty times as long on so few."""
        highest = float(self.log_weights.max(initial=-np.inf))
        return highest + float(np.log(np.exp(self.log_weights - highest).sum())) if np.isfinite(highest) else highest

    @property
    def ess(self) -> float:
        """Effective sample size 1 / sum(W^2), in [1, n] (Kong 1992)."""
        return float(1.0 / np.sum(self.weights**2))

    def replace(self, traces: Sequence[Trace]) -> Population:
        """The same weights on other traces (each moved one step, say)."""
        return replace(self, traces=tuple(traces))

    def reweight(self, log_potentials: Sequence[float] | Floats) -> Population:
        """Each weight multiplied by exp of its log potential."""
        return replace(self, log_weights=self.log_weights + np.asarray(log_potentials, dtype=np.float64))

    def resample(self, scheme: Scheme, rng: np.random.Generator) -> Population:
        """n traces drawn by weight, equally weighted; the mean weight goes to the evidence.

        Args:
            scheme: a function of search/resampling.py: (weights, n, rng) -> n indices.
            rng: the source of chance.
        """
        chosen = scheme(self.weights, len(self.traces), rng)
        return Population(tuple(self.traces[i] for i in chosen), np.zeros(len(self.traces)), self.evidence)

    @property
    def evidence(self) -> float:
        """Log of the estimated normalising constant, the current weights included."""
        return self.log_evidence + self._log_sum - float(np.log(len(self.traces)))
