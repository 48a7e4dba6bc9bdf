"""Particle filtering over solution steps, guided by a verifier (arXiv 2502.01618)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ponder.context import Context
from ponder.errors import UserError
from ponder.search.resampling import systematic
from ponder.search.weights import Weight, odds
from ponder.types import Floats, Population, Problem, Scheme


@dataclass(frozen=True)
class ParticleFiltering:
    """Particle filtering (Puri et al. 2025, arXiv 2502.01618); N is the number of particles.

    A Feynman-Kac model: particles move by the language model, one step a round, and their
    weights are multiplied by the potential exp(weight(r_t) / temperature), r_t being the
    score of the solution so far. When the weights grow uneven the particles are resampled,
    and start again with equal weights. `ess_threshold=1` with `multinomial` is the paper's
    algorithm; `docs/particle_filtering.md` lists where our defaults differ.

    Args:
        n: particles, from 1.
        weight: from scores to log potentials, a function of `search/weights.py`: `odds` as
            in the paper, `probability` for r itself, `telescoped` for r_t / r_{t-1}.
        resampling: a function of `search/resampling.py`.
        ess_threshold: resample when the effective sample size falls below this part of n,
            in (0, 1]. At 1: whenever weights are not all equal.
        temperature: divides the log potentials, above 0.
        finished: what an ended particle does while others move on. "rescore": its last
            potential applies again each round, so that all particles carry equally many.
            "absorb": its weight stays.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    weight: Weight = odds
    resampling: Scheme = systematic
    ess_threshold: float = 0.5
    temperature: float = 1.0
    finished: Literal["rescore", "absorb"] = "rescore"

    def __post_init__(self) -> None:
        if not (isinstance(self.n, int) and self.n >= 1):
            raise UserError(f"search.n={self.n!r} is out of range", "allowed: a whole number from 1")
        if not 0 < self.ess_threshold <= 1:
            raise UserError(f"search.ess_threshold={self.ess_threshold} is out of range", "allowed: in (0, 1]")
        if not 0 < self.temperature < np.inf:
            raise UserError(f"search.temperature={self.temperature} is out of range", "allowed: above 0")
        if self.finished not in ("rescore", "absorb"):
            raise UserError(f"search.finished={self.finished!r} is unknown", "allowed: rescore, absorb")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Moves, weighs and resamples until all particles ended; see `ponder.protocols.Strategy`."""
        population = Population.start(problem, self.n)
        scores = np.ones(self.n)
        while population.alive:
            before, previous = population, scores
            population = population.replace(traces=await ctx.step(population.traces))
            scores = await ctx.score(population.traces)
            population = population.reweight(self._log_potentials(before, scores, previous))
            ctx.report(population)
            if population.alive and population.ess < self.ess_threshold * self.n:
                population = population.resample(self.resampling, ctx.rng)
                scores = await ctx.score(population.traces)  # the survivors' own: known, at no cost
        return population

    def _log_potentials(self, before: Population, scores: Floats, previous: Floats) -> Floats:
        """Log potential of each particle for the round just made, shape (n,)."""
        potentials = self.weight(scores, previous) / self.temperature
        if self.finished == "rescore":
            return potentials
        return np.where([trace.alive for trace in before.traces], potentials, 0.0)
