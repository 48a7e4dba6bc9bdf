"""Beam search over solution steps, guided by a verifier (arXiv 2408.03314)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ponder.context import Context
from ponder.search.arguments import divides, whole
from ponder.search.lookahead import foresight
from ponder.search.weights import Weight, probability, weighted
from ponder.types import Floats, Population, Problem, Trace


@dataclass(frozen=True)
class BeamSearch:
    """Beam search and lookahead search (Snell et al. 2024, arXiv 2408.03314); N is the number of beams.

    All beams move one step; those that finish leave the beam; of the others the n / width best survive, and each
    goes on in `width` ways. The population holds the finished beams, weighted by their scores;
    `docs/beam_search.md` says where this differs from Hugging Face's search-and-learn.

    Args:
        n: beams that move in one round, from 1. The search ends when as many have finished, or none is alive.
        width: the paper's M: continuations of each survivor, a divisor of n. At 1 nothing is ever dropped: n plain
            samples.
        lookahead: steps from 0 that each beam is rolled on, greedily, before it is scored. The tokens are billed.
        weight: from the scores of finished beams to log-weights, a function of `search/weights.py`.

    Raises:
        UserError: an argument out of range, or a width that does not divide n.
    """

    n: int
    width: int = 4
    lookahead: int = 0
    weight: Weight = probability

    def __post_init__(self) -> None:
        whole("n", self.n)
        divides("width", self.width, self.n)
        whole("lookahead", self.lookahead, least=0)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Moves and prunes until n beams finished or none is alive; see `ponder.protocols.Strategy`."""
        beams, completed = [Trace(problem)] * self.n, list[Trace]()
        while True:
            beams = await ctx.step(beams)
            values = await foresight(ctx, beams, self.lookahead)
            completed += [beam for beam in beams if beam.finished]
            population = await self._population(ctx, completed, beams, values)
            ctx.report(population)
            live = [beams[i] for i in np.argsort(-values, kind="stable") if beams[i].alive]
            if not live or len(completed) >= self.n:
                return population
            beams = [beam for beam in live[: self.n // self.width] for _ in range(self.width)]

    async def _population(
        self, ctx: Context, completed: Sequence[Trace], beams: Sequence[Trace], values: Floats
    ) -> Population:
        """The finished beams, weighted by score, which is known; while there are none, all beams of the round."""
        traces, scores = (completed, await ctx.score(completed)) if completed else (beams, values)
        return weighted(traces, scores, self.weight)
