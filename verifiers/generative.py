"""GenRM: a model reads a solution and says Yes or No; the score is how likely its Yes is (arXiv 2408.15240)."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.protocols import Sampler
from ponder.types import Cost, Score, Trace
from ponder.verifiers.judging import Judge, Judgement, asked, bill, criticised, each, fraction, share, whole

VERDICT = "Is the answer correct (Yes/No)?"
"""The question that GenRM models were trained with, as they were with the two answers to it."""

PROMPT = f"""You are given a question and a solution of it that may be right or wrong.

Question:
{{question}}

Solution:
{{solution}}

{VERDICT}"""

CRITIQUE = f"""You are given a question and a solution of it that may be right or wrong.

Question:
{{question}}

Solution:
{{solution}}

Verify the solution step by step: does each step follow, is its arithmetic right, does it answer the question? Close \
with "{VERDICT}" and your verdict."""


class GenRM:
    """GenRM (Zhang et al. 2024, arXiv 2408.15240), direct: one probe, p(Yes) / (p(Yes) + p(No)) for the whole solution.

    That the two are normalised is our reading; the paper takes p(Yes) of a model that says little else. Nothing is
    written, so that a solution costs its own length and one token. If the judge gives neither word any probability,
    the solution is unread and scores 0.

    Args:
        judge: the model that judges.
        neutral: score of a solution without text.

    Raises:
        UserError: no model, or `neutral` outside [0, 1].
    """

    range = (0.0, 1.0)

    def __init__(self, judge: Sampler, neutral: float = 0.5) -> None:
        fraction("neutral", neutral)
        self.judge = Judge(judge)
        self.neutral = neutral

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One `Score` in [0, 1] for each trace, without step scores.

        Raises:
            VerifierError: the judge failed, also when asked again.
        """
        return await each(traces, self._score)

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring a trace can cost."""
        return self.judge.quote_probe(_filled(PROMPT, trace)) if trace.text.strip() else Cost()

    async def _score(self, trace: Trace) -> Score:
        if not trace.text.strip():
            return Score(self.neutral)
        found = await self.judge.probe(Trace(asked(_filled(PROMPT, trace))), "", ("Yes", "No"))
        return Judgement.mean([share(found)], bill([found])).score()


class GenRMCoT:
    """GenRM-CoT (Zhang et al. 2024, arXiv 2408.15240): k critiques, a Yes/No probe after each, averaged.

    A critique that was cut off before its verdict is unread: it is counted, and is no part of the mean. A solution
    none of whose critiques ended scores 0.

    Args:
        judge: the model that judges.
        k: critiques a solution, from 1. The paper's votes go to 32.
        max_tokens: the most tokens of a critique.
        temperature: of the critiques, 0 is greedy (then one says all); None keeps the judge's.
        neutral: score of a solution without text.

    Raises:
        UserError: no model, or an argument out of range.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        k: int = 4,
        max_tokens: int = 1024,
        temperature: float | None = 0.7,
        neutral: float = 0.5,
    ) -> None:
        whole("k", k)
        fraction("neutral", neutral)
        self.judge = Judge(judge, max_tokens, temperature)
        self.k = k
        self.neutral = neutral

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One `Score` in [0, 1] for each trace, without step scores.

        Raises:
            VerifierError: the judge failed, also when asked again.
        """
        return await each(traces, self._score)

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring a trace can cost."""
        if not trace.text.strip():
            return Cost()
        return self.judge.quote(_filled(CRITIQUE, trace), self.k, suffix=f"\n{VERDICT}")

    async def _score(self, trace: Trace) -> Score:
        if not trace.text.strip():
            return Score(self.neutral)
        message = _filled(CRITIQUE, trace)
        return (await criticised(self.judge, message, self.k, VERDICT, (" Yes", " No"))).score()


def _filled(prompt: str, trace: Trace) -> str:
    return prompt.format(question=trace.problem.prompt, solution=trace.text.strip())
