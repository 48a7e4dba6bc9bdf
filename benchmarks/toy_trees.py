"""How much of a toy tree each search looks at, and how near soft tree search comes to its target: one table.

python benchmarks/toy_trees.py    a minute or two; no model
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ponder.context import Setup
from ponder.protocols import Strategy, Until
from ponder.runner import search
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.astar import AStar
from ponder.search.mcts import MCTS, puct, uct
from ponder.search.soft_tree_search import SoftTreeSearch
from ponder.types import Population, Problem, Step, Trace

LETTERS = "abcd"


class Verifier:
    """Scores texts by a function, and remembers them."""

    def __init__(self, score: Callable[[str], float]) -> None:
        self.of, self.seen = score, list[str]()

    async def score(self, traces: Sequence[Trace]) -> list[float]:
        """The function's value for each text."""
        self.seen += [trace.text for trace in traces]
        return [self.of(trace.text) for trace in traces]


def run(strategy: Strategy, sampler: Any, verifier: Verifier, seed: int) -> Population:
    """One search, a step being one character."""
    setup = Setup({"policy": sampler}, {"verifier": verifier}, step=Until(every=1))
    problem = Problem("p", "ask")
    return asyncio.run(search(strategy, problem, setup.context(problem, seed)))


def astar(edge_cost: Any, scores: str, trees: int = 200, depth: int = 6) -> list[float]:
    """Prefixes that A* expands in complete trees of three candidates a step; all are 364 at six steps.

    Args:
        edge_cost: of `AStar`.
        scores: "uniform": each prefix's own; "noise": its parent's plus normal noise of 0.15, the first parent's 0.5.
        trees: how many.
        depth: letters of a solution.
    """

    def branching(trace: Trace, seed: int) -> Step:
        return Step("abc"[seed % 3], why="eos" if len(trace.text) == depth - 1 else "stop")

    expanded = []
    for seed in range(trees):
        known: dict[str, float] = {"": 0.5}

        def score(text: str, seed: int = seed, known: dict[str, float] = known) -> float:
            if text not in known:
                rng = random.Random(f"{seed} {text}")
                parent = score(text[:-1], seed, known)
                known[text] = rng.random() if scores == "uniform" else min(1.0, max(0.0, parent + rng.gauss(0, 0.15)))
            return known[text]

        sampler = Scripted(branching)
        run(AStar(3, edge_cost=edge_cost), sampler, Verifier(score), seed)
        expanded.append(float(sampler.requests))
    return expanded


def mcts(selection: Any, exploration: float, trees: int = 20, depth: int = 5) -> list[float]:
    """Evaluations until the best of 4^5 = 1,024 leaves is seen; a leaf's value is a mean of numbers, one a letter."""

    def branching(trace: Trace, seed: int) -> str:
        left = depth - len(trace.text)
        rest = random.Random(f"{seed} {trace.text}").choices(LETTERS, k=max(0, left - 1))
        return LETTERS[seed % 4] + "".join(rest) if left else ""

    found = []
    for seed in range(trees):
        numbers = np.random.default_rng(seed).random((depth, len(LETTERS)))
        best = "".join(LETTERS[i] for i in numbers.argmax(axis=1))

        def value(text: str, numbers: Any = numbers) -> float:
            return float(sum(numbers[i, LETTERS.index(c)] for i, c in enumerate(text)) / depth)

        verifier = Verifier(value)
        run(MCTS(1024, selection=selection, exploration=exploration), Scripted(branching), verifier, seed)
        found.append(float(verifier.seen.index(best) + 1))
    return found


def soft(n: int, runs: int, power: float = 0.5) -> list[float]:
    """Total variation between soft tree search and p(x) exp(5 r(x)) on a language of eight solutions."""
    rows = {"^": {"a": 0.6, "b": 0.4}, "a": {"c": 0.7, "d": 0.3}, "b": {"c": 0.2, "d": 0.8}}
    rows |= {"c": {"e": 0.5, "f": 0.5}, "d": {"e": 0.1, "f": 0.9}, "e": {"$": 1.0}, "f": {"$": 1.0}}
    language, scores = ToyLanguage(rows), {"e": 0.6, "f": 0.35}
    exact = {text: p * np.exp(5 * scores[text[-1]]) for text, p in language.enumerate()}
    total = sum(exact.values())
    distances = []
    for seed in range(runs):
        verifier = Verifier(lambda text: scores[text[-1]])
        population = run(SoftTreeSearch(n, widening_power=power), language, verifier, seed)
        mass = dict.fromkeys(exact, 0.0)
        for trace, weight in zip(population.traces, population.weights, strict=True):
            mass[trace.text] += float(weight)
        distances.append(0.5 * sum(abs(mass[text] - exact[text] / total) for text in exact))
    return distances


def rows() -> Iterator[tuple[str, str, str, list[float]]]:
    """Method, setting, what is measured, its values."""
    for scores in ("uniform", "noise"):
        for edge_cost in ("consistent", "rise", "none"):
            yield "astar", f"edge_cost={edge_cost}, {scores}", "prefixes expanded of 364", astar(edge_cost, scores)
    for selection, exploration in ((uct, 1.0), (uct, 0.2), (puct, 0.3)):
        setting = f"{selection.__name__}, c={exploration}"
        yield "mcts", setting, "evaluations until the best of 1,024", mcts(selection, exploration)
    for n, runs, power in ((4, 60, 0.5), (32, 40, 0.5), (256, 12, 0.5), (128, 12, 0.5), (128, 12, 0.8), (128, 12, 1.0)):
        yield "soft_tree_search", f"n={n}, alpha={power}", "total variation to the target", soft(n, runs, power)


def main() -> None:
    """Prints the table, a row as soon as it is known."""
    table = Table("method", "setting", "measure", "mean", "standard error", "runs")
    for method, setting, measure, values in rows():
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        table.add_row(method, setting, measure, f"{np.mean(values):.3g}", f"{error:.2g}", str(len(values)))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
