"""Uncertainty-guided chain of thought: branch only where the model is unsure (arXiv 2503.15341)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import entr

from ponder.context import Context
from ponder.errors import UserError
from ponder.protocols import Picking
from ponder.search.arguments import choice, number, whole
from ponder.search.uncertainty import TELLING, mean_logprob
from ponder.types import Floats, Population, Problem, Step, Trace

MEASURES = ("entropy", "margin", "mean")


@dataclass(frozen=True)
class UncertaintyCoT:
    """Branching on uncertainty, after UnCert-CoT (Zhu et al. 2025, arXiv 2503.15341); N is the candidates at a branch.

    One solution is written step by step. Where the uncertainty of a step reaches the threshold, the step is drawn n
    times in all and the candidate of highest mean log-probability is kept. Needs no verifier. The paper measures the
    uncertainty at the first token of each new line of code; a step takes the line's place here, which is our reading.

    Args:
        n: candidates at a branch, the step drawn first included, from 1; at 1 it is plain sampling.
        measure: what a step's uncertainty is. "entropy": of the next-token distribution at its first token, over the
            likeliest tokens, in nats from 0. "margin": 1 - (p1 - p2) of the two likeliest tokens there, in [0, 1].
            "mean": minus the mean log-probability of all its tokens, in nats from 0; needs no likeliest tokens.
        threshold: branch from this uncertainty on, from 0, in the measure's unit. 0 always branches, inf never. Our
            choice.

    Raises:
        UserError: an argument out of range, or a sampler that does not give what the measure needs.
    """

    n: int
    measure: Literal["entropy", "margin", "mean"] = "entropy"
    threshold: float = 0.7

    def __post_init__(self) -> None:
        whole("n", self.n)
        choice("measure", self.measure, MEASURES)
        number("threshold", self.threshold, "[0, inf]")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Writes one solution, branching at unsure steps; see `ponder.protocols.Strategy`."""
        trace = Trace(problem)
        picking = Picking() if self.measure == "mean" else TELLING
        while trace.alive:
            (moved,) = await ctx.step([trace], picking=picking)
            ctx.report(Population.equal([moved]))
            if self.n > 1 and self.uncertainty(moved.steps[-1]) >= self.threshold:
                candidates = [moved, *await ctx.step([trace], self.n - 1, picking=picking)]
                moved = max(candidates, key=lambda candidate: mean_logprob(candidate.steps[-1]))
                ctx.report(Population.equal([moved]))
            trace = moved
        return Population.equal([trace])

    def uncertainty(self, step: Step) -> float:
        """The uncertainty of a step, from 0; 0 for a step without tokens."""
        if not step.token_ids:
            return 0.0
        if self.measure == "mean":
            return -mean_logprob(step)
        likeliest = _likeliest(step)
        if self.measure == "entropy":
            return float(entr(likeliest).sum())
        return float(1.0 - (likeliest[0] - likeliest[1:2].sum()))


def _likeliest(step: Step) -> Floats:
    """Probabilities of the likeliest tokens where the step begins, falling.

    Raises:
        UserError: the sampler did not tell them.
    """
    if not step.top_logprobs or not step.top_logprobs[0]:
        raise UserError(
            "this strategy needs log-probabilities of the likeliest tokens, which the sampler does not give",
            "sampler=vllm and sampler=hf give them; search.measure=mean does without",
        )
    return np.exp(np.array(step.top_logprobs[0], dtype=np.float64))
