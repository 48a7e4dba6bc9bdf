"""Best-of-N: sample whole solutions, score each once, keep the best (arXiv 2110.14168)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context
from ponder.search.arguments import whole
from ponder.search.weights import Weight, probability, weighted
from ponder.types import Population, Problem


@dataclass(frozen=True)
class BestOfN:
    """Best-of-N (Cobbe et al. 2021, arXiv 2110.14168); N is the number of whole solutions.

    The population holds all n solutions, weighted by their scores: `argmax` selects the
    best one, `weighted_vote` sums the scores of equal answers (arXiv 2206.02336).

    Args:
        n: solutions, from 1.
        weight: from scores to log-weights, a function of `search/weights.py`. The default
            makes weights proportional to scores in [0, 1]; `exponential` takes any scores.

    Raises:
        UserError: n is no whole number from 1.
    """

    n: int
    weight: Weight = probability

    def __post_init__(self) -> None:
        whole("n", self.n)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples n solutions and scores them; see `ponder.protocols.Strategy`."""
        population = Population.equal(await ctx.sample(problem, self.n))
        ctx.report(population)
        scores = await ctx.score(population.traces)
        population = weighted(population.traces, scores, self.weight)
        ctx.report(population)
        return population
