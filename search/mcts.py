"""Monte Carlo tree search over solution steps, UCT or PUCT (Kocsis and Szepesvari 2006; arXiv 1712.01815)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.special import softmax

from ponder.context import Context
from ponder.search.arguments import choice, number, whole
from ponder.search.uncertainty import mean_logprob
from ponder.search.weights import Weight, probability, weighted
from ponder.types import Floats, Population, Problem, Trace

Selection = Callable[[Floats, Floats, Floats, int, float], Floats]

OTHERS = 1e-9
"""Weight of the answers that were not chosen, relative to the one that was."""


def uct(means: Floats, visits: Floats, priors: Floats, parent: int, exploration: float) -> Floats:
    """Mean value + c sqrt(ln N / n): upper confidence bounds (Kocsis and Szepesvari 2006).

    Args:
        means: mean value of each child, shape (m,).
        visits: n of each child, from 1, shape (m,).
        priors: not used.
        parent: N, visits of their parent.
        exploration: c, from 0, in units of the value.

    Returns:
        Shape (m,); the child with the highest number is visited next.
    """
    return np.asarray(means + exploration * np.sqrt(np.log(parent) / visits), dtype=np.float64)


def puct(means: Floats, visits: Floats, priors: Floats, parent: int, exploration: float) -> Floats:
    """Mean value + c p sqrt(N) / (1 + n), p being the child's prior (AlphaZero, arXiv 1712.01815).

    Args and returns as for `uct`; priors are used, shape (m,).
    """
    return np.asarray(means + exploration * priors * np.sqrt(parent) / (1.0 + visits), dtype=np.float64)


@dataclass(eq=False)
class Node:
    """A prefix in the tree.

    Attributes:
        trace: the prefix.
        prior: how promising it looked when its parent was expanded.
        children: the steps that were tried after it, most promising first.
        visits: simulations that came through here, the one that ended here included.
        total: their values, summed.
        answer: what the simulation that ended here found: the trace itself if it has ended, or its rollout.
        score: the answer's verifier score.
        answers: how many answers were found here and below.
        explored: nothing is left to visit here and below.
    """

    trace: Trace
    prior: float = 1.0
    children: list[Node] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0
    answer: Trace | None = None
    score: float = 0.0
    answers: int = 0
    explored: bool = False

    @property
    def mean(self) -> float:
        """Mean value of the simulations that came through here."""
        return self.total / max(1, self.visits)


@dataclass(frozen=True)
class MCTS:
    """Monte Carlo tree search (Kocsis and Szepesvari 2006; arXiv 1712.01815); N is the number of simulations.

    A simulation descends from the problem to a leaf of the tree, by `selection` among the
    children, values the leaf and adds the value to all nodes on its way. A leaf is expanded
    when it is visited for the second time. Explored subtrees are not visited again, and the
    search ends early when nothing is left. Where papers on language models differ from each
    other, `docs/mcts.md` says what we chose.

    Args:
        n: simulations, from 1; with rollouts each costs about one solution.
        width: steps sampled when a leaf is expanded, from 1; equal ones merge.
        selection: `uct` or `puct`, or a function with their signature.
        exploration: c of `selection`, from 0, in units of the value.
        prior: what orders unvisited children and enters `puct`. "uniform"; "logprob": softmax
            of the mean log-probability of the child's step; "score": the child's verifier
            score, which then should lie in [0, 1].
        leaf: what a leaf is worth. "rollout": the score of one whole solution sampled from it,
            which is also a candidate answer; "value": the score of the prefix.
        output: which answers get weight. "vote": each by its score; "max_value": the one with
            the best score; "max_visit": the one at the end of the most visited path.
        weight: from scores to log-weights for "vote", a function of `search/weights.py`.

    Raises:
        UserError: an argument out of range, or `prior="logprob"` without log-probabilities.
    """

    n: int
    width: int = 4
    selection: Selection = uct
    exploration: float = 1.0
    prior: Literal["uniform", "logprob", "score"] = "uniform"
    leaf: Literal["rollout", "value"] = "rollout"
    output: Literal["vote", "max_value", "max_visit"] = "vote"
    weight: Weight = probability

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("width", self.width)
        number("exploration", self.exploration, "[0, inf)")
        choice("prior", self.prior, ("uniform", "logprob", "score"))
        choice("leaf", self.leaf, ("rollout", "value"))
        choice("output", self.output, ("vote", "max_value", "max_visit"))

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Runs n simulations, one after the other; see `ponder.protocols.Strategy`."""
        root, answered = Node(Trace(problem)), list[Node]()
        while root.visits < self.n and not root.explored:
            path = self._descend(root)
            if path[-1].visits:
                await self._expand(path[-1], ctx)
                path.append(self._next(path[-1]))
            value = await self._evaluate(path[-1], ctx)
            answered += _found(path)
            _back_up(path, value)
            population = self._population(root, answered)
            ctx.report(population)
        if not root.explored and not any(node.answer is not None and node.answer.finished for node in answered):
            path = _most_visited(root, lambda child: not child.explored)
            await self._roll_out(path[-1], ctx)
            answered += _found(path)
            population = self._population(root, answered)
        return population

    def _descend(self, root: Node) -> list[Node]:
        """The way from the root to a leaf, both included."""
        path = [root]
        while path[-1].children:
            path.append(self._next(path[-1]))
        return path

    def _next(self, node: Node) -> Node:
        """The child to visit: the first unvisited one, else the first of those with the highest bound."""
        left = [child for child in node.children if not child.explored]
        for child in left:
            if not child.visits:
                return child
        means, visits, priors = (
            np.array([getattr(child, name) for child in left], dtype=np.float64) for name in ("mean", "visits", "prior")
        )
        return left[int(np.argmax(self.selection(means, visits, priors, node.visits, self.exploration)))]

    async def _expand(self, node: Node, ctx: Context) -> None:
        """Gives a leaf its children, most promising first."""
        steps = list(dict.fromkeys(await ctx.step([node.trace], fan_out=self.width)))
        priors = np.full(len(steps), 1.0 / len(steps))
        if self.prior == "logprob":
            priors = softmax(np.array([mean_logprob(trace.steps[-1]) for trace in steps]))
        elif self.prior == "score":
            priors = await ctx.score(steps)
        children = [Node(trace, float(prior)) for trace, prior in zip(steps, priors, strict=True)]
        node.children = sorted(children, key=lambda child: -child.prior)

    async def _evaluate(self, node: Node, ctx: Context) -> float:
        """The value of a leaf; the answer that was found, if one was, is noted in it."""
        if node.trace.alive and self.leaf == "value":
            # The empty prefix says nothing, and no selection looks at the root's value.
            return float((await ctx.score([node.trace]))[0]) if node.trace.steps else 0.0
        return await self._roll_out(node, ctx)

    async def _roll_out(self, node: Node, ctx: Context) -> float:
        """The score of a whole solution from here on; an ended trace is its own, at no further cost."""
        (answer,) = await ctx.sample(node.trace, 1)
        node.score = float((await ctx.score([answer]))[0])
        node.answer = answer
        return node.score

    def _population(self, root: Node, answered: list[Node]) -> Population:
        """All answers found so far, weighted as `output` says; without any, the most visited prefix."""
        answers = [node.answer for node in answered if node.answer is not None]
        if not answers:
            return Population.equal([_most_visited(root)[-1].trace])
        scores = np.array([node.score for node in answered])
        if self.output == "vote":
            return weighted(answers, scores, self.weight)
        chosen = int(np.argmax(scores))
        if self.output == "max_visit":
            chosen = answered.index(_most_visited(root, lambda child: child.answers > 0)[-1])
        return Population(tuple(answers), np.where(np.arange(len(answers)) == chosen, 0.0, np.log(OTHERS)))


def _back_up(path: list[Node], value: float) -> None:
    """Adds a simulation's value to all nodes on its way, and notes which of them are explored."""
    for node in reversed(path):
        node.visits += 1
        node.total += value
        node.explored = all(child.explored for child in node.children) if node.children else not node.trace.alive


def _found(path: list[Node]) -> list[Node]:
    """The last node of a path if it holds an answer, which is then counted along the path."""
    if path[-1].answer is None:
        return []
    for node in path:
        node.answers += 1
    return [path[-1]]


def _most_visited(root: Node, allowed: Callable[[Node], bool] = lambda child: child.visits > 0) -> list[Node]:
    """The path of most visited children, of equals the one of higher mean value; then the first."""
    path = [root]
    while children := [child for child in path[-1].children if allowed(child)]:
        path.append(max(children, key=lambda child: (child.visits, child.mean)))
    return path
