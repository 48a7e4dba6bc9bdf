"""Asking a language model about solutions: what all verifiers share that judge by reading and writing.

A judge is any sampler; conf gives it as `judge: ${sampler}`, so that it shares the policy's engine, or another model.
What it reads and writes is booked on the verifier's account. Equal questions get equal replies, alone and in company:
a request's seed is made of its text.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from ponder.errors import SamplerError, UserError, VerifierError
from ponder.protocols import Picking, Sampler, Until
from ponder.types import Cost, Probabilities, Problem, Trace

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

    async def ask(self, message: str, n: int = 1) -> list[Trace]:
        """Asks one question n times.

        Returns:
            n replies: each `finished`, or cut at `max_tokens`. `bill` tells what they cost.

        Raises:
            VerifierError: the model failed, also when asked again.
        """
        trace = Trace(asked(message))

        async def once() -> Sequence[Any]:
            steps = await self.sampler.sample(trace, n, self.until, seed=_seed(message))
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

    def quote(self, message: str, n: int = 1) -> Cost:
        """The most that asking a question n times can cost, probing each reply included."""
        quote = getattr(self.sampler, "quote", None)
        tokens = self.until.max_tokens + 1
        one = quote(Trace(asked(message)), tokens) if quote else Cost(new_tokens=tokens)
        return booked(one * (2 * n))


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
    retrying = AsyncRetrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(multiplier=0.1, max=10.0),
        retry=retry_if_exception(lambda error: isinstance(error, Exception) and not isinstance(error, UserError)),
        reraise=True,
    )
    try:
        return await retrying(call)
    except UserError:
        raise
    except Exception as error:
        raise VerifierError(f"the judge failed: {type(error).__name__}: {error} ({_ATTEMPTS} attempts)") from error
