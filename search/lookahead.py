"""Lookahead: judge a prefix by where it leads (Snell et al. 2024, arXiv 2408.03314)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ponder.context import Context
from ponder.protocols import Picking
from ponder.types import Floats, Trace

GREEDY = Picking(temperature=0.0)


async def foresee(ctx: Context, traces: Sequence[Trace], steps: int) -> list[Trace]:
    """Each trace rolled `steps` steps on at temperature 0; ended ones stay. The tokens are billed.

    Raises:
        UserError: `steps` is above 0 and the sampler cannot vary its temperature.
    """
    ahead = list(traces)
    for _ in range(steps):
        ahead = await ctx.step(ahead, picking=GREEDY)
    return ahead


async def foresight(ctx: Context, traces: Sequence[Trace], steps: int) -> Floats:
    """Scores of the traces after `steps` further steps, shape (len(traces),); 0 steps is the plain score.

    Equal traces lead to the same place: they are rolled on once.
    """
    distinct = list(dict.fromkeys(traces))
    scores = dict(zip(distinct, await ctx.score(await foresee(ctx, distinct, steps)), strict=True))
    return np.array([scores[trace] for trace in traces], dtype=np.float64)
