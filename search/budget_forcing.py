"""Budget forcing: think no longer than so many tokens, or think on when done (s1, arXiv 2501.19393)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ponder.context import Context
from ponder.search.arguments import whole
from ponder.search.asking import told
from ponder.types import Population, Problem, Step, Trace


@dataclass(frozen=True)
class Chain:
    """A solution on its way.

    Attributes:
        trace: what there is of it.
        extensions: how often it may still be made to think on.
        thinking: whether its thought goes on.
    """

    trace: Trace
    extensions: int
    thinking: bool = True


@dataclass(frozen=True)
class BudgetForcing:
    """Budget forcing (s1, Muennighoff et al. 2025, arXiv 2501.19393); N is the number of solutions, which vote.

    Where a model ends its thought, the end is taken away and `wait` put in its place, `extensions` times. A thought of
    `cap` tokens is ended by force: `answer` is appended, and the model goes on from there. Needs no verifier.

    Args:
        n: solutions, from 1.
        extensions: how often a thought is made to go on, from 0; the paper takes 1 to 6.
        wait: what is said instead of the end.
        cap: tokens after which a thought is ended, checked at the end of each step; None for no cap.
        end: how the model ends its thought, such as "</think>"; None for a model that thinks in its answer, so that the
            thought ends with it.
        answer: what ends a thought by force; `end` should be a part of it where there is one.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    extensions: int = 1
    wait: str = "Wait"
    cap: int | None = None
    end: str | None = "</think>"
    answer: str = "\n</think>\n\nFinal Answer:"

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("extensions", self.extensions, least=0)
        if self.cap is not None:
            whole("cap", self.cap)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Lets n chains think within their bounds, and answer; see `ponder.protocols.Strategy`."""
        chains = [Chain(Trace(problem), self.extensions)] * self.n
        while any(chain.trace.alive for chain in chains):
            moved = await ctx.step([chain.trace for chain in chains])
            chains = [self._bounded(replace(chain, trace=trace)) for chain, trace in zip(chains, moved, strict=True)]
            population = Population.equal([chain.trace for chain in chains])
            ctx.report(population)
        return population

    def _bounded(self, chain: Chain) -> Chain:
        """The chain after a step: made to think on where it wanted to end, or to end where it thought for long."""
        trace = chain.trace
        if not chain.thinking or trace.closed:
            return chain
        last = trace.steps[-1].text
        ended = trace.finished or (self.end is not None and self.end in last)
        if ended and chain.extensions:
            before = last if self.end is None else last.partition(self.end)[0]
            open_again = replace(trace, steps=(*trace.steps[:-1], Step(before)))
            return Chain(told(open_again, self.wait), chain.extensions - 1)
        if ended:
            return replace(chain, thinking=False)
        if self.cap is not None and len(trace.token_ids) >= self.cap:
            return Chain(told(trace, self.answer), 0, thinking=False)
        return chain
