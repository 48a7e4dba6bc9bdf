"""NoThinking: the thought is over before it began, and many short answers vote (arXiv 2504.09858)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context
from ponder.search.arguments import whole
from ponder.search.asking import told
from ponder.types import Population, Problem, Trace


@dataclass(frozen=True)
class NoThinking:
    """NoThinking (Ma et al. 2025, arXiv 2504.09858); N is the number of solutions, which vote.

    Every reply begins with a thought that is over already, so that a reasoning model answers at once; what is saved
    buys more replies at the same time. Needs no verifier.

    Args:
        n: solutions, from 1.
        prefill: how a reply begins. Leave "<think>" out where the chat template writes it.

    Raises:
        UserError: n is no whole number from 1.
    """

    n: int
    prefill: str = "<think>\nOkay, I think I have finished thinking.\n</think>\n\n"

    def __post_init__(self) -> None:
        whole("n", self.n)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples n answers after the thought; see `ponder.protocols.Strategy`."""
        population = Population.equal(await ctx.sample(told(Trace(problem), self.prefill), self.n))
        ctx.report(population)
        return population
