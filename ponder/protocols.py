"""The five seams. Write a plain class with these methods: no base class, no registration."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from ponder.types import Population, Problem, Step, Trace

if TYPE_CHECKING:
    from ponder.context import Context


@dataclass(frozen=True, slots=True)
class Until:
    """Where a completion ends.

    Attributes:
        stop: strings that end a step, kept at its end; empty for a whole solution.
        max_tokens: the ceiling; a completion cut by it has why "length".
        every: length of a step in tokens, where steps are counted; a step that reaches it has why "stop".
    """

    stop: tuple[str, ...] = ()
    max_tokens: int = 1024
    every: int | None = None


@dataclass(frozen=True, slots=True)
class Picking:
    """How next tokens are picked where a strategy departs from its sampler's settings; None keeps a setting.

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1].
        top_k: most likely tokens kept; 0 keeps all.
        min_p: least probability relative to the most likely token's.
        top_logprobs: how many likeliest tokens each step tells of (`Step.top_logprobs`).
        pattern: a regular expression that the completion obeys; not every sampler can (guided decoding).
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_logprobs: int | None = None
    pattern: str | None = None

    def over(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """A sampler's settings with these in their place."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**settings, **{name: value for name, value in given.items() if value is not None}}


class Sampler(Protocol):
    """A language model. One request a call; concurrency is the engine's job.

    May also have
    - `quote(trace, tokens) -> Cost`: the most that one completion of `tokens` tokens can cost. Without it, ceilings on
      prompt tokens and FLOPs cannot be kept.
    - `varied(picking) -> Sampler`: the same model, picking differently. Some strategies need it.
    - `async read(trace, step) -> Step`: the step with the log-probabilities that this model gives its tokens after the
      trace, before temperature and truncation. Some strategies need it.
    - `split(trace, step, until) -> list[Step]`: cuts a whole solution into steps.
    """

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> Sequence[Step]:
        """Draws n continuations of a trace.

        Args:
            trace: the prefix; an empty one is the bare problem.
            n: how many independent continuations.
            until: where each ends.
            seed: equal seeds give equal continuations, whatever else the engine does.

        Returns:
            n steps. Fewer is an error of the engine, and is retried.
        """

    async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        """Next-token probability of each choice after trace + suffix, in [0, 1]."""


class Verifier(Protocol):
    """Scores traces; higher is better. `score` may be sync or async.

    A process reward model returns `ponder.types.Score`, a float that carries its step scores and cost. May also have
    `range: tuple[float, float]`, `quote(trace) -> Cost`. A verifier that reads several solutions beside each other has
    `compare(traces) -> Sequence[float]` instead of `score`: one float for each of some traces of one problem; its
    `quote` takes all of these traces.

    Example:
        class Short:
            def score(self, traces): return [-len(t.text) for t in traces]
    """

    def score(self, traces: Sequence[Trace]) -> Sequence[float] | Awaitable[Sequence[float]]:
        """One finite float a trace, in order; the same alone as in any batch."""


class Strategy(Protocol):
    """A search method: sees one question, awaits the context, returns a population."""

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Searches; may be cut short by `BudgetExhausted`, then the last report counts."""


class Task(Protocol):
    """A benchmark: problems, answer extraction and grading. `answer` and `grade` are called from threads.

    May also have `solution(problem) -> str | None`: a right solution as a model would write it. With it
    `ponder.tasks.validation` proves that every gold answer is read and graded right.
    """

    def problems(self) -> Iterable[Problem]:
        """The problems, in a fixed order, with unique ids."""

    def answer(self, trace: Trace) -> str | None:
        """The answer in canonical form, None if there is none. Votes group by it."""

    def grade(self, problem: Problem, answer: str | None) -> bool | Awaitable[float]:
        """Whether an answer is right. A judge's is async, and may be a `ponder.types.Score` that carries its cost."""


class Retriever(Protocol):
    """A corpus that can be searched: for a retrieval strategy, `retriever: ${task.retriever}`."""

    def search(self, query: str, k: int) -> Sequence[Any]:
        """The k passages that fit best, best first, each with `id`, `title`, `text` and `score`; fewer if few fit."""


class Recorder(Protocol):
    """Sees every row as it is written: W&B, a progress line, a notebook."""

    def start(self, run: Mapping[str, Any]) -> None:
        """Called once: run id, resolved config, number of questions."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Called for each finished question."""

    def close(self) -> None:
        """Called once, also after an error."""
