"""Judging every step of a solution once: a search that moves step by step pays for its new steps alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import zip_longest

from ponder.types import Cost, Score, Trace
from ponder.verifiers.judging import Judgement, numbered_steps, spread, together
from ponder.verifiers.memory import Memory
from ponder.verifiers.reduce import Reduction


class StepByStep:
    """Scores of all steps of a solution, each from a judgement of the solution up to it; made once, and remembered.

    A step without text takes the score of the step before it, at the beginning `neutral`. A step whose judgements
    cannot be read scores 0.

    Args:
        prompt: the question to the judge, with {question} and {steps}; best with the steps at its end.
        judged: judges one such question.
        quote: the most that this can cost.
        neutral: score of a solution without text.
        most: how many judgements are kept.
    """

    def __init__(
        self,
        prompt: str,
        judged: Callable[[str], Awaitable[Judgement]],
        quote: Callable[[str], Cost],
        neutral: float = 0.5,
        most: int = 200_000,
    ) -> None:
        self._prompt, self._judged, self._quote, self._neutral = prompt, judged, quote, neutral
        self._known: Memory[str, Judgement] = Memory(most)

    async def score(self, traces: Sequence[Trace], reduce: Reduction) -> list[Score]:
        """One `Score` a trace; a judgement that several traces share is billed to the first of them."""
        laid = [self._messages(trace) for trace in traces]
        found = {m: self._known[m] for m in {m for messages in laid for m in messages} if m in self._known}
        bills: dict[str, Cost] = {}
        # One depth after the other: the engine's prefix cache then holds what the next one begins with.
        for depth in zip_longest(*laid):
            new = [message for message in dict.fromkeys(depth) if message is not None and message not in found]
            for message, judgement in zip(new, await together(map(self._judged, new)), strict=True):
                self._known[message] = found[message] = judgement
                bills[message] = judgement.cost
        scores = []
        for trace, messages in zip(traces, laid, strict=True):
            steps = spread(trace, [float(found[message].score()) for message in messages], self._neutral)
            cost = sum((bills.pop(message, Cost()) for message in messages), Cost())
            unread = sum(found[message].unread for message in messages)
            scores.append(Score(reduce(steps) if steps else self._neutral, steps, cost, unread))
        return scores

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring a trace can cost: what is not known yet."""
        return sum((self._quote(message) for message in self._messages(trace) if message not in self._known), Cost())

    def _messages(self, trace: Trace) -> list[str]:
        """For each step that has text the question about the solution up to it."""
        upto = [Trace(trace.problem, trace.steps[: i + 1]) for i, step in enumerate(trace.steps) if step.text.strip()]
        return [self._prompt.format(question=one.problem.prompt, steps=numbered_steps(one)) for one in upto]
