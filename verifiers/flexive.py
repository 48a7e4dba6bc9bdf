"""FlexiVe: a verifier that names the first wrong step, and thinks where quick looks disagree (arXiv 2505.11966)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

from ponder.errors import UserError
from ponder.protocols import Sampler
from ponder.types import Cost, Score, Trace
from ponder.verifiers.judging import Judge, after_thought, bill, each, fraction, numbered_steps, spread, whole

Mode = Literal["fast", "slow", "flex"]

NONE = -1
"""The verdict that no step is wrong, as the paper has it."""

PROMPT = """You are given a question and a solution of it in steps, which may be right or wrong, and may end before \
the answer.

Question:
{question}

Solution:
{steps}

Find the first step that is wrong: one with a false statement or an error in its arithmetic, or one that does not \
follow. Say in short what is wrong with it, and close with its number in \\boxed{{}}, or with \\boxed{{-1}} if no step \
is wrong."""

PLACEHOLDER = "<think>\nOkay, I think I have finished thinking.\n</think>\n\n"

OWN_PATTERN = "verdict"


class FlexiVe:
    """FlexiVe (Zhong et al. 2025, arXiv 2505.11966): the first wrong step of a solution, or none.

    A fast reply begins with a thought that is over already, a slow one thinks as the judge is used to. In "flex" mode
    k fast replies are asked for, and where fewer than `threshold` of the k agree one slow reply decides. "fast" and
    "slow" are votes of k such replies. Equal votes go to the earliest wrong step, and before a solution without one.

    The score is 1 if no step is wrong, else 0. Steps before the first wrong one score 1, it and all later ones 0. A
    reply that was cut off or names no step there is, is unread: it is counted and has no vote, though it is one of the
    k that could have agreed. If the slow reply is unread, the vote of the fast ones stands; if all are, every score is
    0.

    Args:
        judge: the model that judges; fast and slow differ if it thinks before it speaks.
        mode: "fast", "slow" or "flex".
        k: replies in the vote, from 1; the paper recommends 8 for flex.
        threshold: the share of the k replies that must agree, in [0, 1]. The paper's value was not found; this is ours.
        max_tokens: the most tokens of a slow reply.
        fast_tokens: the most tokens of a fast one.
        temperature: of all replies; None keeps the judge's.
        placeholder: how a fast reply begins. Leave "<think>" out where the judge's chat template writes it.
        pattern: a regular expression that fast replies obey, "verdict" for a verdict that can be read and nothing else
            (guided decoding; vLLM can); None for none.
        neutral: score of a solution without text.

    Raises:
        UserError: no model, or an argument that is not allowed.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        mode: Mode = "flex",
        k: int = 8,
        threshold: float = 0.75,
        max_tokens: int = 4096,
        fast_tokens: int = 512,
        temperature: float | None = 0.6,
        placeholder: str = PLACEHOLDER,
        pattern: str | None = None,
        neutral: float = 0.5,
    ) -> None:
        if mode not in get_args(Mode):
            raise UserError(f"verifier.mode={mode!r} is unknown", f"allowed: {', '.join(get_args(Mode))}")
        if pattern is not None and mode == "slow":
            raise UserError("verifier.pattern is for fast replies", "leave it null, or set verifier.mode=fast or flex")
        whole("k", k)
        whole("fast_tokens", fast_tokens)
        fraction("threshold", threshold)
        fraction("neutral", neutral)
        self.mode = mode
        self.k = k
        self.threshold = threshold
        self.placeholder = placeholder
        self.neutral = neutral
        self.judge = Judge(judge, max_tokens, temperature)
        self.own_pattern = pattern == OWN_PATTERN
        self.fast = Judge(judge, fast_tokens, temperature, _pattern(1) if self.own_pattern else pattern)

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One `Score`, 0 or 1, for each trace, with a score for each step.

        Raises:
            VerifierError: the judge failed, also when asked again.
        """
        return await each(traces, self._score)

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring a trace can cost: in flex mode, that nobody agrees."""
        if not trace.text.strip():
            return Cost()
        message = _message(trace)
        fast = self.fast.quote(message, self.k, self.placeholder, suffix=None)
        slow = self.judge.quote(message, 1 if self.mode == "flex" else self.k, suffix=None)
        return {"fast": fast, "slow": slow, "flex": fast + slow}[self.mode]

    async def _score(self, trace: Trace) -> Score:
        if not trace.text.strip():
            return Score(self.neutral, [self.neutral] * len(trace))
        message, count = _message(trace), sum(bool(step.text.strip()) for step in trace.steps)
        pattern = _pattern(count) if self.own_pattern else None
        if self.mode == "slow":
            replies = await self.judge.ask(message, self.k)
        else:
            replies = await self.fast.ask(message, self.k, self.placeholder, pattern)
        verdict, votes = _vote([_verdict(reply, count) for reply in replies])
        if self.mode == "flex" and votes / self.k < self.threshold:
            (slow,) = await self.judge.ask(message)
            replies.append(slow)
            thought = _verdict(slow, count)
            verdict = verdict if thought is None else thought
        unread = sum(_verdict(reply, count) is None for reply in replies)
        first = count + 1 if verdict == NONE else verdict or 1  # unread throughout is as bad as wrong from the start
        held = [float(place < first) for place in range(1, count + 1)]
        return Score(held[-1], spread(trace, held, self.neutral), bill(replies), unread)


def _message(trace: Trace) -> str:
    return PROMPT.format(question=trace.problem.prompt, steps=numbered_steps(trace))


def _pattern(count: int) -> str:
    """A regular expression for a verdict on so many steps."""
    return r"\\boxed\{(-1|" + "|".join(map(str, range(1, count + 1))) + r")\}"


def _verdict(reply: Trace, count: int) -> int | None:
    """The first wrong step that a reply names, from 1, or NONE; None if it cannot be read."""
    named = re.findall(r"\\boxed\{\s*(-?\d{1,9})\s*\}", after_thought(reply)) if reply.finished else []
    verdict = int(named[-1]) if named else 0
    return verdict if verdict == NONE or 1 <= verdict <= count else None


def _vote(verdicts: Sequence[int | None]) -> tuple[int | None, int]:
    """The most frequent verdict and how often it was given."""
    counts = Counter(verdict for verdict in verdicts if verdict is not None)
    # Of equally frequent ones the strictest: the earliest wrong step, and none at the very last.
    best = max(counts, key=lambda verdict: (counts[verdict], verdict != NONE, -verdict), default=None)
    return best, counts[best] if best is not None else 0
