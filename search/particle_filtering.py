"""Particle filtering over solution steps, guided by a verifier (arXiv 2502.01618)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ponder.context import Context
from ponder.search.arguments import choice, number, whole
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
        final_temperature: above 0; the temperature moves there in a straight line, from the
            first round on, and stays. None keeps it constant.
        annealing_steps: rounds that this takes, from 1.
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
    final_temperature: float | None = None
    annealing_steps: int = 10
    finished: Literal["rescore", "absorb"] = "rescore"

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("ess_threshold", self.ess_threshold, "(0, 1]")
        number("temperature", self.temperature, "(0, inf)")
        if self.final_temperature is not None:
            number("final_temperature", self.final_temperature, "(0, inf)")
        whole("annealing_steps", self.annealing_steps)
        choice("finished", self.finished, ("rescore", "absorb"))

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Moves, weighs and resamples until all particles ended; see `ponder.protocols.Strategy`."""
        population = Population.start(problem, self.n)
        scores, rounds = np.ones(self.n), 0
        while population.alive:
            before, previous = population, scores
            population = population.replace(traces=await ctx.step(population.traces))
            scores = await ctx.score(population.traces)
            population = population.reweight(self._log_potentials(before, scores, previous, rounds))
            rounds += 1
            ctx.report(population)
            if population.alive and population.ess < self.ess_threshold * self.n:
                population = population.resample(self.resampling, ctx.rng)
                scores = await ctx.score(population.traces)  # the survivors' own: known, at no cost
        return population

    def _log_potentials(self, before: Population, scores: Floats, previous: Floats, rounds: int) -> Floats:
        """Log potential of each particle for the round just made, shape (n,)."""
        potentials = self.weight(scores, previous) / self._temperature(rounds)
        if self.finished == "rescore":
            return potentials
        return np.where([trace.alive for trace in before.traces], potentials, 0.0)

    def _temperature(self, rounds: int) -> float:
        """The temperature after so many rounds."""
        if self.final_temperature is None:
            return self.temperature
        way = min(1.0, rounds / self.annealing_steps)
        return (1 - way) * self.temperature + way * self.final_temperature
