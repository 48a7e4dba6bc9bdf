"""How sure the policy itself is of a solution: from its log-probabilities, or by asking it. No second model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ponder.errors import UserError
from ponder.protocols import Sampler
from ponder.types import Cost, Score, Trace
from ponder.verifiers.judging import Judge, Judgement, asked, bill, each, fraction, share

PROMPT = """A question and a proposed solution follow. Is the solution true, or is it false?

Question:
{question}

Proposed solution:
{solution}

Is the proposed solution:
(A) True
(B) False"""


class Confidence:
    """A measure of the log-probabilities with which the policy wrote a solution.

    Measures live in `search/`, where strategies use them, too: `uncertainty.mean_logprob`,
    `self_certainty.certainty` (arXiv 2502.18581), `deepconf.trace_confidence` (arXiv 2508.15260).

    Args:
        measure: a function (trace) -> float, higher is surer.
        low: the lowest value that it can have, None for unbounded.
        high: the highest, None for unbounded.
        neutral: the score of a trace without tokens, in [low, high].

    Raises:
        UserError: no function, or `neutral` lies outside [low, high]; while scoring: a trace lacks the
            log-probabilities that the measure needs.
    """

    needs_logprobs = True

    def __init__(
        self,
        measure: Callable[[Trace], float],
        low: float | None = None,
        high: float | None = None,
        neutral: float = 0.0,
    ) -> None:
        if not callable(measure):
            raise UserError(f"verifier.measure={measure!r} is no function", "allowed: a function (trace) -> float")
        self.range = (-math.inf if low is None else low, math.inf if high is None else high)
        if not self.range[0] < self.range[1]:
            raise UserError(f"verifier.low={low} is not below verifier.high={high}", "give the measure's own range")
        if not (self.range[0] <= neutral <= self.range[1] and math.isfinite(neutral)):
            raise UserError(f"verifier.neutral={neutral} is out of range", f"allowed: numbers in {list(self.range)}")
        self.measure = measure
        self.neutral = neutral

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """The measure of each trace."""
        return [self._measured(trace) for trace in traces]

    def _measured(self, trace: Trace) -> float:
        if not (trace.text or trace.token_ids):
            return self.neutral
        try:
            # Text without tokens would pass for an empty solution, whose mean log-probability is the highest: 0.
            if any(step.text and not step.token_ids for step in trace.steps):
                raise UserError("the trace has no tokens")
            return self.measure(trace)
        except UserError as error:
            raise UserError(
                f"verifier.measure: a solution of {trace.problem.id} does not say how likely its tokens were",
                "set sampler.top_logprobs=20 with sampler=vllm or sampler=hf; stored rows and scripted solutions "
                "have no log-probabilities of single tokens",
            ) from error


class PTrue:
    """P(True): the model's own probability that a solution is true (Kadavath et al. 2022, arXiv 2207.05221).

    Asked whether the proposed solution is (A) True or (B) False, the model would go on with A or with B: the score is
    p(A) / (p(A) + p(B)), read from one probe, in [0, 1]. It should follow instructions.

    Args:
        judge: the model that is asked; the policy itself in the paper.
        suffix: the opening of its reply, before the letter.
        true: what it goes on with if the solution is true.
        false: what it goes on with if not; begins with another token than `true`.
        neutral: the score of an empty trace, in [0, 1].

    Raises:
        UserError: no model, equal letters, or `neutral` outside [0, 1].
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        suffix: str = "The proposed solution is: (",
        true: str = "A",
        false: str = "B",
        neutral: float = 0.5,
    ) -> None:
        if not (true and false) or true == false:
            raise UserError(f"verifier.true={true!r}, verifier.false={false!r}", "allowed: two texts that differ")
        fraction("neutral", neutral)
        self.judge = Judge(judge)
        self.suffix = suffix
        self.choices = (true, false)
        self.neutral = neutral

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """The probability of "true" for each trace; 0, and told as unread, where the model would say neither."""
        return await each(traces, self._score)

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring a trace can cost."""
        return self.judge.quote_probe(_question(trace), self.suffix) if trace.text.strip() else Cost()

    async def _score(self, trace: Trace) -> Score:
        if not trace.text.strip():
            return Score(self.neutral)
        found = await self.judge.probe(Trace(asked(_question(trace))), self.suffix, self.choices)
        return Judgement.mean([share(found)], bill([found])).score()


def _question(trace: Trace) -> str:
    return PROMPT.format(question=trace.problem.prompt, solution=trace.text.strip())
