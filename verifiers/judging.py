"""Asking a language model about solutions: what all verifiers share that judge by reading and writing.

A judge is any sampler; conf gives it as `judge: ${sampler}`, so that it shares the policy's engine, or another model.
What it reads and writes is booked on the verifier's account. Equal questions get equal replies, alone and in company:
a request's seed is made of its text.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from ponder.errors import SamplerError, UserError, VerifierError
from ponder.protocols import Picking, Sampler, Until
from ponder.types import Cost, Probabilities, Problem, Score, Step, Trace

V = TypeVar("V")

_ATTEMPTS = 4


class Judge:
    """A sampler that is asked in words.

    Args:
        sampler: the model that judges; it should follow instructions.
        max_tokens: the most tokens of a reply.
        temperature: of its replies, 0 is greedy; None keeps the sampler's.
        pattern: a regular expression that replies obey, None for none (guided decoding; vLLM can).

    Raises:
        UserError: no sampler, or it cannot vary how it picks tokens.
    """

    def __init__(
        self, sampler: Sampler, max_tokens: int = 1024, temperature: float | None = None, pattern: str | None = None
    ) -> None:
        if not callable(getattr(sampler, "sample", None)):
            raise UserError(f"verifier.judge={sampler!r} is no model", "give it a sampler: judge: ${sampler}")
        if max_tokens < 1:
            raise UserError(f"verifier.max_tokens={max_tokens} is out of range", "allowed: a whole number from 1")
        self.until = Until(max_tokens=max_tokens)
        picking = Picking(temperature=temperature, pattern=pattern)
        self.sampler = sampler if picking == Picking() else _varied(sampler, picking)

    @property
    def model(self) -> str | None:
        """The checkpoint of the model that judges, None if the sampler does not say."""
        return getattr(self.sampler, "model", None)

    async def ask(self, message: str, n: int = 1, opening: str = "", pattern: str | None = None) -> list[Trace]:
        """Asks one question n times.

        Args:
            message: the question.
            n: how many replies.
            opening: how every reply begins; the model goes on from there.
            pattern: a regular expression that these replies obey; None leaves it at the judge's own.

        Returns:
            n replies: each `finished`, or cut at `max_tokens`. `bill` tells what they cost.

        Raises:
            VerifierError: the model failed, also when asked again.
        """
        trace = Trace(asked(message), (Step(opening),) if opening else ())
        sampler = self.sampler if pattern is None else _varied(self.sampler, Picking(pattern=pattern))

        async def once() -> Sequence[Any]:
            steps = await sampler.sample(trace, n, self.until, seed=_seed(message + opening))
            if len(steps) != n:
                raise SamplerError(f"{type(self.sampler).__name__} returned {len(steps)} replies for {n}")
            return steps

        return [trace + step for step in await _attempt(once)]

    async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Probabilities:
        """Next-token probability of each choice after a question or a reply and a suffix.

        Args:
            trace: a reply of `ask`, or `Trace(asked(message))` for what would be its first token.
            suffix: the opening of what the model shall say.
            choices: what it may go on with; they differ in their first tokens.

        Raises:
            VerifierError: the model failed, also when asked again.
        """
        found = await _attempt(lambda: self.sampler.probe(trace, suffix, choices))
        return Probabilities(found, getattr(found, "cost", Cost(new_tokens=1)))

    def quote(self, message: str, n: int = 1, opening: str = "", suffix: str | None = "") -> Cost:
        """The most that asking a question n times can cost.

        Args:
            message: the question.
            n: how many replies.
            opening: how every reply begins.
            suffix: what each reply is probed after; None if none is probed.
        """
        begun = len(opening.encode())
        one = self._most(message, begun, self.until.max_tokens)
        if suffix is not None:
            one += self._most(message, begun + self.until.max_tokens + len(suffix.encode()), 1)
        return booked(one * n)

    def quote_probe(self, message: str, suffix: str = "") -> Cost:
        """The most that one probe can cost, of what would be a reply's first token after a suffix."""
        return booked(self._most(message, len(suffix.encode()), 1))

    def _most(self, message: str, written: int, tokens: int) -> Cost:
        """The most that `tokens` tokens can cost after a question and so many tokens of a reply.

        Which tokens they are is not known yet, and does not matter. No text has more of them than bytes.
        """
        quote: Callable[[Trace, int], Cost] | None = getattr(self.sampler, "quote", None)
        return quote(Trace(asked(message), (Step("", (0,) * written),)), tokens) if quote else Cost(new_tokens=tokens)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What judging came to.

    Attributes:
        value: the score; None if no judgement could be read.
        unread: judgements that could not be read, and are no part of the value.
        cost: what they took, all of them.
    """

    value: float | None
    unread: int
    cost: Cost

    @classmethod
    def mean(cls, values: Sequence[float | None], cost: Cost) -> Judgement:
        """The average of the judgements that could be read; None stands for one that could not."""
        read = [value for value in values if value is not None]
        return cls(math.fsum(read) / len(read) if read else None, len(values) - len(read), cost)

    def score(self, lowest: float = 0.0) -> Score:
        """As a score: what nobody could read gets the lowest value, so that it beats nothing that was judged."""
        return Score(lowest if self.value is None else self.value, (), self.cost, self.unread)


def asked(message: str) -> Problem:
    """A question of a verifier's own, sent without the model's question template."""
    return Problem(f"judge/{hashlib.blake2b(message.encode(), digest_size=8).hexdigest()}", message, verbatim=True)


def bill(replies: Iterable[Trace | Probabilities]) -> Cost:
    """What replies and probes cost, as a verifier books it."""
    costs = [
        one.cost if isinstance(one, Probabilities) else sum((step.cost for step in one.steps), Cost())
        for one in replies
    ]
    return booked(sum(costs, Cost()))


def booked(cost: Cost) -> Cost:
    """A sampler's cost on a verifier's account: what was computed is verifier tokens, too."""
    computed = cost.prompt_tokens - cost.cached_tokens + cost.new_tokens
    return cost + Cost(verifier_tokens=computed, verifier_cached_tokens=cost.cached_tokens)


def numbered_steps(trace: Trace) -> str:
    """The steps of a solution that have text, under "Step 1:", "Step 2:", ..., a blank line between them."""
    texts = [step.text.strip() for step in trace.steps if step.text.strip()]
    return "\n\n".join(f"Step {i}: {text}" for i, text in enumerate(texts, start=1))


def listed(traces: Sequence[Trace], name: str = "Response") -> str:
    """Solutions between "[The Begin of Response 1]" and "[The End of Response 1]", as reward models were taught."""
    return "\n\n".join(
        f"[The Begin of {name} {i}]\n{trace.text.strip()}\n[The End of {name} {i}]"
        for i, trace in enumerate(traces, start=1)
    )


def before(reply: Trace, mark: str) -> Trace:
    """A reply up to where it last says a mark itself, without its end of sequence: a probe can go on from here."""
    *opening, step = reply.steps
    said, found, _ = step.text.rpartition(mark)
    if found:
        step = Step(said.rstrip())
    elif step.why == "eos":
        step = Step(step.text, step.token_ids[:-1])
    return Trace(reply.problem, (*opening, step))


def after_thought(reply: Trace) -> str:
    """What a reply says outside its thoughts: after the last `</think>`, and before one that is never closed."""
    return reply.steps[-1].text.rpartition("</think>")[2].partition("<think>")[0]


def share(found: Sequence[float]) -> float | None:
    """The first choice's part of what all choices were given; None if they were given nothing."""
    return found[0] / total if (total := math.fsum(found)) > 0 else None


