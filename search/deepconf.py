"""DeepConf: vote only with solutions that were confident throughout, offline and online (arXiv 2508.15260)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ponder.context import Context
from ponder.search.arguments import number, whole
from ponder.search.uncertainty import TELLING, confidences
from ponder.types import Floats, Population, Problem, Trace

Measure = Callable[[Floats, int], float]
"""From the confidence of each token, shape (tokens,), and the group length to the confidence of a trace."""

SLACK = 1e-9
"""Taken off the bar: two sums of the same tokens may differ by rounding."""


def groups(confidence: Floats, group: int) -> Floats:
    """Mean confidence of every window of `group` tokens; of the whole trace if it is shorter; 0 without tokens.

    Args:
        confidence: of each token, shape (tokens,).
        group: tokens of a window, from 1.

    Returns:
        Shape (max(1, tokens - group + 1),).
    """
    size = min(group, len(confidence))
    if not size:
        return np.zeros(1)
    sums = np.cumsum(np.concatenate([[0.0], confidence]))
    return np.asarray((sums[size:] - sums[:-size]) / size, dtype=np.float64)


def mean(confidence: Floats, group: int) -> float:
    """Over all tokens."""
    return float(groups(confidence, len(confidence))[0])


def tail(confidence: Floats, group: int) -> float:
    """Over the last `group` tokens, where the answer is."""
    return float(groups(confidence, group)[-1])


def lowest_group(confidence: Floats, group: int) -> float:
    """Of the least confident window."""
    return float(groups(confidence, group).min())


def bottom_groups(confidence: Floats, group: int) -> float:
    """Mean of the lowest tenth of the windows, of at least one."""
    found = np.sort(groups(confidence, group))
    return float(found[: max(1, len(found) // 10)].mean())


def trace_confidence(trace: Trace, measure: Measure = bottom_groups, group: int = 2048) -> float:
    """Confidence of a trace, from 0; 0 without tokens.

    Args:
        trace: drawn with `picking=TELLING`.
        measure: `bottom_groups`, `lowest_group`, `tail` or `mean`.
        group: tokens of a window, from 1; a shorter trace is one window.

    Raises:
        UserError: the sampler gave no log-probabilities of the likeliest tokens.
    """
    return measure(confidences(trace), group)


@dataclass(frozen=True)
class DeepConf:
    """DeepConf offline (Fu et al. 2025, arXiv 2508.15260); N is the number of whole solutions.

    Of n solutions the most confident share votes, each weighted by its confidence; the others leave the population, so
    that `majority` is the paper's filtered majority and `weighted_vote` its filtered, confidence-weighted one.
    No verifier. Needs log-probabilities of the likeliest tokens.

    Args:
        n: solutions, from 1.
        keep: share that votes, the paper's eta, in (0, 1]; at least one solution. The paper: 0.1 and 0.9.
        measure: confidence of a solution, a function (token confidences, group) -> float of this file: `bottom_groups`,
            `lowest_group`, `tail` or `mean`.
        group: tokens of a window, from 1; a shorter solution is one window.

    Raises:
        UserError: an argument out of range, or the sampler tells no likeliest tokens.
    """

    n: int
    keep: float = 0.1
    measure: Measure = bottom_groups
    group: int = 2048

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("keep", self.keep, "(0, 1]")
        whole("group", self.group)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples n solutions and keeps the most confident; see `ponder.protocols.Strategy`."""
        traces = await ctx.sample(problem, self.n, picking=TELLING)
        confidence = np.array([trace_confidence(trace, self.measure, self.group) for trace in traces])
        # Repetition is confident: what it drove to the token limit must not push finished solutions out.
        finished = np.array([trace.finished for trace in traces])
        best = np.lexsort((-confidence, ~finished))[: max(1, round(self.keep * len(traces)))]
        population = _weighted([traces[i] for i in sorted(best)], confidence[sorted(best)])
        ctx.report(population)
        return population


