"""REBASE: reward-balanced search, which shares a budget among prefixes by reward (arXiv 2408.00724)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ponder.context import Context
from ponder.search.arguments import number, whole
from ponder.search.lookahead import foresight
from ponder.search.resampling import Indices
from ponder.search.weights import Weight, probability, weighted
from ponder.types import Floats, Population, Problem, Trace


def allocate(rewards: Floats, budget: int, temperature: float) -> Indices:
    """Shares a budget in proportion to exp(reward / temperature), in whole numbers that sum to it.

    Each gets its share rounded down; what is left goes to the largest remainders (Hamilton's method), of equal ones
    to the higher reward, then to the first. A higher reward never gets less.

    Args:
        rewards: shape (m,), finite, m from 1.
        budget: how many to share out, from 0.
        temperature: above 0; infinity shares evenly.

    Returns:
        Shape (m,), int64, from 0, summing to the budget.
    """
    weights = np.exp((rewards - rewards.max()) / temperature)
    expected = budget * weights / weights.sum()
    # Without the nudge, a share of 3 could stand as 2.9999999999999996 and go below its own round number.
    widths: Indices = np.floor(expected + 1e-9).astype(np.int64)
    left = budget - int(widths.sum())
    widths[np.lexsort((-rewards, widths - expected))[:left]] += 1
    return widths


@dataclass(frozen=True)
class Rebase:
    """REBASE, reward-balanced search (Wu et al. 2024, arXiv 2408.00724); N is the number of solutions.

    A round moves each prefix as many ways as its reward earns: W_i = B softmax(R_i / temperature), B being n less
    the solutions that finished. A prefix that earns nothing is dropped. The tree has n leaves in the end, which
    vote by score (`weighted_vote`).

    Args:
        n: solutions, and so steps drawn in the first round, from 1.
        temperature: the paper's balance temperature, above 0. Infinity shares evenly: n plain samples. Near 0 all
            goes to the best prefix.
        lookahead: steps from 0 that each prefix is rolled on, greedily, before it is scored (not in the paper). The
            tokens are billed.
        weight: from the scores of finished solutions to log-weights, a function of `search/weights.py`.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    temperature: float = 0.2
    lookahead: int = 0
    weight: Weight = probability

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("temperature", self.temperature, "(0, inf]")
        whole("lookahead", self.lookahead, least=0)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Moves prefixes by what they earn until all ended; see `ponder.protocols.Strategy`."""
        prefixes, completed = [Trace(problem)] * self.n, list[Trace]()
        while True:
            prefixes = await ctx.step(prefixes)
            rewards = await foresight(ctx, prefixes, self.lookahead)
            completed += [prefix for prefix in prefixes if prefix.finished]
            population = await self._population(ctx, completed, prefixes, rewards)
            ctx.report(population)
            live = [i for i, prefix in enumerate(prefixes) if prefix.alive]
            if not live:
                return population
            widths = allocate(rewards[live], self.n - len(completed), self.temperature)
            prefixes = [prefixes[i] for i in np.repeat(live, widths)]

    async def _population(
        self, ctx: Context, completed: Sequence[Trace], prefixes: Sequence[Trace], rewards: Floats
    ) -> Population:
        """The finished solutions, weighted by score, which is known; while there are none, all prefixes."""
        traces, scores = (completed, await ctx.score(completed)) if completed else (prefixes, rewards)
        return weighted(traces, scores, self.weight)
