"""Samplers without a model: scripted texts, and a toy language whose probabilities are known.

Both are pure functions of (seed, prefix), count what they emit, and obey `Until` as an engine does. One character is
one token; the end of sequence is one more, without text.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ponder.errors import SamplerError, UserError
from ponder.protocols import Until
from ponder.types import Cost, Probabilities, Step, Trace, Why

EOS = 0
"""Token id of the end of sequence; every other token id is its character's code point."""

Script = Callable[[Trace, int], Step | str]


@dataclass(frozen=True)
class _Token:
    text: str
    logprob: float | None = None

    @property
    def id(self) -> int:
        return ord(self.text) if self.text else EOS


_END = _Token("")


class _Sampler(ABC):
    """What the two share: cutting, counting, splitting, quoting.

    Attributes:
        requests: calls of `sample`.
        probes: calls of `probe`.
        new_tokens: tokens emitted, ends of sequence and probed tokens included.
        prompt_tokens: tokens of the prefixes sent, one prefix a request.
    """

    def __init__(self) -> None:
        self.requests = self.probes = self.new_tokens = self.prompt_tokens = 0

    @abstractmethod
    def _draw(self, trace: Trace, index: int, seed: int) -> Iterator[_Token] | Step:
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
        self.requests += 1
        prompt, steps = Cost(prompt_tokens=_prefix_tokens(trace)), []
        for index in range(n):
            drawn = self._draw(trace, index, seed)
            step = drawn if isinstance(drawn, Step) else _cut(drawn, until)
            cost = Cost(new_tokens=len(step.token_ids)) + (Cost() if index else prompt)
            steps.append(replace(step, cost=cost))
            self.new_tokens += cost.new_tokens
        self.prompt_tokens += prompt.prompt_tokens
        return steps

    async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Probabilities:
        """Next-token probability of each choice after trace + suffix, each in [0, 1]."""
        await asyncio.sleep(0)
        cost = Cost(prompt_tokens=_prefix_tokens(trace) + len(suffix), new_tokens=1)
        self.probes += 1
        self.new_tokens += cost.new_tokens
        self.prompt_tokens += cost.prompt_tokens
        return Probabilities(self._probabilities(trace, suffix, choices), cost)

    def quote(self, trace: Trace, tokens: int) -> Cost:
        """The most that one completion of `tokens` tokens can cost."""
        return Cost(prompt_tokens=_prefix_tokens(trace), new_tokens=tokens)

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
        tokens = [
            _Token("" if token == EOS else chr(token), logprob)
            for token, logprob in zip(step.token_ids, logprobs, strict=True)
        ]
        pieces: list[Step] = []
        while tokens:
            piece = _cut(iter(tokens), until)
            tokens = tokens[len(piece.token_ids) :]
            pieces.append(replace(piece, cost=Cost() if pieces else step.cost))
        if not pieces or pieces[-1].why == "eos":
            return pieces or [step]
        return [*pieces[:-1], replace(pieces[-1], why=step.why)]


