"""Sequential feedback: attempts in turn, each told that the ones before are wrong, and no more (arXiv 2504.00294)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.context import Context
from ponder.search.arguments import number, whole
from ponder.search.asking import answering, follow_up, numbered, told
from ponder.search.universal_self_consistency import favouring
from ponder.types import Population, Problem, Trace

AGAIN = """{question}

You have tried before:

{attempts}

{verdict} Find out where it goes wrong, and solve the question anew."""

VERDICT = {1: "This attempt is wrong.", 2: "None of these attempts is right."}


@dataclass(frozen=True)
class SequentialFeedback:
    """The sequential protocol of Balachandran et al. 2025 (arXiv 2504.00294); N is the number of attempts.

    A critic says of each attempt whether it is right, and nothing else: no reason, and never the answer. A wrong one is
    followed by another that sees the earlier ones, until one is accepted, N are made, or the attempts fill the context.
    With `inline` the verdict is put into the attempt itself and the model goes on from there: for models that were
    trained to revise what they wrote. Each attempt then holds the ones before it.

    The critic is a verifier: the exact checker (`verifier=task_oracle`) gives the protocol's upper bound, a reward
    model what it is worth without gold. The accepted attempt, else the best scored, gets all but a trace of the weight;
    the population holds all attempts, so that average, best, worst and majority of N can be told.

    Args:
        n: attempts, from 1.
        threshold: an attempt is accepted from this score on.
        shown: how many of the last attempts the next one sees, from 1; all if None.
        context: tokens that the attempts shown may have together; when they have more the search ends. None for no end.
        inline: the verdict as words after the attempt, such as "Wait"; None to ask anew.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    threshold: float = 0.5
    shown: int | None = None
    context: int | None = 8192
    inline: str | None = None

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("threshold", self.threshold, "(-inf, inf)")
        for name, value in (("shown", self.shown), ("context", self.context)):
            if value is not None:
                whole(name, value)

    @property
    def instructed(self) -> str | None:
        """The role that is asked in words, and so needs a model that follows instructions; None if none is."""
        return "policy" if self.inline is None else None

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Makes attempts until one is accepted; see `ponder.protocols.Strategy`."""
        attempts = await ctx.sample(problem, 1)
        while True:
            ctx.report(favouring(attempts, attempts[-1:]))
            scores = await ctx.score(attempts)
            best = attempts[int(scores.argmax())]
            population = favouring(attempts, [attempts[-1] if scores[-1] >= self.threshold else best])
            ctx.report(population)
            if len(attempts) >= self.n or scores[-1] >= self.threshold or self._full(attempts):
                return population
            attempts += await self._again(attempts, ctx)

    def _full(self, attempts: Sequence[Trace]) -> bool:
        """Whether there is no room for another attempt."""
        if self.inline is not None and not attempts[-1].finished:
            return True  # it was cut off by a limit, and cannot go on
        return self.context is not None and sum(len(one.token_ids) for one in self._seen(attempts)) > self.context

    def _seen(self, attempts: Sequence[Trace]) -> Sequence[Trace]:
        """The attempts that the next one sees."""
        return attempts[-1:] if self.inline is not None else attempts[-(self.shown or self.n) :]

    async def _again(self, attempts: Sequence[Trace], ctx: Context) -> list[Trace]:
        """The next attempt."""
        problem, seen = attempts[0].problem, self._seen(attempts)
        if self.inline is not None:
            return await ctx.sample(told(attempts[-1], self.inline), 1)
        verdict = VERDICT[min(len(seen), 2)]
        prompt = AGAIN.format(question=problem.prompt, attempts=numbered(seen, "Attempt"), verdict=verdict)
        replies = await ctx.sample(follow_up(problem, prompt, f"attempt {len(attempts)}"), 1)
        return [answering(problem, reply) for reply in replies]
