"""Self-consistency whose votes count by the model's own confidence (arXiv 2502.06233, 2203.11171)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ponder.context import Context
from ponder.search.arguments import number, whole
from ponder.search.uncertainty import mean_logprob
from ponder.types import Population, Problem


@dataclass(frozen=True)
class WeightedSelfConsistency:
    """Confidence-weighted self-consistency; N is the number of whole solutions.

    Solution i votes with weight exp(c_i / temperature), c_i being the mean log-probability of its tokens in nats. This
    is the softmax of CISC (Taubenfeld et al. 2025, arXiv 2502.06233), and at temperature 1 the normalised weighted sum
    of Wang et al. 2022 (arXiv 2203.11171). No verifier. `weighted_vote` uses the weights, `majority` does not.

    Args:
        n: solutions, from 1.
        temperature: above 0; inf makes all votes equal. A small one leaves the vote to the most confident solution.

    Raises:
        UserError: an argument out of range, or the sampler gives no log-probabilities.
    """

    n: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("temperature", self.temperature, "(0, inf]")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples n solutions and weighs them; see `ponder.protocols.Strategy`."""
        traces = await ctx.sample(problem, self.n)
        confidence = np.array([mean_logprob(trace) for trace in traces])
        population = Population.equal(traces).reweight(confidence / self.temperature)
        ctx.report(population)
        return population
