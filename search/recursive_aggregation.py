"""Recursive self-aggregation: a population that rewrites itself from random subsets (arXiv 2509.26626)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.context import Context, gather
from ponder.search.arguments import whole
from ponder.search.asking import answering, follow_up, numbered
from ponder.types import Population, Problem, Trace

PROMPT = """{question}

Below are {count} attempts at this question. Some may be wrong, and each may have something right in it.

{attempts}

Compare them, keep what is right, mend what is wrong, and write one solution that is better than each of them."""


@dataclass(frozen=True)
class RecursiveAggregation:
    """Recursive self-aggregation (RSA, Venkatraman et al. 2025, arXiv 2509.26626); N is the size of the population.

    N solutions are sampled. In each round every member of the new population is written from a random subset of k
    members of the old one. The last population votes: all weights are equal. No verifier.

    Args:
        n: members of the population, from 1.
        k: members in a subset, from 1; n if n is less. The default 4 is recalled, not read, from the paper.
        rounds: how often the population rewrites itself, from 0, which is self-consistency. The default 10 is recalled,
            not read, from the paper.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    k: int = 4
    rounds: int = 10

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("k", self.k)
        whole("rounds", self.rounds, least=0)

    @property
    def instructed(self) -> str:
        """The role that is asked in words, and so needs a model that follows instructions."""
        return "policy"

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples a population and rewrites it; see `ponder.protocols.Strategy`."""
        population = Population.equal(await ctx.sample(problem, self.n))
        ctx.report(population)
        for t in range(self.rounds):
            members, size = population.traces, min(self.k, len(population))
            subsets = [ctx.rng.choice(len(members), size, replace=False) for _ in range(self.n)]
            written = [
                aggregated(problem, [members[j] for j in subset], ctx, f"round {t}.{i}")
                for i, subset in enumerate(subsets)
            ]
            population = Population.equal(await gather(written))
            ctx.report(population)
        return population


async def aggregated(
    problem: Problem, attempts: Sequence[Trace], ctx: Context, tag: str, role: str = "policy"
) -> Trace:
    """One solution written from several.

    Args:
        problem: what they solve.
        attempts: what the model sees beside the question.
        ctx: the question's context.
        tag: what tells this request from others about the same problem.
        role: who writes.
    """
    prompt = PROMPT.format(question=problem.prompt, count=len(attempts), attempts=numbered(attempts, "Attempt"))
    (reply,) = await ctx.sample(follow_up(problem, prompt, tag), 1, role=role)
    return answering(problem, reply)
