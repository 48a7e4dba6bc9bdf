"""Conditional sequential Monte Carlo: a sweep of particles that keeps one given trace (Andrieu et al. 2010)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from ponder.context import Context, gather
from ponder.search.resampling import multinomial
from ponder.search.uncertainty import sum_logprob
from ponder.search.weights import Weight, telescoped
from ponder.types import Floats, Population, Problem, Step, Trace

Ancestors = Literal["kept", "sampled"]


@dataclass(frozen=True)
class ConditionalSMC:
    """The kernel of particle Gibbs (Andrieu, Doucet and Holenstein 2010, JRSS B 72(3)).

    The target is pi(x) proportional to p(x) exp(G(x) / temperature), where p is the language
    model and G(x) the sum of weight(r_t, r_{t-1}) over the steps of x. An ended trace
    absorbs: it takes part in resampling, and its potential is 1 from then on, so that the
    target does not depend on when other particles end. A reference drawn from pi, swept, and
    redrawn from the final weights is again distributed as pi, whatever the number of particles.

    The reference is particle 0. It survives each resampling, competes with its weight at the
    same step as the others, and is never sampled again.

    Resampling may wait until weights are uneven: the decision looks at the weights alone, in
    no order, so that given the reference's own path it says nothing of where the reference
    stands, and the sweep leaves pi invariant all the same.

    Args:
        particles: of a sweep, the reference included.
        weight: from scores to log potentials, a function of `search/weights.py`.
        temperature: divides the log potentials, above 0.
        ess_threshold: resample when the effective sample size is below this part of the particles.
        ancestors: "kept": the reference keeps its past. "sampled": at each resampling its
            past is drawn anew among the particles (PGAS, Lindsten, Jordan and Schoen 2014,
            arXiv 1401.0604). Exact for a sampler at temperature 1 without truncation, as
            `Context.read` gives the model's own probabilities.
    """

    particles: int
    weight: Weight = telescoped
    temperature: float = 1.0
    ess_threshold: float = 0.5
    ancestors: Ancestors = "kept"

    async def sweep(
        self,
        problem: Problem,
        ctx: Context,
        reference: Trace | None = None,
        report: Callable[[Population], None] | None = None,
    ) -> Population:
        """Moves all particles to their ends.

        Args:
            problem: the question.
            ctx: this question's context.
            reference: an ended trace to condition on; None for plain sequential Monte Carlo.
            report: called with the population of each round.

        Returns:
            The weighted particles, the reference first.
        """
        population = Population.start(problem, self.particles)
        while population.alive:
            if population.ess < self.ess_threshold * self.particles:
                population, reference = await self._resampled(population, reference, ctx)
            before = population.traces
            population = population.replace(await self._moved(before, reference, ctx))
            population = population.reweight(await self._log_potentials(before, population.traces, ctx))
            if report:
                report(population)
        return population

    async def total(self, traces: Sequence[Trace], ctx: Context, after: int = 0) -> Floats:
        """G of each trace at temperature 1, shape (len(traces),): the steps after the first `after` ones."""
        paths = [[upto(trace, steps) for steps in range(after, len(trace) + 1)] for trace in traces]
        await _scores([prefix for path in paths for prefix in path], ctx)  # one batch; below all are known
        scores = [await _scores(path, ctx) for path in paths]
        return np.array([np.sum(self.weight(r[1:], r[:-1])) if len(r) > 1 else 0.0 for r in scores])

    async def _moved(self, traces: Sequence[Trace], reference: Trace | None, ctx: Context) -> list[Trace]:
        """Each particle one step on; the reference along its own path, at no cost."""
        if reference is None:
            return await ctx.step(traces)
        return [upto(reference, len(traces[0]) + 1), *await ctx.step(traces[1:])]

    async def _log_potentials(self, before: Sequence[Trace], after: Sequence[Trace], ctx: Context) -> Floats:
        """Log potential of the step just made, 0 for particles that had ended before; shape (particles,)."""
        potentials = self.weight(await _scores(after, ctx), await _scores(before, ctx)) / self.temperature
        return np.where([trace.alive for trace in before], potentials, 0.0)

    async def _resampled(
        self, population: Population, reference: Trace | None, ctx: Context
    ) -> tuple[Population, Trace | None]:
        """Conditional multinomial resampling; also the reference, whose past may have changed."""
        if reference is None:
            return population.resample(multinomial, ctx.rng), None
        others = multinomial(population.weights, self.particles - 1, ctx.rng)
        own = 0
        # A truncated reference keeps its past: where a limit cuts depends on the past's length.
        if self.ancestors == "sampled" and population.traces[0].alive and reference.finished:
            own, reference = await self._ancestor(population, reference, ctx)
        traces = tuple(population.traces[i] for i in (own, *others))
        return Population(traces, np.zeros(self.particles), population.evidence), reference

    async def _ancestor(self, population: Population, reference: Trace, ctx: Context) -> tuple[int, Trace]:
        """A past for the rest of the reference, and the reference with it.

        Drawn with probability proportional to w^i p(rest | prefix_i) exp(G(rest | prefix_i) / temperature).
        """
        done = len(population.traces[0])
        rest = reference.steps[done:]
        able = [i for i, trace in enumerate(population.traces) if trace.alive]  # an ended one has no rest
        prefixes = [population.traces[i] for i in able]
        joined = [Trace(reference.problem, (*prefix.steps, *rest)) for prefix in prefixes]
        log_chances = population.log_weights[able] + await _likelihood(prefixes, _merged(rest), ctx)
        log_chances += await self.total(joined, ctx, after=done) / self.temperature
        drawn = int(multinomial(np.exp(log_chances - log_chances.max()), 1, ctx.rng)[0])
        return able[drawn], joined[drawn]


def upto(trace: Trace, steps: int) -> Trace:
    """The first steps of a trace; itself from its full length on."""
    return trace if steps >= len(trace) else Trace(trace.problem, trace.steps[:steps])


def draw(population: Population, rng: np.random.Generator) -> Trace:
    """One trace by weight."""
    return population.traces[int(multinomial(population.weights, 1, rng)[0])]


def pooled(sweeps: Sequence[Population]) -> Population:
    """The particles of several sweeps together, each sweep of equal weight.

    Each sweep of a chain that has converged gives an unbiased estimate of any expectation
    under the target, and so does their mean. The evidence is the first sweep's: those that
    follow a reference estimate none.
    """
    even = [sweep.log_weights - logsumexp(sweep.log_weights) + np.log(len(sweep)) for sweep in sweeps]
    return Population(
        tuple(trace for sweep in sweeps for trace in sweep.traces), np.concatenate(even), sweeps[0].evidence
    )


async def _scores(traces: Sequence[Trace], ctx: Context) -> Floats:
    """Scores, 1 before the first step; shape (len(traces),)."""
    found = iter(await ctx.score([trace for trace in traces if trace.steps]))
    return np.array([next(found) if trace.steps else 1.0 for trace in traces])


async def _likelihood(prefixes: Sequence[Trace], rest: Step, ctx: Context) -> Floats:
    """Log-probability of the rest after each prefix; equal prefixes share a request."""
    distinct = list(dict.fromkeys(prefixes))
    read = await gather(ctx.read(prefix, rest) for prefix in distinct)
    told = {prefix: sum_logprob([step]) for prefix, step in zip(distinct, read, strict=True)}
    return np.array([told[prefix] for prefix in prefixes])


def _merged(steps: Sequence[Step]) -> Step:
    """Several steps as one."""
    tokens = tuple(token for step in steps for token in step.token_ids)
    return Step("".join(step.text for step in steps), tokens, why=steps[-1].why)
