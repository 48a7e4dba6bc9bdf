"""Cross-lingual consistency: one budget over several languages, one vote (arXiv 2504.01857)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ponder.context import Context
from ponder.errors import UserError
from ponder.search.arguments import whole
from ponder.search.asking import pooled, question
from ponder.search.lookahead import GREEDY
from ponder.types import Population, Problem, Trace

TRANSLATION = """Translate the following question into {language}. Reply with the translation and nothing else.

{question}"""


@dataclass(frozen=True)
class CrossLingual:
    """Cross-lingual consistency (CLC, Yu et al. 2025, arXiv 2504.01857); N is the number of solutions in all languages.

    The question is asked in each of L languages, N / L times (the first ones once more where L does not divide N), and
    all answers vote together: the same number of solutions as a monolingual vote. The wording of a language is an
    instruction from conf with the question in its place; the question itself is taken from the problem's
    `meta["questions"]` where the task has it in that language (`task=mgsm` has), else a model translates it once, which
    is billed, or it stays as it is.

    Args:
        n: solutions, from 1.
        instructions: by language, what is asked, with `{question}` where the question goes.
        translator: the role that translates; None leaves a question without translation in its own language.
        names: by language, its name in words for the translator.

    Raises:
        UserError: n is no whole number from 1, or an instruction without a place for the question.
    """

    n: int
    instructions: Mapping[str, str]
    translator: str | None = None
    names: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        whole("n", self.n)
        if not self.instructions:
            raise UserError(
                "search.instructions is empty", "give at least one language, as in instructions.en='{question}'"
            )
        for language, text in self.instructions.items():
            if "{question}" not in text:
                where = f"search.instructions.{language}={text!r}"
                raise UserError(f"{where} has no place for the question", "write {question} where it goes")

    @property
    def instructed(self) -> str:
        """The role that is asked in words, and so needs a model that follows instructions."""
        return "policy"

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Asks in every language and pools the answers; see `ponder.protocols.Strategy`."""
        languages = list(self.instructions)[: self.n]
        shares = [len(range(i, self.n, len(languages))) for i in range(len(languages))]
        asked = {
            language: self._drawn(problem, language, share, ctx)
            for language, share in zip(languages, shares, strict=True)
        }
        population = Population.equal(await pooled(ctx, asked))
        ctx.report(population)
        return population

    async def _drawn(self, problem: Problem, language: str, share: int, ctx: Context) -> list[Trace]:
        """A language's share of the solutions."""
        return await ctx.sample(await self._asked(problem, language, ctx), share)

    async def _asked(self, problem: Problem, language: str, ctx: Context) -> Problem:
        """The question as it is asked in a language."""
        text = (problem.meta.get("questions") or {}).get(language)
        if text is None and self.translator is not None and problem.meta.get("lang") != language:
            name = (self.names or {}).get(language, language)
            (reply,) = await ctx.sample(translation(problem, name), 1, role=self.translator, picking=GREEDY)
            text = reply.text.strip()
        prompt = self.instructions[language].replace("{question}", text or problem.prompt)
        return Problem(problem.id, prompt, {**problem.meta, "lang": language})  # the task reads answers by `lang`


def translation(problem: Problem, language: str) -> Problem:
    """The request to translate a question."""
    return question(problem, TRANSLATION.format(language=language, question=problem.prompt), f"translate {language}")
