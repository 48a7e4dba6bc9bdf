"""What verifiers share that read several solutions beside each other: texts once, seeded orders, one bill."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

from ponder.errors import UserError
from ponder.protocols import Sampler
from ponder.types import Cost, Problem, Score, Step, Trace
from ponder.verifiers.judging import Judge

Decoding = Literal["free", "guided"]


class Judges:
    """A judge whose replies are free, or held to a form that depends on how many responses it reads.

    Args:
        judge: the model that is asked.
        max_tokens: the most tokens of a reply.
        temperature: of its replies, 0 is greedy; None keeps the sampler's.
        decoding: "free"; or "guided", which not every sampler can.
        form: from the number of responses to a regular expression that a whole reply matches.

    Raises:
        UserError: an argument out of range, or a judge that cannot do what is asked.
    """

    def __init__(
        self,
        judge: Sampler,
        max_tokens: int,
        temperature: float | None,
        decoding: Decoding,
        form: Callable[[int], str],
    ) -> None:
        self._make = partial(Judge, judge, max_tokens, temperature)
        self._form = form if one_of("decoding", decoding, ("free", "guided")) == "guided" else None
        self._known: dict[int, Judge] = {}
        self.of(1)  # what cannot be done is told at the start

    def of(self, count: int) -> Judge:
        """The judge of so many responses."""
        count = count if self._form else 1
        if count not in self._known:
            self._known[count] = self._make(self._form(count) if self._form else None)
        return self._known[count]


def said(trace: Trace) -> str:
    """What a judge reads of a trace: its text, without white space around it."""
    return trace.text.strip()


def candidates(traces: Sequence[Trace]) -> list[Trace]:
    """One trace for each different text, in the texts' own order, whatever that of the traces; none for no text."""
    texts = {said(trace): trace for trace in traces}
    return [texts[text] for text in sorted(texts) if text]


def shuffled(group: Sequence[Trace], turn: int = 0) -> list[Trace]:
    """`candidates` in another order, which depends on their texts and the turn alone."""
    digest = hashlib.blake2b(str(turn).encode(), digest_size=16)
    for trace in group:
        digest.update(b"\0" + said(trace).encode())
    order = list(group)
    random.Random(digest.digest()).shuffle(order)
    return order


def dealt(
    traces: Sequence[Trace],
    values: Mapping[str, float],
    neutral: float,
    cost: Cost | None = None,
    unread: Mapping[str, int] | None = None,
) -> list[Score]:
    """Scores of texts given to the traces that have them.

    A trace without text scores `neutral` while it can grow, and 0 if it ended: nobody's answer beats no answer.

    Args:
        traces: all that were to be compared.
        values: score by text, for each of `candidates`.
        neutral: of a trace that has yet to begin.
        cost: of the whole comparison; the first score carries it.
        unread: by text, judgements that could not be read.
    """
    scores = []
    for i, trace in enumerate(traces):
        value = values[said(trace)] if said(trace) else silent(trace, neutral)
        scores.append(Score(value, (), None if i else cost, (unread or {}).get(said(trace), 0)))
    return scores


def silent(trace: Trace, neutral: float) -> float:
    """The score of a trace without text: `neutral` while it can grow, 0 if it ended."""
    return neutral if trace.alive else 0.0


def longest(problem: Problem, tokens: int) -> Trace:
    """A text that stands for one of so many tokens which is not written yet, in a quote."""
    return Trace(problem, (Step(" x" * tokens),))


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """One of some names.

    Raises:
        UserError: it is another.
    """
    if value not in allowed:
        raise UserError(f"verifier.{name}={value!r} is unknown", f"allowed: {', '.join(allowed)}")
    return value
