"""SpecReason's judge: how good is the last step, on a scale from 0 to 9 (arXiv 2504.07891)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from ponder.errors import UserError
from ponder.protocols import Sampler
from ponder.types import Cost, Score, Trace
from ponder.verifiers.judging import Judge, Judgement, asked, bill, fraction, whole
from ponder.verifiers.reduce import reduction as reduction_named
from ponder.verifiers.step_by_step import StepByStep

Digit = Literal["greedy", "expected"]

PROMPT = """Below are a question and the steps of a solution so far. Judge the last step alone, and by its correctness \
alone: are its facts and its arithmetic right, and does it follow from the question and the steps before it? Style, \
wording and how useful it is do not count. Give it a score from 0 (wrong) to 9 (certainly right).

Question:
{question}

{steps}"""

OPENING = "Score of the last step (0 to 9): "
DIGITS = tuple("0123456789")


class SpecReasonJudge:
    """The judge of SpecReason (Pan et al. 2025, arXiv 2504.07891): one probed digit for each step, over 9.

    A step is judged once: a trace one step deeper costs one probe. The paper accepts a step from 7 (of 9) on, which is
    7/9 here: scores are in [0, 1], as particle filtering needs them.

    Args:
        judge: the model that judges.
        digit: "greedy", the likeliest digit, or "expected", the mean digit under their probabilities.
        reduction: how step scores become one: last (the paper's), min, prod, mean.
        neutral: score of a solution without text.
        memory: how many step scores are kept.

    Raises:
        UserError: no model, or an argument that is not allowed.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        digit: Digit = "expected",
        reduction: str = "last",
        neutral: float = 0.5,
        memory: int = 200_000,
    ) -> None:
        if digit not in get_args(Digit):
            raise UserError(f"verifier.digit={digit!r} is unknown", f"allowed: {', '.join(get_args(Digit))}")
        fraction("neutral", neutral)
        whole("memory", memory)
        self.judge = Judge(judge)
        self.digit = digit
        self._reduce = reduction_named(reduction)
        self._steps = StepByStep(PROMPT, self._judged, self._quote, neutral, memory)

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One `Score` in [0, 1] for each trace, with a score for each step.

        Raises:
            VerifierError: the judge failed, also when asked again.
        """
        return await self._steps.score(traces, self._reduce)

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring a trace can cost: its steps that were not judged before."""
        return self._steps.quote(trace)

    async def _judged(self, message: str) -> Judgement:
        found = await self.judge.probe(Trace(asked(message)), OPENING, DIGITS)
        return Judgement.mean([self._value(found)], bill([found]))

    def _quote(self, message: str) -> Cost:
        return self.judge.quote_probe(message, OPENING)

    def _value(self, found: Sequence[float]) -> float | None:
        """The digit over 9; None if the judge gives no digit any probability."""
        if not (total := sum(found)) > 0:
            return None
        if self.digit == "greedy":
            return max(range(10), key=found.__getitem__) / 9
        return min(1.0, sum(digit * p for digit, p in enumerate(found)) / total / 9)
