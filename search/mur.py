"""MUR: more candidates only where a step is less sure than its past was (arXiv 2507.14958)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np

from ponder.context import Context
from ponder.search.arguments import choice, number, whole
from ponder.search.uncertainty import mean_logprob
from ponder.types import Population, Problem, Trace


@dataclass(frozen=True)
class MUR:
    """Momentum uncertainty reasoning (Yan et al. 2025, arXiv 2507.14958); N is the candidates at an uncertain step.

    One solution is written step by step. A step's uncertainty u is minus the mean log-probability of its tokens; the
    momentum M is a running mean of the uncertainties before it. Where exp(u) > exp(M) / gamma the step is drawn n times
    in all and the verifier keeps the best. The first step sets the momentum and is never drawn again, as in the
    authors' code.

    Args:
        n: candidates of an uncertain step, the one drawn first included, from 1; at 1 it is plain sampling.
        alpha: the part of the momentum that stays, in [0, 1); 0 compares each step with the one before it.
        gamma: control of the effort, above 0. Small: hardly any step counts as uncertain; above 1: sure ones do too.
        start: "zero": M is 0 before the first step, as in the authors' code, so that early momentum is too low and
            early steps are drawn again more often. "first": M is the first step's uncertainty, our remedy.

    Raises:
        UserError: an argument out of range, or a sampler that gives no log-probabilities.
    """

    n: int
    alpha: float = 0.9
    gamma: float = 0.9
    start: Literal["zero", "first"] = "zero"

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("alpha", self.alpha, "[0, 1)")
        number("gamma", self.gamma, "(0, inf)")
        choice("start", self.start, ("zero", "first"))

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Writes one solution, drawing uncertain steps again; see `ponder.protocols.Strategy`."""
        trace, momentum = Trace(problem), 0.0
        while trace.alive:
            (moved,) = await ctx.step([trace])
            ctx.report(Population.equal([moved]))
            if trace.steps and self.n > 1 and self.uncertain(_uncertainty(moved), momentum):
                moved = await self._best(ctx, [moved, *await ctx.step([trace], self.n - 1)])
                ctx.report(Population.equal([moved]))
            momentum = self.momentum(momentum, _uncertainty(moved), first=not trace.steps)
            trace = moved
        return Population.equal([trace])

    def uncertain(self, uncertainty: float, momentum: float) -> bool:
        """Whether exp(u) > exp(M) / gamma; compared as logarithms, which cannot overflow."""
        return uncertainty > momentum - log(self.gamma)

    def momentum(self, momentum: float, uncertainty: float, first: bool) -> float:
        """The momentum after one more step: alpha M + (1 - alpha) u."""
        if first and self.start == "first":
            return uncertainty
        return self.alpha * momentum + (1 - self.alpha) * uncertainty

    async def _best(self, ctx: Context, candidates: Sequence[Trace]) -> Trace:
        """The candidate that the verifier scores highest, the first of equal ones."""
        return candidates[int(np.argmax(await ctx.score(candidates)))]


def _uncertainty(trace: Trace) -> float:
    """Minus the mean log-probability of the last step's tokens, in nats, from 0."""
    return -mean_logprob(trace.steps[-1])
