"""Asking a model about candidates: a prompt of our own, and what is found in its reply."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace

from ponder.context import Context, gather
from ponder.types import Population, Problem, Step, Trace


def question(about: Problem, prompt: str, tag: str) -> Problem:
    """A prompt that a strategy asks of its own, sent without the question template.

    Args:
        about: the problem that it concerns.
        prompt: the whole message.
        tag: what tells this question from others about the same problem.
    """
    return Problem(f"{about.id}/{tag}", prompt, about.meta, verbatim=True)


def follow_up(about: Problem, prompt: str, tag: str) -> Problem:
    """A prompt that shall be answered as the problem is: the question template, which says how, stays around it.

    Args:
        about: the problem that is solved.
        prompt: what stands in place of its question.
        tag: what tells this question from others about the same problem.
    """
    return Problem(f"{about.id}/{tag}", prompt, about.meta)


def answering(problem: Problem, reply: Trace) -> Trace:
    """A reply to a follow-up as a solution of the problem itself, for verifiers, votes and rows."""
    return replace(reply, problem=problem)


def told(trace: Trace, text: str) -> Trace:
    """A trace with words put into the model's mouth; it goes on after them, also if it had ended."""
    if trace.steps and trace.steps[-1].why == "eos":
        trace = replace(trace, steps=(*trace.steps[:-1], Step(trace.steps[-1].text)), closed=False)
    return replace(trace, steps=(*trace.steps, Step(text)))


async def pooled(ctx: Context, parts: Mapping[str, Awaitable[list[Trace]]]) -> list[Trace]:
    """Solutions of several requests at once, in the order of the parts.

    What there is of all is reported as each part comes in, so that a budget which ends between them leaves it.
    """
    drawn: dict[str, list[Trace]] = {name: [] for name in parts}

    async def one(name: str, part: Awaitable[list[Trace]]) -> None:
        drawn[name] = await part
        ctx.report(Population.equal([trace for traces in drawn.values() for trace in traces]))

    await gather(one(name, part) for name, part in parts.items())
    return [trace for traces in drawn.values() for trace in traces]


def numbered(candidates: Sequence[Trace], name: str = "Solution") -> str:
    """Candidates under headings "Solution 1", "Solution 2", ..., a blank line between them."""
    return "\n\n".join(f"{name} {i}:\n{trace.text.strip()}" for i, trace in enumerate(candidates, start=1))


def named(reply: str, count: int, name: str = "Solution") -> int | None:
    """The candidate that a reply settles on, from 0: the last one named by number; None if there is none.

    A reply that is only a number counts as well.
    """
    found = re.findall(rf"{name}\s*\#?\**\s*(\d+)", reply, flags=re.IGNORECASE) or re.findall(
        r"^\W*(\d+)\W*$", reply.strip()
    )
    inside = [int(digits) for digits in found if 1 <= int(digits) <= count]
    return inside[-1] - 1 if inside else None
