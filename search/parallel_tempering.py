"""Parallel tempering: particle Gibbs chains at rising temperatures that swap references (arXiv 2502.01618)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ponder.context import Context
from ponder.errors import UserError
from ponder.search.arguments import choice, number, whole
from ponder.search.conditional_smc import Ancestors, ConditionalSMC, draw, pooled
from ponder.search.weights import Weight, telescoped
from ponder.types import Population, Problem, Trace


@dataclass(frozen=True)
class ParallelTempering:
    """Parallel tempering over particle Gibbs (Puri et al. 2025, arXiv 2502.01618).

    M chains, chain k with the target pi_k(x) proportional to p(x) exp(G(x) / T_k), see
    `ConditionalSMC`. After each round of sweeps neighbours propose to swap their references,
    accepted with probability min(1, pi_k(x_{k+1}) pi_{k+1}(x_k) / (pi_k(x_k) pi_{k+1}(x_{k+1}))):
    p cancels, and (G(x_{k+1}) - G(x_k)) (1 / T_k - 1 / T_{k+1}) is its logarithm. N is the
    number of particles of all sweeps of all chains together.

    The population holds the particles of all sweeps of the first chain, whose temperature is
    1, each sweep with equal weight.

    Args:
        n: particles of all chains and sweeps; a multiple of chains x iterations, at least
            two a sweep (one with iterations=1).
        temperatures: of the chains, rising from 1. The paper's are not known: ours.
        iterations: rounds of one sweep a chain.
        weight: from scores to log potentials; `telescoped` gives the target p(x) r(x) (our reading).
        ess_threshold: resample when the effective sample size falls below this part of a
            sweep's particles, in (0, 1].
        ancestors: what a resampling does to the reference's past: "kept" or "sampled" (PGAS).

    Raises:
        UserError: an argument out of range.
    """

    n: int
    temperatures: Sequence[float] = (1.0, 2.0)
    iterations: int = 4
    weight: Weight = telescoped
    ess_threshold: float = 0.5
    ancestors: Ancestors = "kept"

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("iterations", self.iterations)
        temperatures = list(self.temperatures)
        for temperature in temperatures:
            number("temperatures", temperature, "(0, inf)")
        if temperatures[:1] != [1.0] or any(cold >= hot for cold, hot in pairwise(temperatures)):
            raise UserError(f"search.temperatures={temperatures} is out of range", "allowed: 1.0, then rising numbers")
        sweeps = len(temperatures) * self.iterations
        least = sweeps if self.iterations == 1 else 2 * sweeps
        if self.n % sweeps or self.n < least:
            raise UserError(
                f"search.n={self.n} cannot be shared by {sweeps} sweeps, {len(temperatures)} temperatures "
                f"x {self.iterations} iterations",
                f"allowed: multiples of {sweeps} from {least} on, or fewer temperatures or iterations",
            )
        number("ess_threshold", self.ess_threshold, "(0, 1]")
        choice("ancestors", self.ancestors, ("kept", "sampled"))

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Sweeps all chains, swaps references, and sweeps again; see `ponder.protocols.Strategy`."""
        references: list[Trace | None] = [None] * len(self.temperatures)
        sweeps: list[Population] = []
        for _ in range(self.iterations):
            populations: list[Population] = []
            for chain, reference in zip(self.chains, references, strict=True):
                report = None if sweeps or populations else ctx.report
                populations.append(await chain.sweep(problem, ctx, reference, report))
            sweeps.append(populations[0])
            population = pooled(sweeps)
            ctx.report(population)
            references = list(await self.swapped([draw(population, ctx.rng) for population in populations], ctx))
        return population

    @property
    def chains(self) -> list[ConditionalSMC]:
        """One sweep of each chain, the coldest first."""
        particles = self.n // (len(self.temperatures) * self.iterations)
        return [
            ConditionalSMC(particles, self.weight, temperature, self.ess_threshold, self.ancestors)
            for temperature in self.temperatures
        ]

    async def swapped(self, references: Sequence[Trace], ctx: Context) -> list[Trace]:
        """The references after each pair of neighbours, coldest first, was offered a swap."""
        order = list(range(len(references)))
        total = await self.chains[0].total(references, ctx)
        for k, (cold, hot) in enumerate(pairwise(self.temperatures)):
            log_ratio = (total[order[k + 1]] - total[order[k]]) * (1 / cold - 1 / hot)
            if ctx.rng.random() < np.exp(min(0.0, log_ratio)):
                order[k], order[k + 1] = order[k + 1], order[k]
        return [references[i] for i in order]
