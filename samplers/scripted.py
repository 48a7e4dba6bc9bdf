"""A sampler that plays given texts: for tests, and for trying a configuration without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from ponder.errors import SamplerError, UserError
from ponder.samplers.characters import CharacterSampler, Token, chance, spell, with_tokens
from ponder.types import Step, Trace

Script = Callable[[Trace, int], Step | str]


class Scripted(CharacterSampler):
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

    def _draw(self, trace: Trace, index: int, seed: int) -> Iterator[Token] | Step:
        if callable(self.texts):
            said = self.texts(trace, seed + index)
            return with_tokens(said) if isinstance(said, Step) else spell(said)
        rests = [t[len(trace.text) :] for t in self.texts if t.startswith(trace.text)] or list(self.texts)
        if self.order == "listed":
            return spell(rests[index % len(rests)])
        return spell(chance(seed, trace, index).choice(rests))

    def _probabilities(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        if self.probabilities is None:
            return [1.0 / len(choices)] * len(choices)
        if len(self.probabilities) != len(choices):
            raise SamplerError(f"Scripted has {len(self.probabilities)} probabilities for {len(choices)} choices")
        return self.probabilities