@dataclass(frozen=True)
class DeepConfOnline:
    """DeepConf online (Fu et al. 2025, arXiv 2508.15260); N is the most solutions begun.

    Some whole solutions set a bar: the lowest group confidence that the best share of them reaches. Further ones grow
    step by step and are aborted as soon as one of their groups falls below the bar. Solutions at or above the bar vote,
    weighted by their lowest group confidence; sampling ends when one answer has nearly all votes, or n are begun.
    Tokens are looked at where steps end: our reading of the paper, which looks after each token.

    Args:
        n: the most solutions begun, aborted ones included, from 1.
        keep: share of the warm-up that reaches the bar, in (0, 1]. The paper: 0.1 ("low") and 0.9 ("high").
        warm_up: whole solutions that set the bar, from 1; at most n.
        consensus: share of the votes that ends the sampling, the paper's tau, in (0, 1].
        group: tokens of a window, from 1. A solution is aborted only once it fills one.
        concurrent: further solutions that grow at once, from 1; the votes are counted when all of them ended.

    Raises:
        UserError: an argument out of range, or the sampler tells no likeliest tokens.
    """

    n: int
    keep: float = 0.1
    warm_up: int = 16
    consensus: float = 0.95
    group: int = 2048
    concurrent: int = 16

    def __post_init__(self) -> None:
        for name in ("n", "warm_up", "group", "concurrent"):
            whole(name, getattr(self, name))
        number("keep", self.keep, "(0, 1]")
        number("consensus", self.consensus, "(0, 1]")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Sets the bar, then samples above it until the votes agree; see `ponder.protocols.Strategy`."""
        drawn = await ctx.sample(problem, min(self.warm_up, self.n), picking=TELLING)
        begun, bar = len(drawn), self._bar(drawn)
        population = self._voters(drawn, bar)
        ctx.report(population)
        while begun < self.n and _agreement(population, ctx) < self.consensus:
            batch = [Trace(problem)] * min(self.concurrent, self.n - begun)
            begun += len(batch)
            population = _joined(population, self._voters(await self._grown(batch, bar, ctx), bar))
            ctx.report(population)
        return population

    def _bar(self, drawn: Sequence[Trace]) -> float:
        """The lowest group confidence that the best share of the finished solutions reaches; 0 without any."""
        lowest = [trace_confidence(trace, lowest_group, self.group) for trace in drawn if trace.finished]
        return float(np.quantile(lowest, 1 - self.keep)) - SLACK if lowest else 0.0

    async def _grown(self, traces: Sequence[Trace], bar: float, ctx: Context) -> list[Trace]:
        """The traces grown to their ends, without those that fell below the bar on the way."""
        growing = list(traces)
        while any(trace.alive for trace in growing):
            moved = await ctx.step(growing, picking=TELLING)
            growing = [trace for trace in moved if not (trace.alive and self._fell(trace, bar))]
        return growing

    def _fell(self, trace: Trace, bar: float) -> bool:
        """Whether a full group that reaches into the last step lies below the bar; earlier ones were looked at."""
        if len(trace.token_ids) < self.group:
            return False
        reach = len(trace.steps[-1].token_ids) + self.group - 1
        held = np.cumsum([len(step.token_ids) for step in reversed(trace.steps)])
        recent = replace(trace, steps=trace.steps[-1 - int(np.searchsorted(held, reach)) :])
        return trace_confidence(recent, lowest_group, self.group) < bar

    def _voters(self, traces: Sequence[Trace], bar: float) -> Population:
        """Those at or above the bar, weighted by their lowest group confidence."""
        lowest = np.array([trace_confidence(trace, lowest_group, self.group) for trace in traces])
        above = np.flatnonzero(lowest >= bar)
        return _weighted([traces[i] for i in above], lowest[above])


def _weighted(traces: Sequence[Trace], confidence: Floats) -> Population:
    """Traces weighted by their confidence; the clip keeps the logarithm of 0 finite."""
    return Population(tuple(traces), np.log(np.clip(confidence, 1e-12, None)))


def _joined(first: Population, second: Population) -> Population:
    return Population(first.traces + second.traces, np.concatenate([first.log_weights, second.log_weights]))


def _agreement(population: Population, ctx: Context) -> float:
    """Share of the leading answer in the weights of all finished solutions with an answer, in [0, 1]."""
    votes: dict[str, float] = defaultdict(float)
    for trace, weight in zip(population.traces, population.weights, strict=True):
        if trace.finished and (answer := ctx.answer(trace)) is not None:
            votes[answer] += float(weight)
    return max(votes.values(), default=0.0) / max(sum(votes.values()), 1e-300)
