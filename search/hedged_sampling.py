"""Hedged sampling: one greedy solution among warmer ones (arXiv 2506.20544)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context
from ponder.protocols import Picking
from ponder.search.arguments import number, whole
from ponder.search.lookahead import GREEDY
from ponder.search.weights import Weight, weighted
from ponder.types import Population, Problem


@dataclass(frozen=True)
class HedgedSampling:
    """Hedged sampling (Khairi et al. 2025, arXiv 2506.20544); N is the number of whole solutions.

    One solution at temperature 0, n - 1 at one moderate temperature with the min-p filter: the greedy one is the
    hedge where the model gets worse as it gets warmer. All weights are equal, and `majority` selects; with `weight` a
    verifier does: the paper's are X-MBR and CHOPS.

    Args:
        n: solutions, from 1; 1 is the greedy one alone.
        temperature: of the others, above 0.
        min_p: least probability of their tokens relative to the likeliest one's, in [0, 1]. The paper uses the filter
            without saying its value: 0.1 is our reading.
        weight: from a verifier's scores to log-weights, a function of `search/weights.py`; None asks no verifier.

    Raises:
        UserError: an argument out of range, or the sampler cannot vary its temperature.
    """

    n: int
    temperature: float = 0.7
    min_p: float = 0.1
    weight: Weight | None = None

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("temperature", self.temperature, "(0, inf)")
        number("min_p", self.min_p, "[0, 1]")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples one greedy and n - 1 warm solutions; see `ponder.protocols.Strategy`."""
        traces = await ctx.sample(problem, 1, picking=GREEDY)
        ctx.report(Population.equal(traces))
        if self.n > 1:
            warm = Picking(temperature=self.temperature, min_p=self.min_p)
            traces += await ctx.sample(problem, self.n - 1, picking=warm)
        population = Population.equal(traces)
        ctx.report(population)
        if self.weight is not None:
            population = weighted(traces, await ctx.score(traces), self.weight)
            ctx.report(population)
        return population
