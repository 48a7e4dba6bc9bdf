"""Tree of Thoughts: propose next steps, evaluate them, keep the best (arXiv 2305.10601)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import softmax

from ponder.context import Context, gather
from ponder.errors import VerifierError
from ponder.search.arguments import choice, number, whole
from ponder.search.asking import question
from ponder.search.resampling import multinomial
from ponder.search.weights import SMALLEST, Weight, weighted
from ponder.types import Floats, Population, Problem, Step, Trace

Propose = Callable[[Context, Sequence[Trace], int], Awaitable[Sequence[Trace]]]
Evaluate = Callable[[Context, Sequence[Trace], int], Awaitable[Sequence[float] | Floats]]

VERDICTS = {"sure": 20.0, "likely": 1.0, "impossible": 0.001}
"""What a judgement counts, as in the paper's code; any other word counts 0."""

END = "END"
"""Ends the line of a proposed step that completes the solution."""

PROPOSING = """Here is a problem, and the steps of a solution so far.

Problem:
{problem}

Steps so far:
{steps}

Suggest up to {width} different next steps. Write each on a line of its own, one short step a line, without numbering
or comment. If a step completes the solution, state the final answer in it as the problem asks, and end its line with
the word {end}."""

VALUING = """Here is a problem, and the steps of a solution so far.

Problem:
{problem}

Steps so far:
{steps}

Can these steps lead to a correct solution, or be one? Think briefly. Then write, alone on the last line, one of three
words: sure, likely, impossible."""


async def sampled(ctx: Context, traces: Sequence[Trace], width: int) -> list[Trace]:
    """Thoughts as independent samples: `width` steps of the model after each trace."""
    return await ctx.step(traces, fan_out=width)


async def proposed(ctx: Context, traces: Sequence[Trace], width: int) -> list[Trace]:
    """Thoughts by asking: one prompt a trace for up to `width` next steps, each line of the reply being one.

    The steps have a text and no tokens. A line that ends in END finishes the solution; list marks are dropped.
    """
    replies = await _ask(ctx, [_prompt(PROPOSING, trace, width=width, end=END) for trace in traces], 1)
    children: list[Trace] = []
    for trace, (reply,) in zip(traces, replies, strict=True):
        thoughts = [thought for line in reply.text.splitlines() if (thought := _thought(line)).text][:width]
        children += [_grown(trace, thought, ctx.max_steps) for thought in thoughts]
    return children


async def scored(ctx: Context, traces: Sequence[Trace], votes: int) -> Floats:
    """Values by the verifier; `votes` is not used."""
    return await ctx.score(traces)


async def valued(ctx: Context, traces: Sequence[Trace], votes: int) -> Floats:
    """Values by asking the model `votes` times for a verdict on each trace, and summing what `VERDICTS` says.

    The verdict is the last word of the reply's last line.
    """
    replies = await _ask(ctx, [_prompt(VALUING, trace) for trace in traces], votes)
    return np.array([sum(verdict(reply.text) for reply in drawn) for drawn in replies], dtype=np.float64)


def verdict(reply: str) -> float:
    """What one judgement counts; 0 if its last word is none of `VERDICTS`."""
    words = re.findall(r"\w+", reply.strip().lower().rpartition("\n")[2])
    return VERDICTS.get(words[-1], 0.0) if words else 0.0


def proportional(values: Floats, previous: Floats | float = 1.0) -> Floats:
    """Log of the value: weights proportional to values from 0, which `valued` gives; see `search/weights.py`.

    Raises:
        VerifierError: a value below 0.
    """
    values = np.asarray(values, dtype=np.float64)
    if np.any(values < 0):
        raise VerifierError(
            f"a thought was valued {values.min():g}, below 0, which this weight does not allow; "
            "for unbounded scores set search.weight.path=ponder.search.weights.exponential"
        )
    return np.asarray(np.log(np.maximum(values, SMALLEST)), dtype=np.float64)


