"""Critics of steps: ThinkPRM reads a solution in one go (arXiv 2504.16828), GenPRM step by step (arXiv 2504.00891)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

from ponder.errors import UserError
from ponder.protocols import Sampler
from ponder.types import Cost, Score, Trace
from ponder.verifiers.judging import (
    Judge,
    Judgement,
    after_thought,
    before,
    bill,
    criticised,
    each,
    fraction,
    numbered_steps,
    share,
    spread,
    together,
    whole,
)
from ponder.verifiers.reduce import reduction as reduction_named
from ponder.verifiers.step_by_step import StepByStep

Value = Literal["yes", "steps"]

CHAIN = """You are given a question and a solution of it in steps, which may be right or wrong, and may end before the \
answer.

Question:
{question}

Solution:
{steps}

Review every step that is there, in order: is it right, and does it follow? After the review of a step give its \
verdict, \\boxed{{correct}} or \\boxed{{incorrect}}, once for each step. After an incorrect step you may stop."""

VERDICT = "Is the solution correct?"
"""What ThinkPRM models were trained to close with, as they were with the verdicts in boxes."""

OWN_PATTERN = "verdicts"

STEP = """You are given a question and the beginning of a solution. The steps before the last one are context. Review \
the last step: restate what it claims, check it by careful reasoning (no code is run), and say what you find. Close \
with the line **Judgement**: $\\boxed{{Yes}}$ if the last step is right, **Judgement**: $\\boxed{{No}}$ if it is not.

Question:
{question}

{steps}"""

JUDGEMENT = "**Judgement**: $\\boxed{"
"""How GenPRM models were trained to give their verdict, Yes or No."""


class ThinkPRM:
    """ThinkPRM (Khalifa et al. 2025, arXiv 2504.16828): k critiques of all steps, with a verdict on each.

    A step's score is the share of critiques that hold it and all steps before it correct. A critique is read if it
    ended and gave one verdict a step, or stopped at a wrong one. The others are unread: counted, and no part of any
    score; if no critique can be read, all scores are 0. A trace that grew is read again from its beginning: for
    step-wise searches GenPRM is cheaper.

    Args:
        judge: the model that judges.
        k: critiques a solution, from 1.
        value: "yes", the paper's: the mean of p(Yes) / (p(Yes) + p(No)) after "Is the solution correct?", asked at the
            end of each critique; or "steps": the share of critiques that hold all steps correct, without that probe.
        max_tokens: the most tokens of a critique.
        temperature: of the critiques, 0 is greedy; None keeps the judge's.
        opening: how a critique begins. ThinkPRM models write it themselves after their "<think>".
        pattern: a regular expression that critiques obey, "verdicts" for one verdict a step and nothing else (guided
            decoding; vLLM can); None for none.
        neutral: score of a solution without text.

    Raises:
        UserError: no model, or an argument that is not allowed.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        k: int = 4,
        value: Value = "yes",
        max_tokens: int = 4096,
        temperature: float | None = 0.4,
        opening: str = "Let's verify step by step:",
        pattern: str | None = None,
        neutral: float = 0.5,
    ) -> None:
        if value not in get_args(Value):
            raise UserError(f"verifier.value={value!r} is unknown", f"allowed: {', '.join(get_args(Value))}")
        whole("k", k)
        fraction("neutral", neutral)
        self.own_pattern = pattern == OWN_PATTERN
        self.judge = Judge(judge, max_tokens, temperature, _pattern(1) if self.own_pattern else pattern)
        self.k = k
        self.value = value
        self.opening = opening
        self.neutral = neutral

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One `Score` in [0, 1] for each trace, with a score for each step.

        Raises:
            VerifierError: the judge failed, also when asked again.
        """
        return await each(traces, self._score)

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring a trace can cost."""
        if not trace.text.strip():
            return Cost()
        suffix = f"\n{VERDICT}" if self.value == "yes" else None
        return self.judge.quote(self._message(trace), self.k, self.opening, suffix)

    async def _score(self, trace: Trace) -> Score:
        if not trace.text.strip():
            return Score(self.neutral, [self.neutral] * len(trace))
        count = sum(bool(step.text.strip()) for step in trace.steps)
        pattern = _pattern(count) if self.own_pattern else None
        replies = await self.judge.ask(self._message(trace), self.k, self.opening, pattern)
        heard = [(reply, sound) for reply in replies if (sound := _sound(reply, count)) is not None]
        probing = [reply for reply, _ in heard] if self.value == "yes" else []
        found = await together(
            self.judge.probe(before(reply, VERDICT), f"\n{VERDICT}", (" Yes", " No")) for reply in probing
        )
        cost = bill([*replies, *found])
        held = [sum(sound >= place for _, sound in heard) / max(1, len(heard)) for place in range(1, count + 1)]
        steps = spread(trace, held, self.neutral)
        if self.value == "steps":
            return Score(steps[-1], steps, cost, self.k - len(heard))
        unread = [None] * (self.k - len(heard))
        judgement = Judgement.mean([*map(share, found), *unread], cost)
        return Score(judgement.score(), steps, cost, judgement.unread)

    def _message(self, trace: Trace) -> str:
        return CHAIN.format(question=trace.problem.prompt, steps=numbered_steps(trace))


