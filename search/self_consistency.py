"""Self-consistency: sample whole solutions and let their answers vote (arXiv 2203.11171)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context
from ponder.search.arguments import whole
from ponder.types import Population, Problem


@dataclass(frozen=True)
class SelfConsistency:
    """Self-consistency (Wang et al. 2022, arXiv 2203.11171); N is the number of solutions.

    Needs no verifier: all weights are equal, and `majority` selects.

    Args:
        n: solutions, from 1.

    Raises:
        UserError: n is no whole number from 1.
    """

    n: int

    def __post_init__(self) -> None:
        whole("n", self.n)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples n solutions; see `ponder.protocols.Strategy`."""
        population = Population.equal(await ctx.sample(problem, self.n))
        ctx.report(population)
        return population