@dataclass(frozen=True)
class BreadthFirst:
    """Tree of Thoughts, breadth first (Yao et al. 2023, arXiv 2305.10601); N is b, the states kept each round.

    The states that ended leave the frontier and are the result, weighted by value, together
    with the frontier that is left if `depth` ends the search.

    Args:
        n: b, states kept each round, from 1.
        width: k, next steps proposed for each state, from 1; equal ones merge.
        votes: how often `valued` asks about each state, from 1.
        depth: rounds, from 1; None goes on until all states ended.
        propose: `sampled`, `proposed`, or a function (ctx, states, width) -> their children.
        evaluate: `scored`, `valued`, or a function (ctx, states, votes) -> one value each.
        selection: "greedy" keeps the b of highest value, of equal ones the first; "sample"
            draws b with replacement by their weight, and a state drawn twice counts once.
        weight: from values to log-weights: `proportional`, or a function of `search/weights.py`.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    width: int = 5
    votes: int = 3
    depth: int | None = None
    propose: Propose = sampled
    evaluate: Evaluate = scored
    selection: Literal["greedy", "sample"] = "greedy"
    weight: Weight = proportional

    def __post_init__(self) -> None:
        for name in ("n", "width", "votes"):
            whole(name, getattr(self, name))
        if self.depth is not None:
            whole("depth", self.depth)
        choice("selection", self.selection, ("greedy", "sample"))

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Proposes, evaluates and selects, round by round; see `ponder.protocols.Strategy`."""
        frontier, ended = [Trace(problem)], dict[Trace, float]()
        population, rounds = Population.equal(frontier), 0
        ctx.report(population)
        while frontier and (self.depth is None or rounds < self.depth):
            states = list(dict.fromkeys(await self.propose(ctx, frontier, self.width)))
            if not states:  # nothing more was proposed: the last round is the result
                break
            values = np.asarray(await self.evaluate(ctx, states, self.votes), dtype=np.float64)
            kept = {states[i]: float(values[i]) for i in self._select(values, ctx.rng)}
            ended |= {state: kept[state] for state in kept if not state.alive}
            frontier = [state for state in kept if state.alive]
            population = _weighted(ended | kept, self.weight)
            ctx.report(population)
            rounds += 1
        return population

    def _select(self, values: Floats, rng: np.random.Generator) -> list[int]:
        """Which states are kept, from 0."""
        if self.selection == "sample":
            drawn = multinomial(softmax(self.weight(values, np.ones(len(values)))), self.n, rng)
            return [int(i) for i in dict.fromkeys(drawn)]
        return [int(i) for i in np.argsort(-values, kind="stable")[: self.n]]


@dataclass(frozen=True)
class DepthFirst:
    """Tree of Thoughts, depth first (Yao et al. 2023, arXiv 2305.10601); N is the number of solutions to find.

    The most promising child is visited first; children of too little value are never visited,
    and the search goes back to the next best of an earlier state. The result is the states
    that ended, weighted by value; as long as there are none, the deepest state visited.

    Args:
        n: ended states after which the search stops, from 1.
        width: k, next steps proposed for each state, from 1; equal ones merge.
        votes: how often `valued` asks about each state, from 1.
        threshold: only children of a value above it are visited. Below the least value a
            verifier gives, nothing is pruned.
        max_visits: states visited at most, from 1, ended ones included.
        propose: as for `BreadthFirst`.
        evaluate: as for `BreadthFirst`.
        weight: as for `BreadthFirst`.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    width: int = 5
    votes: int = 3
    threshold: float = 0.0
    max_visits: int = 100
    propose: Propose = sampled
    evaluate: Evaluate = scored
    weight: Weight = proportional

    def __post_init__(self) -> None:
        for name in ("n", "width", "votes", "max_visits"):
            whole(name, getattr(self, name))
        number("threshold", self.threshold, "[-inf, inf)")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Visits states, the most promising child first; see `ponder.protocols.Strategy`."""
        pending, ended, visits = [(Trace(problem), 0.0)], dict[Trace, float](), 0
        deepest = pending[0][0]
        population = Population.equal([deepest])
        while pending and len(ended) < self.n and visits < self.max_visits:
            state, worth = pending.pop()
            visits += 1
            deepest = max(deepest, state, key=len)
            if state.alive:
                pending += await self._children(state, ctx)
            else:
                ended[state] = worth
            population = _weighted(ended, self.weight) if ended else Population.equal([deepest])
            ctx.report(population)
        return population

    async def _children(self, state: Trace, ctx: Context) -> list[tuple[Trace, float]]:
        """The children worth a visit, the best one last; of equal ones, the first is last."""
        states = list(dict.fromkeys(await self.propose(ctx, [state], self.width)))
        if not states:
            return []
        values = np.asarray(await self.evaluate(ctx, states, self.votes), dtype=np.float64)
        order = [i for i in np.argsort(-values, kind="stable")[::-1] if values[i] > self.threshold]
        return [(states[i], float(values[i])) for i in order]


def _weighted(values: dict[Trace, float], weight: Weight) -> Population:
    """States with weights from their values."""
    found = np.array(list(values.values()), dtype=np.float64)
    return weighted(tuple(values), found, weight)


def _prompt(template: str, trace: Trace, **more: object) -> Problem:
    """A question about a trace."""
    steps = trace.text.strip() or "(none yet)"
    asked = template.format(problem=trace.problem.prompt, steps=steps, **more)
    return question(trace.problem, asked, f"thought/{len(trace)}")


async def _ask(ctx: Context, asked: Sequence[Problem], times: int) -> list[list[Trace]]:
    """Each question's replies, `times` or fewer; all are asked at once."""
    return await gather(ctx.sample(one, times) for one in asked)


def _thought(line: str) -> Step:
    """A line of a reply as a step; without text if nothing is left after list marks and END."""
    text = re.sub(r"^\s*(?:[-*]|\d+[.)])(?:\s+|$)", "", line).strip()
    kept = re.sub(rf"\b{END}\W*$", "", text).strip()
    return Step(kept and kept + "\n\n", why="stop" if kept == text else "eos")


def _grown(trace: Trace, thought: Step, max_steps: int) -> Trace:
    """A trace one step on; closed where no further step is allowed."""
    grown = trace + thought
    return replace(grown, closed=grown.alive and len(grown) >= max_steps)
