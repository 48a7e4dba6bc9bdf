"""Compute-optimal scaling: guess how hard a question is, then run what suits it (arXiv 2408.03314)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from ponder.context import Context
from ponder.errors import UserError
from ponder.protocols import Strategy
from ponder.search.arguments import choice, whole
from ponder.types import Population, Problem

Estimate = Literal["votes", "verifier"]
ESTIMATES = ("votes", "verifier")


@dataclass(frozen=True)
class Choice:
    """What a bin runs.

    Attributes:
        strategy: its name.
        shape: fields of the strategy with a value other than its own, such as {"n": 8}.
    """

    strategy: str
    shape: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """Which strategy for which ease: bins of ease, and a choice for each.

    Attributes:
        edges: rising; bin i holds eases from edge i - 1, inclusive, to edge i, exclusive. Bin 0 is the hardest.
        choices: one for each bin.
        estimate: the ease that the edges speak of; None for either.
        probes: solutions that it was estimated from; None for any number.
    """

    edges: tuple[float, ...]
    choices: tuple[Choice, ...]
    estimate: str | None = None
    probes: int | None = None

    def bin(self, ease: float) -> int:
        """The bin of a question of this ease, from 0, the hardest."""
        return int(np.searchsorted(self.edges, ease, side="right"))

    @classmethod
    def load(cls, path: str) -> Policy:
        """The policy of a file as `ponder-fit-policy` writes it.

        Raises:
            UserError: the file is missing or malformed.
        """
        try:
            table = json.loads(Path(path).read_text(encoding="utf-8"))
            choices = tuple(Choice(str(one["strategy"]), dict(one["shape"])) for one in table["choices"])
            edges = tuple(float(edge) for edge in table["edges"])
            policy = cls(edges, choices, str(table["estimate"]), int(table["probes"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"search.table={path}: no policy ({type(error).__name__}: {error})",
                "write one with `ponder-fit-policy DIR... out=policy.json`, or leave search.table=null",
            ) from error
        if len(choices) != len(edges) + 1 or list(edges) != sorted(set(edges)):
            raise UserError(
                f"search.table={path}: {len(edges)} edges and {len(choices)} choices",
                "allowed: rising edges, and one choice more than edges",
            )
        return policy


OURS = Policy((0.5,), (Choice("particle_filtering"), Choice("best_of_n")))
"""Without a table: particle filtering where the ease is below a half, best-of-N above. Our choice."""


@dataclass(frozen=True)
class ComputeOptimal:
    """Compute-optimal scaling (Snell et al. 2024, arXiv 2408.03314); N is the budget of the strategy that it chooses.

    A few solutions, the probes, tell how easy the question is. Its bin of ease names a strategy, which then runs as if
    alone, on the same context. The probes come on top of N, are billed, and are not part of the result: the chosen
    strategy's population is.

    Args:
        n: the budget, from 1: the n of the strategies, which the table may only lower.
        strategies: by name, what a table may choose.
        probes: solutions for the estimate, from 1; 4 is our choice.
        estimate: the ease of a question. "votes": the share of the most frequent answer among the probes, an answer
            that was not found being no answer. "verifier": the mean verifier score of the probes.
        table: a file by `ponder-fit-policy`; None is `OURS`.

    Raises:
        UserError: an argument out of range; a table that is missing, malformed or fitted to another estimate; a choice
            that names no strategy or does not fit it.
    """

    n: int
    strategies: Mapping[str, Strategy]
    probes: int = 4
    estimate: Estimate = "votes"
    table: str | None = None

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("probes", self.probes)
        choice("estimate", self.estimate, ESTIMATES)
        for name, own in (("estimate", self.estimate), ("probes", self.probes)):
            fitted = getattr(self.policy, name)
            if fitted not in (None, own):
                raise UserError(f"search.{name}={own!r} does not fit search.table", f"the table has {name}={fitted}")
        for one in self.policy.choices:
            self._shaped(one)  # now, so that a mistake in the table is told at once

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Probes, then runs the strategy of the question's bin; see `ponder.protocols.Strategy`."""
        probes = Population.equal(await ctx.sample(problem, self.probes))
        ctx.report(probes)
        if self.estimate == "verifier":
            ease = float(np.mean(await ctx.score(probes.traces)))
        else:
            ease = agreement([ctx.answer(trace) for trace in probes.traces])
        strategy = self._shaped(self.policy.choices[self.policy.bin(ease)])
        return await strategy(problem, ctx)

    @cached_property
    def policy(self) -> Policy:
        """The table."""
        return OURS if self.table is None else Policy.load(self.table)

    def _shaped(self, one: Choice) -> Strategy:
        """A choice's strategy, in its shape."""
        if one.strategy not in self.strategies:
            raise UserError(
                f"search.table={self.table} chooses {one.strategy!r}, which is not in search.strategies",
                f"there are: {', '.join(self.strategies)}; add yours to search.strategies",
            )
        strategy: Any = self.strategies[one.strategy]
        try:
            shaped = replace(strategy, **one.shape) if one.shape else strategy
        except TypeError as error:
            raise UserError(
                f"search.table={self.table}: {one.strategy} cannot be given {dict(one.shape)}", str(error)
            ) from error
        if getattr(shaped, "n", 0) > self.n:
            raise UserError(
                f"search.n={self.n} is below the n={shaped.n} of {one.strategy}",
                f"set budget.n={shaped.n}, or fit a table with n={self.n}",
            )
        return cast(Strategy, shaped)


def agreement(answers: Sequence[str | None]) -> float:
    """The share of the most frequent answer, in [0, 1]; None is no answer, but counts among all."""
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts.values(), default=0) / max(1, len(answers))
