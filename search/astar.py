"""A*-decoding: best-first search over solution steps with a verifier as heuristic (arXiv 2505.13672)."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ponder.context import Context
from ponder.search.arguments import choice, divides, number, whole
from ponder.search.weights import probability, unit, weighted
from ponder.types import Population, Problem, Trace

EDGE_COSTS: dict[str, Callable[[float, float], float]] = {
    "consistent": lambda parent, child: max(0.0, parent - child),
    "rise": lambda parent, child: max(0.0, child - parent),
    "none": lambda parent, child: 0.0,
}
"""What a step costs, by h of the prefix before and after it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A prefix in the search tree.

    Attributes:
        trace: the solution so far.
        r: its score, in [0, 1].
        g: what the way to it cost.
        f: g + weight h, by which it waits its turn.
    """

    trace: Trace
    r: float
    g: float
    f: float

    @property
    def h(self) -> float:
        """What is thought to be left to pay."""
        return 1.0 - self.r

    @property
    def depth(self) -> int:
        """Steps so far."""
        return len(self.trace)


class Frontier:
    """Nodes that were generated and not expanded: least f first, of equal ones the deeper, then the older.

    Attributes:
        dead_ends: nodes cut by a limit: nothing can follow, and they are no goals.
    """

    def __init__(self, root: Node) -> None:
        self.dead_ends: list[Node] = []
        self._heap: list[tuple[float, int, int, Node]] = []
        self._order = itertools.count()
        self.push([root])

    def push(self, nodes: Iterable[Node]) -> None:
        """Lets nodes wait for their turn."""
        for node in nodes:
            if node.trace.alive or node.trace.finished:
                heapq.heappush(self._heap, (node.f, -node.depth, next(self._order), node))
            else:
                self.dead_ends.append(node)

    def pop_prefixes(self, most: int) -> list[Node]:
        """Takes out the best unfinished nodes, up to the first finished one: what lies behind it must wait."""
        return self._pop(most, finished=False)

    def pop_goals(self, most: float) -> list[Node]:
        """Takes out finished nodes as long as one is the best of all."""
        return self._pop(most, finished=True)

    def best(self, most: int, finished: bool) -> list[Node]:
        """The first finished or unfinished nodes in the order of their turn; they stay."""
        entries = (entry for entry in self._heap if entry[-1].trace.finished == finished)
        return [node for *_, node in heapq.nsmallest(most, entries)]

    def _pop(self, most: float, finished: bool) -> list[Node]:
        popped: list[Node] = []
        while self._heap and len(popped) < most and self._heap[0][-1].trace.finished == finished:
            popped.append(heapq.heappop(self._heap)[-1])
        return popped


@dataclass(frozen=True)
class AStar:
    """A*-decoding (Chatziveroglou 2025, arXiv 2505.13672); N is the number of candidate steps drawn in one round.

    Of all prefixes generated and not yet expanded, wherever in the tree, the one of least f = g + weight h goes on.
    h = 1 - r, r being the verifier's score of the prefix; no log-probabilities enter. A finished solution is found
    when it is itself the best of all that wait. The population holds the solutions found so, weighted by score;
    before the first, the best finished one so far, or the best prefixes.

    The cost g sums over the steps of a way. How, we did not find in the paper: `edge_cost` holds our readings. The
    empty solution is not scored: its h is 0.

    Args:
        n: candidate steps drawn in one round, from 1: the paper's k where width is 1. Equal ones of one prefix are
            paid for and become one node.
        width: prefixes expanded at once, a divisor of n; each gets n / width candidates. Above 1 the rounds are
            fewer and some expansions in vain.
        edge_cost: what a step from s to s' costs. "consistent": max(0, h(s) - h(s')); f then grows along a way by
            each rise of h and never falls, so that the first solution found is the one of least f. "rise":
            max(0, h(s') - h(s)), which counts each rise twice; f can fall. "none": 0, greedy best-first search.
        weight: of h, from 0. Above 1 it hurries to the end, and h is no longer admissible: the first solution need
            not be the one of least f.
        goals: solutions to find, from 1. 1 is the A* rule; None goes on until the budget or `max_expansions` ends.
        max_expansions: prefixes expanded at most, from 1.

    Raises:
        UserError: an argument out of range, or a width that does not divide n.
        VerifierError: while it runs: a score outside [0, 1].
    """

    n: int
    width: int = 1
    edge_cost: Literal["consistent", "rise", "none"] = "consistent"
    weight: float = 1.0
    goals: int | None = 1
    max_expansions: int = 256

    def __post_init__(self) -> None:
        whole("n", self.n)
        divides("width", self.width, self.n)
        choice("edge_cost", self.edge_cost, tuple(EDGE_COSTS))
        number("weight", self.weight, "[0, inf)")
        if self.goals is not None:
            whole("goals", self.goals)
        whole("max_expansions", self.max_expansions)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Expands the best prefix until the best of all is finished; see `ponder.protocols.Strategy`."""
        frontier = Frontier(Node(Trace(problem), r=1.0, g=0.0, f=0.0))
        goals, wanted, left = list[Node](), self.goals or math.inf, self.max_expansions
        population = Population.start(problem, 1)
        while len(goals) < wanted and (parents := frontier.pop_prefixes(min(self.width, left))):
            frontier.push(await self._children(parents, ctx))
            left -= len(parents)
            goals += frontier.pop_goals(wanted - len(goals))
            population = self._population(goals, frontier)
            ctx.report(population)
        return population

    async def _children(self, parents: Sequence[Node], ctx: Context) -> list[Node]:
        """The nodes that follow some others, each scored once."""
        fan_out = self.n // self.width
        moved = await ctx.step([parent.trace for parent in parents], fan_out)
        origin = {child: parents[i // fan_out] for i, child in enumerate(moved)}
        rewards = unit(await ctx.score(list(origin)), "the heuristic 1 - r needs")
        return [self._node(origin[child], child, float(r)) for child, r in zip(origin, rewards, strict=True)]

    def _node(self, parent: Node, child: Trace, r: float) -> Node:
        """A child with its cost."""
        g = parent.g + EDGE_COSTS[self.edge_cost](parent.h, 1.0 - r)
        return Node(child, r, g, g + self.weight * (1.0 - r))

    def _population(self, goals: Sequence[Node], frontier: Frontier) -> Population:
        """What was found; else the best finished solution, else the best prefixes, else dead ends."""
        best = goals or frontier.best(1, finished=True) or frontier.best(self.n, finished=False) or frontier.dead_ends
        scores = np.array([node.r for node in best], dtype=np.float64)
        return weighted([node.trace for node in best], scores, probability)
