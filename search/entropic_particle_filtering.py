"""Entropic particle filtering: resampling is softened early on, while weights are uneven (arXiv 2510.05825)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ponder.context import Context
from ponder.search.arguments import choice, number, whole
from ponder.search.resampling import entropy, systematic
from ponder.search.weights import Weight, odds, probability
from ponder.types import Floats, Population, Problem


def ess_temperature(evenness: float, progress: float) -> float:
    """Max(1, (1 - progress) / evenness).

    Args:
        evenness: effective sample size over n, in (0, 1].
        progress: steps made over the most steps, in [0, 1].

    Example:
        ess_temperature(0.2, 0.2) == 4.0
    """
    return max(1.0, (1.0 - progress) / evenness)


def entropy_temperature(evenness: float, progress: float) -> float:
    """1 / (evenness + (1 - evenness) progress), from 1.

    Args:
        evenness: entropy of the weights over log n, in [0, 1].
        progress: steps made over the most steps, in (0, 1].

    Example:
        entropy_temperature(0.5, 0.3) == 1 / 0.65
    """
    return max(1.0, 1.0 / (evenness + (1.0 - evenness) * progress))


@dataclass(frozen=True)
class EntropicParticleFiltering:
    """Entropic particle filtering (Giannone et al. 2025, arXiv 2510.05825); N is the number of particles.

    Particle filtering (`ParticleFiltering`) that resamples after each round by the latest
    scores, systematically. Early on a verifier that is too sure would leave the descendants of
    one particle: while progress t / max_steps is below `early_phase` and the effective sample
    size below `ess_threshold` n, the weights that resampling uses are raised to 1 / T. The
    tempering is not undone afterwards, as in its_hub: it softens the target itself.

    Args:
        n: particles, from 1.
        weight: from the latest scores to log potentials, a function of `search/weights.py`.
        form: how T follows from evenness and progress: `ess_temperature` or
            `entropy_temperature`. Either is used under the same condition on the effective
            sample size (our reading).
        base_temperature: divides all log potentials, above 0; T comes on top (our reading).
        ess_threshold: part of n, in (0, 1].
        early_phase: part of max_steps, in [0, 1]; 0 tempers never.
        lookahead: successors drawn of each particle before a resampling, from 0: look-ahead
            modulation. Our reading is the auxiliary particle filter (Pitt and Shephard 1999):
            their mean score multiplies the resampling weight and is divided out afterwards.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    weight: Weight = odds
    form: Literal["ess", "entropy"] = "ess"
    base_temperature: float = 1.0
    ess_threshold: float = 0.5
    early_phase: float = 0.5
    lookahead: int = 0

    def __post_init__(self) -> None:
        whole("n", self.n)
        choice("form", self.form, ("ess", "entropy"))
        number("base_temperature", self.base_temperature, "(0, inf)")
        number("ess_threshold", self.ess_threshold, "(0, 1]")
        number("early_phase", self.early_phase, "[0, 1]")
        whole("lookahead", self.lookahead, 0)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Moves, weighs and resamples until all particles ended; see `ponder.protocols.Strategy`."""
        population, rounds = Population.start(problem, self.n), 0
        while population.alive:
            population = population.replace(await ctx.step(population.traces))
            scores = await ctx.score(population.traces)
            population = population.reweight(self.weight(scores, np.ones(self.n)) / self.base_temperature)
            rounds += 1
            ctx.report(population)
            if population.alive:
                population = await self._resampled(population, rounds / ctx.max_steps, ctx)
        return population

    async def _resampled(self, population: Population, progress: float, ctx: Context) -> Population:
        """n particles drawn by tempered weight and guide; they start with what corrects for the guide."""
        guide = await self._log_guide(population, ctx)
        tempered = population.log_weights / self.temperature(population, progress) + guide
        drawn_by = replace(population, log_weights=tempered)
        chosen = systematic(drawn_by.weights, self.n, ctx.rng)
        return Population(tuple(population.traces[i] for i in chosen), -guide[chosen], drawn_by.evidence)

    def temperature(self, population: Population, progress: float) -> float:
        """T of the resampling that follows, from 1.

        Args:
            population: weighted particles.
            progress: steps made over the most steps, in (0, 1].
        """
        evenness = population.ess / len(population)
        if evenness >= self.ess_threshold or progress >= self.early_phase:
            return 1.0
        if self.form == "ess":
            return ess_temperature(evenness, progress)
        return entropy_temperature(entropy(population.weights), progress)

    async def _log_guide(self, population: Population, ctx: Context) -> Floats:
        """Log of the mean score of each particle's successors, shape (n,); 0 without look-ahead."""
        if not self.lookahead:
            return np.zeros(len(population))
        successors = await ctx.step(population.traces, self.lookahead)
        scores = await ctx.score(successors)
        ends = np.cumsum([self.lookahead if trace.alive else 1 for trace in population.traces])
        return probability(np.array([part.mean() for part in np.split(scores, ends[:-1])]))
