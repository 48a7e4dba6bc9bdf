"""CHOPS: a judge writes a checklist for the question, then picks the best of all solutions (arXiv 2506.20544)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ponder.protocols import Sampler
from ponder.types import Cost, Score, Trace
from ponder.verifiers.comparing import Decoding, Judges, candidates, dealt, said, shuffled
from ponder.verifiers.judging import after_thought, bill, fraction, listed

PROMPT = """A user asked the question below, and got several responses. Find the best one.

Question:
{question}

{responses}

First write a checklist for this very question: a few short points, each on a line of its own, that a good response \
has to meet. Then hold all {count} responses against the checklist, and against each other. A response may be \
unfinished: then judge it as far as it goes. End with the number of the best response in double brackets, in this form:
Checklist:
- <point>
- <point>
Comparison: <where the responses differ, and which of them meets more points>
Best: [[<number>]]"""

_VERDICT = re.compile(r"\[\[\s*(?:Response\s*)?([0-9]+)\s*\]\]", re.IGNORECASE)


class CHOPS:
    """CHOPS (Khairi et al. 2025, arXiv 2506.20544): the judge's choice scores 1, all others 0.

    One question for all solutions of a problem. They stand in an order that is shuffled by their texts. If the reply
    names none of them, or was cut off before it did, all score 0.5 and the reply counts as unread. A single solution
    scores 1, and nobody is asked.

    Args:
        judge: the model that is asked; it must follow instructions.
        max_tokens: the most tokens of its reply.
        temperature: of the reply, 0 is greedy; None keeps the sampler's.
        decoding: "free"; or "guided": the reply is held to the form that was asked for (sampler=vllm can).
        neutral: score of a trace that has yet to begin.

    Raises:
        UserError: an argument out of range, or a judge that cannot do what is asked.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        max_tokens: int = 1024,
        temperature: float | None = 0.0,
        decoding: Decoding = "free",
        neutral: float = 0.5,
    ) -> None:
        fraction("neutral", neutral)
        self.neutral = neutral
        self.judges = Judges(judge, max_tokens, temperature, decoding, _form)
        self.judge = self.judges.of(1)

    async def compare(self, traces: Sequence[Trace]) -> list[Score]:
        """One score a trace, in {0, 0.5, 1} for those that have text.

        Raises:
            VerifierError: the judge failed.
        """
        order = shuffled(candidates(traces))
        if len(order) < 2:
            return dealt(traces, {said(trace): 1.0 for trace in order}, self.neutral)
        (reply,) = await self.judges.of(len(order)).ask(_message(order))
        choice = chosen(after_thought(reply), len(order))
        values = {said(trace): 0.5 if choice is None else float(i == choice) for i, trace in enumerate(order)}
        unread = dict.fromkeys(values, int(choice is None))
        return dealt(traces, values, self.neutral, bill([reply]), unread)

    def quote(self, traces: Sequence[Trace]) -> Cost:
        """The most that comparing these traces can cost."""
        order = shuffled(candidates(traces))
        return self.judge.quote(_message(order), suffix=None) if len(order) > 1 else Cost()


def chosen(reply: str, count: int) -> int | None:
    """The response that a reply settles on, from 0: the last number in double brackets; None if it is none of them."""
    found = _VERDICT.findall(reply)
    return int(found[-1]) - 1 if found and len(found[-1]) < 9 and 1 <= int(found[-1]) <= count else None


def _message(order: Sequence[Trace]) -> str:
    return PROMPT.format(question=order[0].problem.prompt, responses=listed(order), count=len(order))


def _form(count: int) -> str:
    """A reply as it was asked for, as a regular expression; so many words at most, so that it comes to its end."""
    numbers = "|".join(map(str, range(1, count + 1)))
    word = r"( [^ \n]+)"
    return rf"Checklist:\n(-{word}{{1,20}}\n){{2,6}}Comparison:{word}{{1,100}}\nBest: \[\[({numbers})\]\]"
