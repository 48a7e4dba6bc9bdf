"""Particle Gibbs: sweeps of particle filtering, each around a trace of the last one (arXiv 2502.01618)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context
from ponder.errors import UserError
from ponder.search.arguments import choice, divides, number, whole
from ponder.search.conditional_smc import Ancestors, ConditionalSMC, draw, pooled
from ponder.search.weights import Weight, telescoped
from ponder.types import Population, Problem, Trace


@dataclass(frozen=True)
class ParticleGibbs:
    """Particle Gibbs (Puri et al. 2025, arXiv 2502.01618; Andrieu, Doucet and Holenstein 2010).

    N is the number of particles of all sweeps together. The first sweep is sequential Monte
    Carlo; each later one contains a reference drawn from the final weights before, and
    n / iterations - 1 fresh particles. See `ConditionalSMC` for the target.

    The population holds the particles of all sweeps, each sweep with equal weight: the mean
    of the sweeps' estimates has a smaller variance than the last one alone (our reading).

    Args:
        n: particles of all sweeps, references included.
        iterations: sweeps; divides n. With more than one, each needs two particles or more.
        weight: from scores to log potentials. `telescoped` gives the target p(x) r(x) (our
            reading); `odds` as in the paper, and `probability`, make long solutions outweigh
            or underweigh short ones, as one potential stands for each step.
        temperature: divides the log potentials, above 0.
        ess_threshold: resample when the effective sample size falls below this part of a
            sweep's particles, in (0, 1].
        ancestors: what a resampling does to the reference's past: "kept" or "sampled" (PGAS).

    Raises:
        UserError: an argument out of range.
    """

    n: int
    iterations: int = 4
    weight: Weight = telescoped
    temperature: float = 1.0
    ess_threshold: float = 0.5
    ancestors: Ancestors = "kept"

    def __post_init__(self) -> None:
        whole("n", self.n)
        divides("iterations", self.iterations, self.n)
        if self.n == self.iterations > 1:
            raise UserError(
                f"search.iterations={self.iterations} leaves one particle a sweep of search.n={self.n}",
                f"allowed: n from {2 * self.iterations} on, or iterations=1: a reference alone never changes",
            )
        number("temperature", self.temperature, "(0, inf)")
        number("ess_threshold", self.ess_threshold, "(0, 1]")
        choice("ancestors", self.ancestors, ("kept", "sampled"))

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Sweeps, draws a reference, and sweeps again; see `ponder.protocols.Strategy`."""
        reference: Trace | None = None
        sweeps: list[Population] = []
        for _ in range(self.iterations):
            report = None if sweeps else ctx.report  # later on, finished sweeps say more than prefixes
            sweeps.append(await self.kernel.sweep(problem, ctx, reference, report))
            reference = draw(sweeps[-1], ctx.rng)
            population = pooled(sweeps)
            ctx.report(population)
        return population

    @property
    def kernel(self) -> ConditionalSMC:
        """One sweep."""
        particles = self.n // self.iterations
        return ConditionalSMC(particles, self.weight, self.temperature, self.ess_threshold, self.ancestors)