class GenPRM:
    """GenPRM (Zhao et al. 2025, arXiv 2504.00891): k critiques of each step, p(Yes) after each, averaged.

    A step is criticised once: a trace one step deeper costs the critiques of its new step. A critique that was cut off
    before its judgement is unread: counted, and no part of the average; a step without a readable one scores 0. The
    paper's critiques also write code that is executed. Ours run nothing that a model wrote.

    Args:
        judge: the model that judges.
        k: critiques a step, from 1. The paper's votes go to 8 and more.
        reduction: how step scores become one: last, min, prod, mean.
        max_tokens: the most tokens of a critique.
        temperature: of the critiques, 0 is greedy; None keeps the judge's.
        neutral: score of a solution without text.
        memory: how many step scores are kept.

    Raises:
        UserError: no model, or an argument that is not allowed.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        k: int = 1,
        reduction: str = "last",
        max_tokens: int = 2048,
        temperature: float | None = 0.6,
        neutral: float = 0.5,
        memory: int = 200_000,
    ) -> None:
        whole("k", k)
        whole("memory", memory)
        fraction("neutral", neutral)
        self.judge = Judge(judge, max_tokens, temperature)
        self.k = k
        self._reduce = reduction_named(reduction)
        self._steps = StepByStep(STEP, self._judged, self._quote, neutral, memory)

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One `Score` in [0, 1] for each trace, with a score for each step.

        Raises:
            VerifierError: the judge failed, also when asked again.
        """
        return await self._steps.score(traces, self._reduce)

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring a trace can cost: its steps that were not criticised before."""
        return self._steps.quote(trace)

    async def _judged(self, message: str) -> Judgement:
        return await criticised(self.judge, message, self.k, JUDGEMENT, ("Yes", "No"))

    def _quote(self, message: str) -> Cost:
        return self.judge.quote(message, self.k, suffix=f"\n{JUDGEMENT}")


def _pattern(count: int) -> str:
    """A regular expression for a verdict on each of so many steps."""
    return "".join(rf"\nStep {place}: \\boxed\{{(correct|incorrect)\}}" for place in range(1, count + 1))


def _sound(reply: Trace, count: int) -> int | None:
    """How many of the first steps a critique holds correct; None if it cannot be read."""
    if not reply.finished:
        return None
    given: list[str] = []
    for said in (after_thought(reply), reply.steps[-1].text):  # a ThinkPRM model says all within its thought
        given = given or re.findall(r"\\boxed\{(correct|incorrect)\}", said)
    if len(given) > count or ("incorrect" not in given and len(given) < count):
        return None
    return given.index("incorrect") if "incorrect" in given else count