class Scripted(_Sampler):
    """Plays given texts, or whatever a function says.

    A text is a whole solution. A request continues one of the texts that begin as the trace
    does, from where the trace stands; if none does (the trace was edited), a text is
    appended whole. The end of a text is an end of sequence.

    Args:
        texts: the solutions; or a function (trace, seed) -> Step or text. The i-th
            continuation of a request gets seed + i. A returned Step is played as it is (with
            its text's characters as tokens if it has none), a text is what follows the trace.
        order: "listed": the i-th continuation of a request plays the i-th fitting text,
            cyclically, whatever the seed. "seed": each is drawn uniformly, repeats of a text
            count as weight, by (seed, prefix, i).
        probabilities: what `probe` answers, one for each choice, in order; uniform if omitted.

    Raises:
        UserError: no texts, or an unknown order.

    Example:
        Scripted(["1 + 1 makes 2.", "1 + 1 makes 3."], order="seed")
    """

    def __init__(
        self,
        texts: Sequence[str] | Script,
        order: Literal["listed", "seed"] = "listed",
        probabilities: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(texts, str) or (not callable(texts) and not texts):
            raise UserError(f"sampler.texts={texts!r} holds no texts", "allowed: a list of one or more texts")
        if order not in ("listed", "seed"):
            raise UserError(f"sampler.order={order!r} is unknown", "allowed: listed, seed")
        self.texts = texts if callable(texts) else tuple(texts)
        self.order = order
        self.probabilities = probabilities

    def _draw(self, trace: Trace, index: int, seed: int) -> Iterator[_Token] | Step:
        if callable(self.texts):
            said = self.texts(trace, seed + index)
            return _with_tokens(said) if isinstance(said, Step) else _spell(said)
        rests = [t[len(trace.text) :] for t in self.texts if t.startswith(trace.text)] or list(self.texts)
        if self.order == "listed":
            return _spell(rests[index % len(rests)])
        return _spell(_random(seed, trace, index).choice(rests))

    def _probabilities(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        if self.probabilities is None:
            return [1.0 / len(choices)] * len(choices)
        if len(self.probabilities) != len(choices):
            raise SamplerError(f"Scripted has {len(self.probabilities)} probabilities for {len(choices)} choices")
        return self.probabilities


class ToyLanguage(_Sampler):
    """A Markov chain over characters: an exact language model, to test against closed form.

    Args:
        transitions: state -> next character -> probability. A state is the last character
            emitted, `start` at the beginning of a solution; `end` as next character ends it.
        start: the name of the initial state.
        end: the name of the end; it is emitted as the end-of-sequence token, without text.

    Raises:
        UserError: a row that does not sum to 1, has a negative entry, leads to a state
            without a row, or holds more than one character.

    Example:
        ToyLanguage({"^": {"a": 0.5, "b": 0.5}, "a": {"$": 1.0}, "b": {"a": 0.25, "$": 0.75}})
    """

    def __init__(self, transitions: Mapping[str, Mapping[str, float]], start: str = "^", end: str = "$") -> None:
        super().__init__()
        self.transitions = {state: dict(row) for state, row in transitions.items()}
        self.start = start
        self.end = end
        if start not in self.transitions:
            raise UserError(f"sampler.transitions has no row {start!r}", "add the probabilities of a first character")
        for state, row in self.transitions.items():
            self._check(state, row)

    def _check(self, state: str, row: Mapping[str, float]) -> None:
        key = f"sampler.transitions[{state!r}]"
        if any(p < 0 for p in row.values()) or not math.isclose(sum(row.values()), 1.0, abs_tol=1e-9):
            raise UserError(f"{key} = {dict(row)} is no distribution", "allowed: numbers from 0 that sum to 1")
        for token in row:
            if len(token) != 1:
                raise UserError(f"{key} leads to {token!r}", "allowed: single characters")
            if token != self.end and token not in self.transitions:
                raise UserError(f"{key} leads to {token!r}, which has no row", f"add sampler.transitions[{token!r}]")

    def _row(self, text: str) -> Mapping[str, float]:
        state = text[-1] if text else self.start
        if state not in self.transitions:
            raise SamplerError(f"ToyLanguage has no state {state!r}")
        return self.transitions[state]

    def _draw(self, trace: Trace, index: int, seed: int) -> Iterator[_Token]:
        return self._walk(trace.text, _random(seed, trace, index))

    def _walk(self, text: str, rng: random.Random) -> Iterator[_Token]:
        while True:
            row = self._row(text)
            (drawn,) = rng.choices(list(row), list(row.values()))
            text = "" if drawn == self.end else drawn
            yield _Token(text, math.log(row[drawn]))
            if drawn == self.end:
                return

    def _probabilities(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        row = self._row(trace.text + suffix)
        return [row.get(choice, 0.0) for choice in choices]

    def enumerate(self, longest: int = 64) -> list[tuple[str, float]]:
        """All finished solutions and their probabilities, in depth-first order.

        Args:
            longest: solutions of more characters are left out; in a language without
                cycles none is, and the probabilities sum to 1.

        Returns:
            (text, probability) pairs; one character is one token, the end has no text.
        """
        found: list[tuple[str, float]] = []

        def extend(text: str, probability: float) -> None:
            for token, p in self._row(text).items():
                if p > 0 and token == self.end:
                    found.append((text, probability * p))
                elif p > 0 and len(text) < longest:
                    extend(text + token, probability * p)

        extend("", 1.0)
        return found


def _spell(text: str) -> Iterator[_Token]:
    """The characters of a text, then the end of sequence."""
    yield from map(_Token, text)
    yield _END


def _with_tokens(step: Step) -> Step:
    """A step that has tokens: one for each character, and the end if it ended there."""
    if step.token_ids:
        return step
    ids = tuple(map(ord, step.text)) + ((EOS,) if step.why == "eos" else ())
    return replace(step, token_ids=ids)


def _cut(tokens: Iterator[_Token], until: Until) -> Step:
    """The first step of a stream of tokens."""
    taken: list[_Token] = []
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
    return Step(text, tuple(token.id for token in taken), logprobs, why)


def _prefix_tokens(trace: Trace) -> int:
    return len(trace.problem.prompt) + len(trace.token_ids)


def _random(seed: int, trace: Trace, index: int) -> random.Random:
    """A source of chance that depends on the request alone, stable across processes."""
    text = f"{seed}\0{index}\0{trace.problem.prompt}\0{trace.text}"
    return random.Random(hashlib.blake2b(text.encode(), digest_size=8).digest())