def spread(trace: Trace, scores: Sequence[float], neutral: float) -> list[float]:
    """Scores of the steps that have text, as one for each step.

    A step without text takes the score of the step before it, at the beginning `neutral`.
    """
    given, steps = iter(scores), list[float]()
    for step in trace.steps:
        steps.append(next(given) if step.text.strip() else (steps[-1] if steps else neutral))
    return steps


async def criticised(judge: Judge, message: str, k: int, mark: str, choices: Sequence[str]) -> Judgement:
    """The mean over k critiques of the first choice's share after a mark; one that was cut off is unread.

    Args:
        judge: the model that judges.
        message: what it is asked.
        k: how many critiques.
        mark: what a critique says before its verdict; probed in that place, or at its end.
        choices: the verdicts, the one that counts first.
    """
    replies = await judge.ask(message, k)
    ended = [reply for reply in replies if reply.finished]
    found = await together(judge.probe(before(reply, mark), f"\n{mark}", choices) for reply in ended)
    cut_off = [None] * (k - len(ended))
    return Judgement.mean([*map(share, found), *cut_off], bill([*replies, *found]))


async def each(traces: Sequence[Trace], judged: Callable[[Trace], Awaitable[Score]]) -> list[Score]:
    """One score a trace; equal traces are judged once, and billed to the first of them."""
    scores = dict(zip(distinct := dict.fromkeys(traces), await together(map(judged, distinct)), strict=True))
    free = {trace: Score(score, score.steps, unread=score.unread) for trace, score in scores.items()}
    return [scores.pop(trace, free[trace]) for trace in traces]


def whole(name: str, value: int) -> None:
    """Raises a `UserError` unless an argument is a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"verifier.{name}={value!r} is out of range", "allowed: a whole number from 1")


def fraction(name: str, value: float) -> None:
    """Raises a `UserError` unless an argument is in [0, 1]."""
    if not 0 <= value <= 1:
        raise UserError(f"verifier.{name}={value!r} is out of range", "allowed: a number in [0, 1]")


async def together(work: Iterable[Awaitable[V]]) -> list[V]:
    """All results in order; the first error once all have ended."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]


def _seed(message: str) -> int:
    return int.from_bytes(hashlib.blake2b(message.encode(), digest_size=4).digest()) >> 1


def _varied(sampler: Any, picking: Picking) -> Sampler:
    if not hasattr(sampler, "varied"):
        raise UserError(
            f"verifier.judge: {type(sampler).__name__} cannot vary how it picks tokens",
            "leave temperature and pattern null, or use another sampler",
        )
    varied: Sampler = sampler.varied(picking)
    return varied


async def _attempt(call: Callable[[], Awaitable[Sequence[V]]]) -> Sequence[V]:
    """Calls the model, again with backoff if it fails."""

    async def once() -> Sequence[V]:  # tenacity awaits only what is declared with async
        return await call()

    retrying = AsyncRetrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(multiplier=0.1, max=10.0),
        retry=retry_if_exception(lambda error: isinstance(error, Exception) and not isinstance(error, UserError)),
        reraise=True,
    )
    try:
        return await retrying(once)
    except UserError:
        raise
    except Exception as error:
        raise VerifierError(f"the judge failed: {type(error).__name__}: {error} ({_ATTEMPTS} attempts)") from error
