"""What samplers without a model have in common: one character is one token.

They are pure functions of (seed, prefix), count what they emit, and obey `Until` as an engine does. The end of
sequence is one more token, without text.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

from ponder.errors import SamplerError
from ponder.protocols import Picking, Until
from ponder.types import Cost, Probabilities, Step, Trace, Why

EOS = 0
"""Token id of the end of sequence; every other token id is its character's code point."""


@dataclass(frozen=True)
class Token:
    """One character, or the end of sequence: that has no text.

    Attributes:
        text: the character.
        logprob: its log-probability, None if there is none.
        top: log-probabilities of the likeliest characters in its place, falling.
    """

    text: str
    logprob: float | None = None
    top: tuple[float, ...] = ()

    @property
    def id(self) -> int:
        """Its code point; EOS for the end."""
        return ord(self.text) if self.text else EOS


END = Token("")


class CharacterSampler(ABC):
    """What samplers without a model share: cutting, counting, splitting, quoting."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._picking: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "top_logprobs": 0}

    @property
    def requests(self) -> int:
        """Calls of `sample`, those of varied samplers included, as in all counts."""
        return self._counts["requests"]

    @property
    def probes(self) -> int:
        """Calls of `probe`."""
        return self._counts["probes"]

    @property
    def new_tokens(self) -> int:
        """Tokens emitted, ends of sequence and probed tokens included."""
        return self._counts["new_tokens"]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prefixes sent, one prefix a request."""
        return self._counts["prompt_tokens"]

    def varied(self, picking: Picking) -> Self:
        """This sampler with other picking; what has no probabilities plays on unchanged."""
        other = copy(self)
        other._picking = picking.over(self._picking)
        return other

    @abstractmethod
    def _draw(self, trace: Trace, index: int, seed: int) -> Iterator[Token] | Step:
        """Continuation number `index` of a request, token by token; or a ready step."""

    @abstractmethod
    def _probabilities(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        """Next-token probability of each choice."""

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        """Draws n continuations; see `ponder.protocols.Sampler`.

        Raises:
            SamplerError: the trace has ended already.
        """
        if trace.finished:
            raise SamplerError(f"{type(self).__name__} was asked to continue a finished trace")
        await asyncio.sleep(0)  # as with an engine, other coroutines run in between
        self._counts["requests"] += 1
        prompt, steps = Cost(prompt_tokens=prefix_tokens(trace)), []
        for index in range(n):
            drawn = self._draw(trace, index, seed)
            step = drawn if isinstance(drawn, Step) else cut(drawn, until)
            cost = Cost(new_tokens=len(step.token_ids)) + (Cost() if index else prompt)
            steps.append(replace(step, cost=cost))
            self._book(cost)
        return steps

    async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Probabilities:
        """Next-token probability of each choice after trace + suffix, each in [0, 1]."""
        await asyncio.sleep(0)
        cost = Cost(prompt_tokens=prefix_tokens(trace) + len(suffix), new_tokens=1)
        self._counts["probes"] += 1
        self._book(cost)
        return Probabilities(self._probabilities(trace, suffix, choices), cost)

    def _book(self, cost: Cost) -> None:
        self._counts["new_tokens"] += cost.new_tokens
        self._counts["prompt_tokens"] += cost.prompt_tokens

    def quote(self, trace: Trace, tokens: int) -> Cost:
        """The most that one completion of `tokens` tokens can cost."""
        return Cost(prompt_tokens=prefix_tokens(trace), new_tokens=tokens)

    def split(self, trace: Trace, step: Step, until: Until) -> list[Step]:
        """Cuts a whole solution into the steps that `until` would have made of it.

        Args:
            trace: the prefix that the solution continues.
            step: the solution; tokens and log-probabilities are kept.
            until: where one step ends.

        Returns:
            One or more steps with the same tokens in all; the first carries the cost.
        """
        logprobs: Sequence[float | None] = step.logprobs or [None] * len(step.token_ids)
        tops: Sequence[tuple[float, ...]] = step.top_logprobs or [()] * len(step.token_ids)
        tokens = [
            Token("" if token == EOS else chr(token), logprob, top)
            for token, logprob, top in zip(step.token_ids, logprobs, tops, strict=True)
        ]
        pieces: list[Step] = []
        while tokens:
            piece = cut(iter(tokens), until)
            tokens = tokens[len(piece.token_ids) :]
            pieces.append(replace(piece, cost=Cost() if pieces else step.cost))
        if not pieces or pieces[-1].why == "eos":
            return pieces or [step]
        return [*pieces[:-1], replace(pieces[-1], why=step.why)]


def spell(text: str) -> Iterator[Token]:
    """The characters of a text, then the end of sequence."""
    yield from map(Token, text)
    yield END


def with_tokens(step: Step) -> Step:
    """A step that has tokens: one for each character, and the end if it ended there."""
    if step.token_ids:
        return step
    ids = tuple(map(ord, step.text)) + ((EOS,) if step.why == "eos" else ())
    return replace(step, token_ids=ids)


def cut(tokens: Iterator[Token], until: Until) -> Step:
    """The first step of a stream of tokens."""
    taken: list[Token] = []
    text = ""
    why: Why = "length"
    while len(taken) < until.max_tokens:
        token = next(tokens, None)
        if token is None:
            break
        taken.append(token)
        text += token.text
        if not token.text:
            why = "eos"
            break
        if len(taken) == until.every or (until.stop and text.endswith(until.stop)):
            why = "stop"
            break
    logprobs = tuple(token.logprob for token in taken if token.logprob is not None)
    top = tuple(token.top for token in taken)
    return Step(text, tuple(token.id for token in taken), logprobs, why, top_logprobs=top if any(top) else ())


def prefix_tokens(trace: Trace) -> int:
    """Tokens of the prompt and of what follows it."""
    return len(trace.problem.prompt) + sum(len(step.token_ids) or len(step.text) for step in trace.steps)


def chance(seed: int, trace: Trace, index: int) -> random.Random:
    """A source of chance that depends on the request alone, stable across processes."""
    text = f"{seed}\0{index}\0{trace.problem.prompt}\0{trace.text}"
    return random.Random(hashlib.blake2b(text.encode(), digest_size=8).digest())
