"""Speculative rejection: best-of-N that drops what begins badly (arXiv 2410.20290)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context
from ponder.search.arguments import number, whole
from ponder.search.weights import Weight, probability, weighted
from ponder.types import Floats, Population, Problem


@dataclass(frozen=True)
class SpeculativeRejection:
    """Speculative rejection (Sun et al. 2024, arXiv 2410.20290); N is the number of solutions begun.

    n solutions grow step by step. At checkpoints the verifier scores them, and the worst of those still growing are
    dropped for good; solutions that ended stay. At the end all that are left compete by score, as in best-of-N.

    Args:
        n: solutions begun, from 1.
        reject: share of the growing ones that a checkpoint drops, rounded down, in [0, 1); one always stays. The
            paper's alpha, 0.5. At 0 this is best-of-N.
        every: steps from one checkpoint to the next, from 1. The paper's checkpoints are where GPU memory is full:
            a number of steps is our reading.
        weight: from scores to log-weights, a function of `search/weights.py`, as in best-of-N.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    reject: float = 0.5
    every: int = 2
    weight: Weight = probability

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("reject", self.reject, "[0, 1)")
        whole("every", self.every)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Grows, scores and drops until all left have ended; see `ponder.protocols.Strategy`."""
        population, steps = Population.start(problem, self.n), 0
        while population.alive:
            population = population.replace(traces=await ctx.step(population.traces))
            steps += 1
            ctx.report(population)
            if steps % self.every == 0 or not population.alive:
                scores = await ctx.score(population.traces)
                population = self._kept(weighted(population.traces, scores, self.weight), scores)
                ctx.report(population)
        return population

    def _kept(self, population: Population, scores: Floats) -> Population:
        """The population without the worst of those that still grow; of equal scores the later ones go first."""
        growing = [i for i, trace in enumerate(population.traces) if trace.alive]
        falling = sorted(growing, key=lambda i: -scores[i])
        stay = max(1, len(growing) - int(self.reject * len(growing) + 1e-9))  # .29 * 100 is 28.999999999999996
        gone = set(falling[stay:])
        kept = [i for i in range(len(population)) if i not in gone]
        return Population(tuple(population.traces[i] for i in kept), population.log_weights[kept])
