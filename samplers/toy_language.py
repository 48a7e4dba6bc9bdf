"""A toy language whose probabilities are known: laws are tested on it against closed form."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ponder.errors import SamplerError, UserError
from ponder.samplers.characters import CharacterSampler, Token, chance, prefix_tokens
from ponder.types import Cost, Step, Trace


class ToyLanguage(CharacterSampler):
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
        """The next characters after a text; what the language never writes, a strategy's own words, is passed over."""
        return self.transitions[next((one for one in reversed(text) if one in self.transitions), self.start)]

    def _draw(self, trace: Trace, index: int, seed: int) -> Iterator[Token]:
        return self._walk(trace.text, chance(seed, trace, index))

    def _walk(self, text: str, rng: random.Random) -> Iterator[Token]:
        while True:
            row = self._row(text)
            chances = self._picked(row)
            (drawn,) = rng.choices(list(chances), list(chances.values()))
            text = "" if drawn == self.end else drawn
            top = sorted((math.log(p) for p in row.values() if p > 0), reverse=True)[: self._picking["top_logprobs"]]
            yield Token(text, math.log(row[drawn]), tuple(top))
            if drawn == self.end:
                return

    def _picked(self, row: Mapping[str, float]) -> dict[str, float]:
        """Weights of the next characters, after temperature and truncation."""
        picking = self._picking
        ranked = sorted((token for token in row if row[token] > 0), key=lambda token: -row[token])
        if picking["temperature"] == 0:
            return {ranked[0]: 1.0}
        weights = [row[token] ** (1 / picking["temperature"]) for token in ranked]
        shares = [weight / sum(weights) for weight in weights]
        kept = {
            token: share
            for i, (token, share) in enumerate(zip(ranked, shares, strict=True))
            if sum(shares[:i]) < picking["top_p"]
            and share >= picking["min_p"] * shares[0]
            and (i < picking["top_k"] or not picking["top_k"])
        }
        # In the row's order: at plain settings the draws are those of the row itself.
        return {token: kept[token] for token in row if token in kept}

    async def read(self, trace: Trace, step: Step) -> Step:
        """The step with the log-probability of each of its characters after the trace.

        Raises:
            SamplerError: the language cannot write this step here.
        """
        await asyncio.sleep(0)
        text, logprobs = trace.text, []
        for token in [*step.text, *([self.end] if step.why == "eos" else [])]:
            if not (p := self._row(text).get(token, 0.0)) > 0:
                raise SamplerError(f"ToyLanguage never writes {token!r} after {text!r}")
            logprobs.append(math.log(p))
            text += token
        cost = Cost(prompt_tokens=prefix_tokens(trace + step), new_tokens=1)
        self._book(cost)
        return replace(step, logprobs=tuple(logprobs), cost=cost)

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
