"""Diverse verifier tree search: independent greedy subtrees (Hugging Face 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ponder.context import Context
from ponder.search.arguments import divides, whole
from ponder.search.lookahead import foresight
from ponder.search.weights import Weight, probability, weighted
from ponder.types import Floats, Population, Problem, Trace


@dataclass(frozen=True)
class DVTS:
    """Diverse verifier tree search (Beeching, Tunstall and Rush 2024, no arXiv number); N is the number of candidates.

    Beam search cut into n / width subtrees that never see each other: in each, the best of `width` candidate steps
    is kept, so that a verifier's favourite cannot take over the whole search. Each subtree gives one trace, and the
    population weighs them by score. `width=n` is step-level best-of-n, `width=1` is n plain samples.

    Args:
        n: candidate steps drawn in one round by all subtrees together, from 1.
        width: candidate steps a subtree draws, M in the source; a divisor of n.
        lookahead: steps from 0 that each candidate is rolled on, greedily, before it is scored. The tokens are billed.
        weight: from the scores of the subtrees' traces to log-weights, a function of `search/weights.py`.

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
        """Grows each subtree by its best candidate until all ended; see `ponder.protocols.Strategy`."""
        population = Population.start(problem, self.n // self.width)
        while population.alive:
            candidates = await ctx.step(population.traces, self.width)
            values = await foresight(ctx, candidates, self.lookahead)
            chosen, scores = self._best(population.traces, candidates, values)
            population = weighted(chosen, scores, self.weight)
            ctx.report(population)
        return population

    def _best(
        self, subtrees: Sequence[Trace], candidates: Sequence[Trace], values: Floats
    ) -> tuple[tuple[Trace, ...], Floats]:
        """The best candidate of each subtree, the first of equals, with its value.

        A finished candidate competes by its score like any other. One cut by the token limit is a dead end, and
        comes after all others.
        """
        scored = iter(zip(candidates, values, strict=True))
        best = [
            max(
                islice(scored, self.width if subtree.alive else 1),
                key=lambda pair: (pair[0].alive or pair[0].finished, pair[1]),
            )
            for subtree in subtrees
        ]
        return tuple(trace for trace, _ in best), np.array([value for _, value in best], dtype=np.float64)
