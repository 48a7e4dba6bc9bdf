"""Adaptive consistency: sample until the leading answer is safe (arXiv 2305.11860)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from scipy.special import betainc

from ponder.context import Context
from ponder.search.arguments import number, whole
from ponder.types import Population, Problem, Trace


def lead(first: int, second: int) -> float:
    """Probability that the leading answer is truly more frequent than the runner-up, in [0.5, 1) for first >= second.

    P(p > 1/2) for p ~ Beta(first + 1, second + 1): a uniform prior, updated by the two counts.

    Args:
        first: votes of the leading answer.
        second: votes of the next one.
    """
    return float(1.0 - betainc(first + 1, second + 1, 0.5))


@dataclass(frozen=True)
class AdaptiveConsistency:
    """Adaptive consistency (Aggarwal et al. 2023, arXiv 2305.11860); N is the most solutions that are sampled.

    Self-consistency that stops as soon as the majority is unlikely to change: when the Beta criterion `lead` of the
    two most frequent answers exceeds the threshold. Solutions that are unfinished or without an answer do not vote.
    Needs no verifier: all weights are equal, and `majority` selects.

    Args:
        n: the most solutions, from 1 (the paper's 40).
        threshold: in [0.5, 1]; 1 never stops early.
        batch: solutions drawn between two looks, from 1 (the paper's 1).

    Raises:
        UserError: an argument out of range.
    """

    n: int
    threshold: float = 0.95
    batch: int = 1

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("threshold", self.threshold, "[0.5, 1]")
        whole("batch", self.batch)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples until the majority is safe or n are drawn; see `ponder.protocols.Strategy`."""
        traces: list[Trace] = []
        population = Population.equal(traces)
        while len(traces) < self.n and self._lead(traces, ctx) <= self.threshold:
            traces += await ctx.sample(problem, min(self.batch, self.n - len(traces)))
            population = Population.equal(traces)
            ctx.report(population)
        return population

    def _lead(self, traces: list[Trace], ctx: Context) -> float:
        """The criterion for the solutions so far; 0.5 before any vote."""
        answers = [ctx.answer(trace) for trace in traces if trace.finished]
        counts = Counter(answer for answer in answers if answer is not None)
        first, second, *_ = [count for _, count in counts.most_common(2)] + [0, 0]
        return lead(first, second)
