"""Generative selection: a model reads candidates and picks the best, in knock-out rounds (arXiv 2507.17797)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.context import Context, gather
from ponder.search.arguments import whole
from ponder.search.asking import named, numbered, question
from ponder.search.universal_self_consistency import favouring, plurality
from ponder.types import Population, Problem, Trace

PROMPT = """You are given a question and {count} attempts to solve it. Some may be wrong.

Question:
{question}

{solutions}

Check the attempts against each other and against the question: where do they part, and who is right there? Then pick \
the best attempt. End your reply with "Solution" and its number."""


@dataclass(frozen=True)
class GenSelect:
    """GenSelect (Toshniwal et al. 2025, arXiv 2507.17797) as a knock-out; N is the number of whole solutions.

    In each round the solutions still in play are put together in groups, a model reads each group in one question and
    picks its best, and the picked ones go on until one is left. It gets all but a trace of the weight: `argmax` and
    `weighted_vote` select it, `majority` still counts answers. No verifier.

    Needs a model that follows instructions. Where a reply names no solution, the one of the group goes on whose answer
    most of all candidates have, and without any answer the first. A judge who never names one makes this a majority.

    Args:
        n: solutions, from 1; with 1 nobody is asked.
        group: solutions in one question, from 2; a group of one goes on unasked.
        judge: the role of the model that is asked: "policy", or one that is bound under `roles`.

    Raises:
        UserError: an argument out of range, or nobody is bound to the role.
    """

    n: int
    group: int = 8
    judge: str = "policy"

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("group", self.group, least=2)

    @property
    def instructed(self) -> str:
        """The role that is asked in words, and so needs a model that follows instructions."""
        return self.judge

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples n solutions and lets them compete; see `ponder.protocols.Strategy`."""
        traces = await ctx.sample(problem, self.n)
        population = Population.equal(traces)
        ctx.report(population)
        candidates = [trace for trace in traces if trace.finished] or traces
        playing, rounds = candidates, 0
        while len(playing) > 1:
            rounds += 1
            groups = [playing[i : i + self.group] for i in range(0, len(playing), self.group)]
            questions = [self._best(group, candidates, f"{rounds}.{i}", ctx) for i, group in enumerate(groups)]
            playing = await gather(questions)
            population = favouring(traces, playing)
            ctx.report(population)
        return population

    async def _best(self, group: Sequence[Trace], candidates: Sequence[Trace], tag: str, ctx: Context) -> Trace:
        """The one of a group of candidates that goes on."""
        if len(group) == 1:
            return group[0]
        problem = group[0].problem
        prompt = PROMPT.format(count=len(group), question=problem.prompt, solutions=numbered(group))
        (reply,) = await ctx.sample(question(problem, prompt, f"select-{tag}"), 1, role=self.judge)
        choice = named(reply.text, len(group))
        return plurality(group, candidates, ctx.answer) if choice is None else group[choice]
