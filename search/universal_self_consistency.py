"""Universal self-consistency: ask a model which solution most of them agree with (arXiv 2311.17311)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ponder.context import Context
from ponder.search.arguments import whole
from ponder.search.asking import named, numbered, question
from ponder.search.lookahead import GREEDY
from ponder.types import Answer, Population, Problem, Trace

PROMPT = """Below are a question and {count} solutions, which may differ.

Question:
{question}

{solutions}

Which of these solutions do the others agree with most? Compare what they conclude, and settle on the one that the \
majority supports. End your reply with "Solution" and its number."""


@dataclass(frozen=True)
class UniversalSelfConsistency:
    """Universal self-consistency (Chen et al. 2023, arXiv 2311.17311); N is the number of whole solutions.

    All solutions go into one question, and a model names the one that agrees with most others. So free texts can be
    voted on, which no two solutions share word for word. The named one gets all but a trace of the weight: `argmax` and
    `weighted_vote` select it, `majority` still counts answers. No verifier.

    Needs a model that follows instructions. If its reply names no solution, the first one with the most frequent answer
    is chosen, and without any answer the first solution.

    Args:
        n: solutions, from 1; with 1 nobody is asked.
        judge: the role of the model that is asked, at temperature 0: "policy", or one that is bound under `roles`.

    Raises:
        UserError: n is no whole number from 1, or nobody is bound to the role.
    """

    n: int
    judge: str = "policy"

    def __post_init__(self) -> None:
        whole("n", self.n)

    @property
    def instructed(self) -> str:
        """The role that is asked in words, and so needs a model that follows instructions."""
        return self.judge

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples n solutions and has one chosen; see `ponder.protocols.Strategy`."""
        traces = await ctx.sample(problem, self.n)
        ctx.report(Population.equal(traces))
        candidates = [trace for trace in traces if trace.finished] or traces
        chosen = candidates[0]
        if len(candidates) > 1:
            prompt = PROMPT.format(count=len(candidates), question=problem.prompt, solutions=numbered(candidates))
            asked = question(problem, prompt, "consistent")
            (reply,) = await ctx.sample(asked, 1, role=self.judge, picking=GREEDY)
            choice = named(reply.text, len(candidates))
            chosen = plurality(candidates, candidates, ctx.answer) if choice is None else candidates[choice]
        population = favouring(traces, [chosen])
        ctx.report(population)
        return population


def plurality(candidates: Sequence[Trace], voters: Sequence[Trace], answer: Answer) -> Trace:
    """The candidate whose answer most voters have; the first of several; without any answer the first.

    Args:
        candidates: at least one.
        voters: those whose answers count; the candidates, or more.
        answer: a trace's answer in canonical form, None if it has none.
    """
    answers = [answer(trace) for trace in voters]
    counts = Counter(one for one in answers if one is not None)
    return max(candidates, key=lambda trace: counts[one] if (one := answer(trace)) is not None else 0)


def favouring(traces: Sequence[Trace], chosen: Collection[Trace]) -> Population:
    """Traces of which the chosen ones, and those equal to them, weigh a billion times as much as the others."""
    return Population(tuple(traces), np.where([trace in chosen for trace in traces], 0.0, np.log(1e-9)))
