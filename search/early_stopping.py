"""Early-stopping self-consistency: stop at the first unanimous window (arXiv 2401.10480)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context
from ponder.search.arguments import whole
from ponder.types import Population, Problem, Trace


@dataclass(frozen=True)
class EarlyStopping:
    """Early-stopping self-consistency, ESC (Li et al. 2024, arXiv 2401.10480); N is the most solutions sampled.

    Solutions are drawn a window at a time; sampling stops when all of one window have the same answer. All drawn until
    then vote. A window with an unfinished solution, or one without an answer, does not stop.
    Needs no verifier: all weights are equal, and `majority` selects.

    Args:
        n: the most solutions, from 1 (the paper's 40). The last window may be shorter.
        window: solutions of a window, from 2 (the paper's 5 to 8).

    Raises:
        UserError: an argument out of range.
    """

    n: int
    window: int = 5

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("window", self.window, least=2)

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Samples windows until one is unanimous or n are drawn; see `ponder.protocols.Strategy`."""
        traces: list[Trace] = []
        window: list[Trace] = []
        population = Population.equal(traces)
        while len(traces) < self.n and not self._unanimous(window, ctx):
            window = await ctx.sample(problem, min(self.window, self.n - len(traces)))
            traces += window
            population = Population.equal(traces)
            ctx.report(population)
        return population

    def _unanimous(self, window: list[Trace], ctx: Context) -> bool:
        """Whether all of a window have one answer."""
        answers = {ctx.answer(trace) if trace.finished else None for trace in window}
        return len(answers) == 1 and None not in answers
