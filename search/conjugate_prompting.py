"""Conjugate prompting: ask in another language, and bring the answer back (arXiv 2309.10105)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context, gather
from ponder.search.arguments import whole
from ponder.search.asking import answering, question
from ponder.search.cross_lingual import translation
from ponder.search.lookahead import GREEDY
from ponder.types import Population, Problem, Trace


@dataclass(frozen=True)
class ConjugatePrompting:
    """Conjugate prompting (Kotha et al. 2023, arXiv 2309.10105); N is the number of solutions, which vote.

    The question is moved to where the model was tuned less, another language, answered there, and the answer moved
    back: s^-1(f(s(question))). Answers that every language writes alike, numbers say, need no way back: then `back` is
    None.

    Args:
        n: solutions, from 1.
        language: in words, such as "French".
        translator: the role that translates, greedily.
        instruction: what is asked, with `{question}` where the translated question goes.
        back: the request to translate a solution back, with `{solution}`; None for none.

    Raises:
        UserError: n is no whole number from 1.
    """

    n: int
    language: str = "French"
    translator: str = "policy"
    instruction: str = "{question}"
    back: str | None = None

    def __post_init__(self) -> None:
        whole("n", self.n)

    @property
    def instructed(self) -> str:
        """The role that is asked in words, and so needs a model that follows instructions."""
        return self.translator

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Asks in another language; see `ponder.protocols.Strategy`."""
        (moved,) = await ctx.sample(translation(problem, self.language), 1, role=self.translator, picking=GREEDY)
        prompt = self.instruction.replace("{question}", moved.text.strip())
        drawn = await ctx.sample(Problem(f"{problem.id}/{self.language}", prompt, problem.meta), self.n)
        population = Population.equal([answering(problem, trace) for trace in drawn])
        ctx.report(population)
        if self.back is not None:
            returned = await gather(self._back(problem, trace, i, ctx) for i, trace in enumerate(drawn))
            population = Population.equal(returned)
            ctx.report(population)
        return population

    async def _back(self, problem: Problem, trace: Trace, i: int, ctx: Context) -> Trace:
        assert self.back is not None
        asked = question(problem, self.back.replace("{solution}", trace.text.strip()), f"back {i}")
        (reply,) = await ctx.sample(asked, 1, role=self.translator, picking=GREEDY)
        return answering(problem, reply)
