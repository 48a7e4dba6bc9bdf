"""What all laws need: a toy language, an exact verifier, and a way to run a strategy."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ponder.context import Context, Setup
from ponder.ledger import Budget, Ledger
from ponder.protocols import Until
from ponder.runner import search
from ponder.samplers.toy_language import ToyLanguage
from ponder.types import Population, Problem, Trace

EVEN = {
    "^": {"a": 0.6, "b": 0.4},
    "a": {"c": 0.7, "d": 0.3},
    "b": {"c": 0.2, "d": 0.8},
    "c": {"e": 0.5, "f": 0.5},
    "d": {"e": 0.1, "f": 0.9},
    "e": {"$": 1.0},
    "f": {"$": 1.0},
}
"""Every solution has three characters and an end."""

UNEVEN = {
    "^": {"a": 0.6, "b": 0.4},
    "a": {"b": 0.3, "$": 0.7},
    "b": {"c": 0.5, "$": 0.5},
    "c": {"$": 1.0},
}
"""Solutions have one to three characters and an end."""

SCORES = {"a": 0.7, "b": 0.4, "c": 0.3, "d": 0.8, "e": 0.6, "f": 0.35, "": 0.5}


@dataclass
class Table:
    """Scores a trace by its last character; `async`, so that no thread is started."""

    calls: int = 0
    seen: Counter[Trace] = field(default_factory=Counter)

    async def score(self, traces: Sequence[Trace]) -> list[float]:
        self.calls += len(traces)
        self.seen.update(traces)
        return [SCORES[trace.text[-1:]] for trace in traces]


@dataclass
class Lab:
    """Runs strategies on scripted samplers, one context a seed, many at once."""

    max_steps: int = 40
    max_tokens: int = 1024
    step: Until = field(default_factory=lambda: Until(every=1))

    def contexts(self, sampler: Any, verifier: Any, seeds: Any, budget: Any = None) -> Any:
        setup = Setup(
            samplers={"policy": sampler, "draft": sampler},
            verifiers={"verifier": verifier},
            step=self.step,
            solution=Until(max_tokens=self.max_tokens),
            max_steps=self.max_steps,
        )
        return [Context(setup, Ledger(budget), np.random.default_rng(seed)) for seed in seeds]

    def run(
        self,
        strategy: Any,
        sampler: Any = None,
        verifier: Any = None,
        seed: Any = 0,
        budget: Budget | None = None,
        problem: Any = None,
    ) -> Any:
        """One search: its population (the last reported one if the budget ended it) and its context."""
        (done,) = self.many(strategy, sampler, verifier, [seed], budget, [problem or Problem("p", "ask")])
        return done

    def many(
        self,
        strategy: Any,
        sampler: Any = None,
        verifier: Any = None,
        seeds: Any = range(1),
        budget: Any = None,
        problems: Any = None,
        together: Any = 200,
    ) -> Any:
        """Many searches, `together` at a time."""

        async def one(problem: Problem, ctx: Context) -> tuple[Population, Context]:
            return await search(strategy, problem, ctx), ctx

        async def everything() -> Any:
            contexts = self.contexts(sampler or ToyLanguage(EVEN), verifier or Table(), seeds, budget)
            asked = problems or [Problem("p", "ask")] * len(contexts)
            done = []
            for i in range(0, len(contexts), together):
                pairs = zip(asked[i : i + together], contexts[i : i + together], strict=True)
                done += await asyncio.gather(*(one(problem, ctx) for problem, ctx in pairs))
            return done

        return asyncio.run(everything())

    @staticmethod
    def posterior(language: Any, potential: Any) -> Any:
        """Exact answer distribution under weights `potential(text)`, and the normalising constant."""
        mass = {text: p * potential(text) for text, p in language.enumerate()}
        total = sum(mass.values())
        return {text: m / total for text, m in mass.items()}, total


@pytest.fixture
def lab() -> Any:
    return Lab()


@pytest.fixture
def table() -> Any:
    return Table()


@pytest.fixture
def even() -> Any:
    return ToyLanguage(EVEN)


@pytest.fixture
def uneven() -> Any:
    return ToyLanguage(UNEVEN)


@pytest.fixture
def scores() -> Any:
    """The score of a trace that ends in each character."""
    return SCORES
