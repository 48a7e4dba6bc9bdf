"""Open-ended prompts: a judge compares each answer with a reference answer; accuracy is the share of wins.

One row of a file of yours (made up; m-ArenaHard and another model's answers are easily brought to this form):

    {"id": "bread", "prompt": "Mein Brot geht nicht auf. Woran kann es liegen?",
     "reference": "Meist ist die Hefe zu alt oder das Wasser war zu heiß ...", "lang": "de", "category": "cooking"}

The protocol is that of Khairi et al. (arXiv 2506.20544): win rates against one model's answers, by pairwise judgements.
Question and verdicts follow Arena-Hard's judge (arXiv 2406.11939; lmarena/arena-hard-auto), in our own words.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from ponder.errors import UserError
from ponder.tasks.loading import Row, first, rows
from ponder.tasks.statement import outside
from ponder.types import Cost, Problem, Score, Trace

QUESTION = """Judge impartially which of two assistants answers the prompt below better. The order of the answers and \
their length do not count.

Begin with your own answer to the prompt. Then compare both answers with it. Name their mistakes and correct them. Say \
which one is more helpful, keeps closer to what is asked, and holds less that is beside the point; and what each \
leaves out. Read the answers as somebody who speaks the prompt's language: they should be written in it, unless the \
prompt asks for another.

End with exactly one of these verdicts:
[[A>>B]] A is much better
[[A>B]] A is slightly better
[[A=B]] they are about equally good
[[B>A]] B is slightly better
[[B>>A]] B is much better

[The Begin of the Prompt]
{prompt}
[The End of the Prompt]

[The Begin of Answer A]
{a}
[The End of Answer A]

[The Begin of Answer B]
{b}
[The End of Answer B]"""

WIN, TIE, LOSS = 1.0, 0.5, 0.0
_VERDICT = re.compile(r"\[\[(A>>?B|A=B|B>>?A)\]\]")
_META = ("category", "subject", "level", "lang")


class Judge(Protocol):
    """Who compares: a model that is asked in words, such as `ponder.verifiers.judging.Judge`."""

    async def ask(self, message: str) -> Sequence[Trace]:
        """One reply to a question, whose steps carry its cost."""


@dataclass(frozen=True)
class OpenEnded:
    """Prompts with reference answers; right is an answer that the judge prefers to the reference.

    Args:
        path: jsonl, jsonl.gz or parquet, each row with `prompt` and `reference`. `id` gives a row its name, else its
            number does; `category`, `subject`, `level` and `lang` go to the problem's `meta`.
        judge: who compares; it should follow instructions.
        orders: 1 shows each pair in one order, drawn by a hash of the problem's id and the answer; 2 in both, for two
            questions: a win then needs both, a loss too, and all else is a tie.
        limit: the first prompts only; None for all.

    Raises:
        UserError: no judge, an argument out of range, no file, or a row that is none (named with its line).
    """

    path: str | None = None
    judge: Judge | None = None
    orders: int = 1
    limit: int | None = None

    def __post_init__(self) -> None:
        if not callable(getattr(self.judge, "ask", None)):
            raise UserError(
                f"task.judge={self.judge!r} is no judge",
                "judge: {_target_: ponder.verifiers.judging.Judge, sampler: ${sampler}}",
            )
        if self.orders not in (1, 2):
            raise UserError(f"task.orders={self.orders!r} is out of range", "allowed: 1, or 2 to ask in both orders")
        first(self.limit)

    def problems(self) -> Sequence[Problem]:
        """The prompts in their order, as the rows have them."""
        return [
            Problem(id_, row["prompt"].strip(), {name: row[name] for name in _META if name in row})
            for id_, row in self._rows.items()
        ]

    def solution(self, problem: Problem) -> str:
        """The reference answer. It is not proven right: no answer is preferred to itself."""
        return str(self._rows[problem.id]["reference"])

    def answer(self, trace: Trace) -> str | None:
        """What a solution that has ended says outside its thoughts; None before, so that no beginnings are judged."""
        return None if trace.alive else outside(trace.text).strip() or None

    async def grade(self, problem: Problem, answer: str | None) -> Score:
        """1 if the judge prefers the answer to the reference, else 0, as for a tie; with what asking cost.

        Raises:
            VerifierError: the judge failed.
        """
        found = await self.preference(problem, answer)
        return Score(WIN if found == WIN else LOSS, cost=found.cost, unread=found.unread)

    async def preference(self, problem: Problem, answer: str | None) -> Score:
        """1 for a win over the reference, 1/2 for a tie, 0 for a loss: the mean over problems is the win rate.

        No answer has lost, and nobody is asked. So has one whose verdict cannot be read: the judge was cut off, gave
        none, or several that disagree; `unread` counts these.
        """
        if answer is None or not answer.strip():
            return Score(LOSS)
        turns = [True, False] if self.orders == 2 else [_first(problem.id, answer)]
        found = await asyncio.gather(*(self._compared(problem, answer, turn) for turn in turns))
        points = [LOSS if point is None else point for point, _ in found]
        value = points[0] if len(set(points)) == 1 else TIE
        return Score(value, cost=sum((cost for _, cost in found), Cost()), unread=[p for p, _ in found].count(None))

    async def _compared(self, problem: Problem, answer: str, leads: bool) -> tuple[float | None, Cost]:
        """What the answer gets when it is shown as A if it leads, else as B; None if the verdict cannot be read."""
        reference = str(self._rows[problem.id]["reference"]).strip()
        a, b = (answer, reference) if leads else (reference, answer)
        message = QUESTION.format(prompt=problem.prompt, a=a, b=b).encode(errors="replace").decode()
        assert self.judge is not None
        (reply,) = await self.judge.ask(message)
        point = verdict(outside(reply.text)) if reply.finished else None
        cost = sum((step.cost for step in reply.steps), Cost())
        return (point if point is None or leads else 1.0 - point), cost

    @cached_property
    def _rows(self) -> Mapping[str, Row]:
        found: dict[str, Row] = {}

        def check(row: Row) -> None:
            id_ = f"open_ended-{row.get('id', f'{len(found):05d}')}"
            if id_ in found:
                raise ValueError(f"the id {id_!r} is there twice")
            found[id_] = row

        rows(self.path, {"prompt": str, "reference": str}, check=check)
        return dict(list(found.items())[: self.limit])


def verdict(reply: str) -> float | None:
    """What A gets: 1, 1/2 or 0; None without a verdict, or with several that disagree."""
    found = {
        WIN if said.startswith("A>") else LOSS if said.startswith("B>") else TIE for said in _VERDICT.findall(reply)
    }
    return found.pop() if len(found) == 1 else None


def _first(id_: str, answer: str) -> bool:
    """Whether an answer is shown first: a coin that always falls the same way."""
    return hashlib.blake2b(f"{id_}\n{answer}".encode(errors="replace"), digest_size=1).digest()[0] % 2 == 0


__all__ = ["Judge", "OpenEnded", "verdict"]
