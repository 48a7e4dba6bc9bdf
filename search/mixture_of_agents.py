"""Mixture-of-agents: several models propose, layer by layer, and one writes the answer (arXiv 2406.04692)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.context import Context, gather
from ponder.errors import UserError
from ponder.search.arguments import whole
from ponder.search.asking import pooled
from ponder.search.recursive_aggregation import aggregated
from ponder.search.universal_self_consistency import favouring
from ponder.types import Population, Problem


@dataclass(frozen=True)
class MixtureOfAgents:
    """Mixture-of-agents (Wang et al. 2024, arXiv 2406.04692); N is the number of proposals in a layer.

    The proposers of the first layer solve the question, those of later layers see all proposals of the layer before,
    and the aggregator writes one solution from the last layer. It gets all but a trace of the weight; the last
    proposals stand beside it, so that `majority` tells what a plain vote would have made of them: much of what is
    gained here is a vote's.

    Args:
        n: proposals in a layer, from 1, shared among the proposers in turn.
        layers: layers of proposals, from 1; the paper takes 3 with the aggregator, which is 2 here.
        proposers: roles that propose; "policy", and those bound under `roles`.
        aggregator: the role that writes the last solution.

    Raises:
        UserError: an argument out of range, or nobody is bound to a role.
    """

    n: int
    layers: int = 2
    proposers: Sequence[str] = ("policy",)
    aggregator: str = "policy"

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("layers", self.layers)
        if isinstance(self.proposers, str) or not self.proposers:
            raise UserError(f"search.proposers={self.proposers!r} is no list of roles", "allowed: as in [policy,other]")

    @property
    def instructed(self) -> str:
        """The role that is asked in words, and so needs a model that follows instructions."""
        return self.aggregator

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Proposes layer by layer and aggregates; see `ponder.protocols.Strategy`."""
        roles = [self.proposers[i % len(self.proposers)] for i in range(self.n)]
        counts = {role: roles.count(role) for role in self.proposers if role in roles}
        asked = {role: ctx.sample(problem, count, role=role) for role, count in counts.items()}
        proposals = await pooled(ctx, asked)
        for layer in range(1, self.layers):
            written = [aggregated(problem, proposals, ctx, f"layer {layer}.{i}", role) for i, role in enumerate(roles)]
            proposals = await gather(written)
            ctx.report(Population.equal(proposals))
        last = await aggregated(problem, proposals, ctx, "aggregate", self.aggregator)
        population = favouring([*proposals, last], [last])
        ctx.report(population)
        return population
