"""Soft tree search: Diffusion Tree Sampling and Search for text (arXiv 2506.20701)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ponder.context import Context
from ponder.search.arguments import choice, number, whole
from ponder.search.resampling import multinomial
from ponder.types import Floats, Population, Problem, Trace


@dataclass(eq=False)
class Node:
    """A prefix in the tree.

    Attributes:
        trace: the prefix.
        children: what was drawn after it, by its end.
        draws: how often the sampler drew this prefix from its parent.
        visits: rollouts that came through here.
        value: soft value, in units of the reward; the reward itself where the trace has ended.
    """

    trace: Trace
    children: dict[Trace, Node] = field(default_factory=dict)
    draws: int = 0
    visits: int = 0
    value: float = 0.0

    @property
    def drawn(self) -> int:
        """How many children were drawn here, equal ones counted as often as they were drawn."""
        return sum(child.draws for child in self.children.values())

    def log_shares(self) -> Floats:
        """Log of each child's share of the draws: an estimate of its log-probability."""
        draws = np.array([child.draws for child in self.children.values()], dtype=np.float64)
        return np.asarray(np.log(draws / draws.sum()), dtype=np.float64)

    def values(self) -> Floats:
        """The children's soft values."""
        return np.array([child.value for child in self.children.values()], dtype=np.float64)


@dataclass(frozen=True)
class SoftTreeSearch:
    """Diffusion Tree Sampling, for text (Jain et al. 2025, arXiv 2506.20701); N is the number of rollouts.

    The target is p(x) exp(lambda r(x)): p is the language model, r the verifier's score of a
    whole solution, lambda the inverse temperature. No prefix is ever scored: a prefix is worth
    v = 1/lambda log mean exp(lambda v(child)), which is r at the ends and is carried back after
    each rollout, all of whose steps join the tree. The weights of the result estimate the
    target, its `evidence` estimates log E[exp(lambda r)] = lambda v(root).

    Args:
        n: rollouts, from 1; each is one solution, sampled from the node where it starts.
        inverse_temperature: lambda, above 0, in units of 1 / score. The value is
            ours.
        sampling: how the tree is descended. "sample": by chance, proportional to a child's
            share times exp(lambda v) (DTS); "argmax": to the highest v (DTS*).
        widening: C, above 0. A node draws a new child while fewer than C N^alpha were drawn, N
            being its visits; also where the child descended to has ended. The value is ours.
        widening_power: alpha, in [0, 1]. The value is ours.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    inverse_temperature: float = 5.0
    sampling: Literal["sample", "argmax"] = "sample"
    widening: float = 2.0
    widening_power: float = 0.5

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("inverse_temperature", self.inverse_temperature, "(0, inf)")
        choice("sampling", self.sampling, ("sample", "argmax"))
        number("widening", self.widening, "(0, inf)")
        number("widening_power", self.widening_power, "[0, 1]")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Descends, rolls out and carries the reward back, n times; see `ponder.protocols.Strategy`."""
        root = Node(Trace(problem))
        for _ in range(self.n):
            path = self._descend(root, ctx.rng)
            (rollout,) = await ctx.sample(path[-1].trace, 1)
            (reward,) = await ctx.score([rollout])
            path = grow(path, rollout)
            path[-1].value = float(reward)
            self._back_up(path)
            population = self._population(root)
            ctx.report(population)
        return population

    def _descend(self, root: Node, rng: np.random.Generator) -> list[Node]:
        """The way from the root to the node that draws a new child, both included."""
        path = [root]
        while not self._widens(path[-1]):
            child = self._chosen(path[-1], rng)
            if not child.trace.alive:
                break
            path.append(child)
        return path

    def _widens(self, node: Node) -> bool:
        """Whether a node is due a new child."""
        return not node.children or node.drawn < self.widening * node.visits**self.widening_power

    def _chosen(self, node: Node, rng: np.random.Generator) -> Node:
        """The child to descend to."""
        children, values = list(node.children.values()), node.values()
        if self.sampling == "argmax":
            return children[int(np.argmax(values))]
        scaled = self.inverse_temperature * values + node.log_shares()
        return children[int(multinomial(np.exp(scaled - scaled.max()), 1, rng)[0])]

    def _back_up(self, path: list[Node]) -> None:
        """Counts a rollout along its path and renews the soft values above its end."""
        path[-1].visits += 1
        for node in reversed(path[:-1]):
            node.visits += 1
            scaled = self.inverse_temperature * node.values() + node.log_shares()
            node.value = float(np.logaddexp.reduce(scaled)) / self.inverse_temperature

    def _population(self, root: Node) -> Population:
        """All ends in the tree: log-weight lambda r + the sum of the log shares on the way there."""
        traces: list[Trace] = []
        log_weights: list[float] = []
        pending = [(root, 0.0)]
        while pending:
            node, log_share = pending.pop()
            if not node.children:
                traces.append(node.trace)
                log_weights.append(self.inverse_temperature * node.value + log_share)
                continue
            shares = node.log_shares() + log_share
            pending += reversed(list(zip(node.children.values(), map(float, shares), strict=True)))
        # The evidence is then lambda v(root): the weights sum to exp of it.
        return Population(tuple(traces), np.array(log_weights), float(np.log(len(traces))))


def grow(path: list[Node], rollout: Trace) -> list[Node]:
    """Adds each step of a rollout to the tree; the whole path from the root to its end.

    Args:
        path: from the root to the node where the rollout started.
        rollout: that node's trace, continued to its end.
    """
    path = list(path)
    for length in range(len(path[-1].trace) + 1, len(rollout) + 1):
        parent = path[-1]
        reached = rollout if length == len(rollout) else Trace(rollout.problem, rollout.steps[:length])
        child = parent.children.setdefault(reached, Node(reached))
        child.draws += 1
        path.append(child)
    return path
