"""Power sampling: Metropolis-Hastings towards the model's own distribution, sharpened (arXiv 2510.14901)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ponder.context import Context
from ponder.protocols import Picking
from ponder.search.arguments import number, whole
from ponder.search.uncertainty import sum_logprob
from ponder.types import Population, Problem, Trace

MODEL = Picking(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0)
"""The model's own distribution: what is proposed has the probability that is reported."""


@dataclass(frozen=True)
class PowerSampling:
    """Power sampling (Karan and Du 2025, arXiv 2510.14901); N is the number of chains.

    Each chain tends to the distribution p(x)^alpha, where p is the model at temperature 1;
    no verifier is asked. A solution grows by blocks. After each block come Metropolis-Hastings
    moves: a cut is chosen uniformly among the steps so far, the suffix redrawn from the model
    up to the block's end, and the new trace x' accepted with probability min(1, A),

        log A = (alpha - 1) (log p(new suffix) - log p(old suffix)) + log(steps of x / steps of x').

    The last term is there because the numbers of steps, and so of cuts, may differ. A chain
    whose solution has ended after its block's moves is done.

    Our reading: blocks and cuts are counted in steps, not tokens, and the proposal has
    temperature 1 (the paper's has 1 / alpha), for which A needs no second set of probabilities.

    Args:
        n: independent chains, from 1; all solutions have equal weight.
        alpha: the power, above 0; 1 is plain sampling.
        block_steps: steps of a block, from 1.
        moves: Metropolis-Hastings moves after each block, from 0.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    alpha: float = 4.0
    block_steps: int = 4
    moves: int = 10

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("alpha", self.alpha, "(0, inf)")
        whole("block_steps", self.block_steps)
        whole("moves", self.moves, 0)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Drafts a block and moves, until all chains have ended; see `ponder.protocols.Strategy`."""
        done: list[Trace] = []
        chains, end = [Trace(problem)] * self.n, 0
        while chains:
            end += self.block_steps
            while any(_room(trace, end) for trace in chains):
                chains = await _step(chains, end, ctx)
                ctx.report(Population.equal([*done, *chains]))
            for _ in range(self.moves):
                chains = await self.move(chains, end, ctx)
            done += [trace for trace in chains if not trace.alive]
            chains = [trace for trace in chains if trace.alive]
            population = Population.equal([*done, *chains])
            ctx.report(population)
        return population

    async def move(self, chains: Sequence[Trace], end: int, ctx: Context) -> list[Trace]:
        """One Metropolis-Hastings move of each chain, in as many calls as the longest suffix has steps.

        Args:
            chains: traces of one step or more.
            end: the most steps of a proposal.
            ctx: this question's context.
        """
        cuts = ctx.rng.integers([len(trace) for trace in chains])
        proposals = [Trace(trace.problem, trace.steps[:cut]) for trace, cut in zip(chains, cuts, strict=True)]
        while any(_room(trace, end) for trace in proposals):
            proposals = await _step(proposals, end, ctx)
        points = ctx.rng.random(len(chains))
        moved = zip(chains, proposals, cuts, points, strict=True)
        return [new if np.log1p(-point) < self.log_ratio(old, new, cut) else old for old, new, cut, point in moved]

    def log_ratio(self, old: Trace, new: Trace, cut: int) -> float:
        """Log A of a trace that differs from the cut on."""
        gain = sum_logprob(new.steps[cut:]) - sum_logprob(old.steps[cut:])
        return (self.alpha - 1) * gain + float(np.log(len(old) / len(new)))


def _room(trace: Trace, end: int) -> bool:
    """Whether a trace has another step before it."""
    return trace.alive and len(trace) < end


async def _step(traces: Sequence[Trace], end: int, ctx: Context) -> list[Trace]:
    """Those that have room, one step on; all in one call."""
    grown = iter(await ctx.step([trace for trace in traces if _room(trace, end)], picking=MODEL))
    return [next(grown) if _room(trace, end) else trace for trace in traces]
