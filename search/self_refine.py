"""Self-Refine: solve, criticise the solution, write it anew, until the critic is content (arXiv 2303.17651)."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.context import Context
from ponder.search.arguments import whole
from ponder.search.asking import answering, follow_up, question
from ponder.search.universal_self_consistency import favouring
from ponder.types import Population, Problem

CRITIQUE = """Below are a question and a solution of it.

Question:
{question}

Solution:
{solution}

Go through the solution and say what is wrong with it and how to mend it, in a few sentences. If nothing is wrong, \
reply "{content}" and nothing else."""

REVISION = """{question}

An earlier attempt:
{solution}

What a reader says of it:
{feedback}

Solve the question anew, and heed the reader where they are right."""


@dataclass(frozen=True)
class SelfRefine:
    """Self-Refine (Madaan et al. 2023, arXiv 2303.17651); N is the number of solutions, the first one included.

    One model solves, criticises and revises; a revision sees the last attempt and what was said of it. It ends with N
    solutions, or when the critic finds nothing wrong. The last solution gets all but a trace of the weight; `majority`
    still counts all of them.

    Args:
        n: solutions, from 1; with 1 nobody is asked.
        critic: the role of the model that criticises: "policy" for itself, or one that is bound under `roles`.
        content: what the critic replies if nothing is wrong.

    Raises:
        UserError: n is no whole number from 1, or nobody is bound to the role.
    """

    n: int
    critic: str = "policy"
    content: str = "Nothing is wrong."

    def __post_init__(self) -> None:
        whole("n", self.n)

    @property
    def instructed(self) -> str:
        """The role that is asked in words, and so needs a model that follows instructions."""
        return self.critic

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Solves, and revises up to n - 1 times; see `ponder.protocols.Strategy`."""
        attempts = await ctx.sample(problem, 1)
        population = favouring(attempts, attempts[-1:])
        ctx.report(population)
        while len(attempts) < self.n:
            said = {"question": problem.prompt, "solution": attempts[-1].text.strip()}
            asked = question(problem, CRITIQUE.format(**said, content=self.content), f"critique {len(attempts)}")
            (critique,) = await ctx.sample(asked, 1, role=self.critic)
            if self.content in critique.text:
                break
            revision = REVISION.format(**said, feedback=critique.text.strip())
            (reply,) = await ctx.sample(follow_up(problem, revision, f"revision {len(attempts)}"), 1)
            attempts.append(answering(problem, reply))
            population = favouring(attempts, attempts[-1:])
            ctx.report(population)
        return population
