"""A scripted model that answers by what it is asked: for the tests of strategies that ask in words, or in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ponder.protocols import Picking
from ponder.samplers.scripted import Scripted
from ponder.types import Problem

Reply = str | Callable[[Any], Any]


class Speaker(Scripted):
    """Plays, for each kind of request, its replies in turn; the last one again when they run out.

    The kind is what stands after the slash in the problem's id, without its number ("critique", "revision"), and
    "solve" for the problem itself. A reply may be a function of the trace. All requests are kept.
    """

    def __init__(
        self, replies: Mapping[str, list[Reply]], probabilities: Callable[[Any], list[float]] | None = None
    ) -> None:
        self.turns: dict[str, Iterator[Reply]] = {kind: iter(texts) for kind, texts in replies.items()}
        self.last: dict[str, Reply] = {}
        self.asked: list[Problem] = []
        self.probed: list[tuple[str, str]] = []
        self.picked: list[Picking] = []
        self._answers = probabilities

        def script(trace: Any, _seed: int) -> Any:
            if not trace.steps:
                self.asked.append(trace.problem)
            kind = trace.problem.id.partition("/")[2].rstrip("0123456789. ") or "solve"
            reply = self.last[kind] = next(self.turns[kind], self.last.get(kind, ""))
            return reply(trace) if callable(reply) else reply

        super().__init__(script)

    def varied(self, picking: Picking) -> Any:
        self.picked.append(picking)
        return super().varied(picking)

    def _probabilities(self, trace: Any, suffix: str, choices: Any) -> Any:
        self.probed.append((trace.text, suffix))
        return super()._probabilities(trace, suffix, choices) if self._answers is None else self._answers(trace)


def prompts(speaker: Speaker) -> list[str]:
    """What was asked, in order."""
    return [problem.prompt for problem in speaker.asked]
