"""Self-certainty: rank solutions by how far the model was from guessing (arXiv 2502.18581)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ponder.context import Context
from ponder.search.arguments import number, whole
from ponder.search.uncertainty import TELLING, confidences
from ponder.types import Floats, Population, Problem, Trace


def certainty(trace: Trace) -> float:
    """Minus the mean log-probability of the likeliest tokens, averaged over the trace, in nats; 0 without tokens.

    Self-certainty is the divergence of the uniform distribution from the model's, -1/(nV) sum_i sum_j log(V p_ij), over
    the whole vocabulary V. Engines tell only the likeliest k tokens: we average over these, and leave out the constant
    log V, which no rank depends on.

    Args:
        trace: drawn with `picking=TELLING`.

    Raises:
        UserError: the sampler gave no log-probabilities of the likeliest tokens.
    """
    found = confidences(trace)
    return float(found.mean()) if len(found) else 0.0


@dataclass(frozen=True)
class SelfCertainty:
    """Self-certainty with Borda voting (Kang et al. 2025, arXiv 2502.18581); N is the number of whole solutions.

    The solution of rank r by certainty, 1 the most certain, has weight (N - r + 1)^power. `argmax` selects the most
    certain solution, `weighted_vote` is the Borda vote. No verifier. Equally certain solutions share the better rank.

    Args:
        n: solutions, from 1.
        power: from 0, where the vote is a plain majority. The paper: 0.3 for N = 8 up to 1.2 for N = 64.

    Raises:
        UserError: an argument out of range, or the sampler tells no likeliest tokens.
    """

    n: int
    power: float = 0.3

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("power", self.power, "[0, inf)")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples n solutions and ranks them; see `ponder.protocols.Strategy`."""
        traces = await ctx.sample(problem, self.n, picking=TELLING)
        certainties = np.array([certainty(trace) for trace in traces])
        population = Population.equal(traces).reweight(self.power * np.log(_votes(certainties)))
        ctx.report(population)
        return population


def _votes(certainties: Floats) -> Floats:
    """N - rank + 1 of each solution, in [1, N], shape (N,)."""
    ranks = rankdata(-certainties, method="min")
    return np.asarray(len(certainties) - ranks + 1, dtype=np.float64)
