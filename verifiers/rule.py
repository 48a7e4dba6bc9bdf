"""Verifiers that are rules: exact, free, and known to be wrong about everything that they do not look at."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

from ponder.errors import UserError
from ponder.protocols import Task
from ponder.types import Problem, Trace
from ponder.verifiers.judging import fraction


class Constant:
    """The same score for everything: search without guidance.

    Args:
        value: the score.
    """

    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """The value, for each trace."""
        return [self.value] * len(traces)


class Regex:
    """1 if the solution holds a match, 0 if not.

    Args:
        pattern: a regular expression, searched for anywhere in the solution's text.

    Raises:
        UserError: the pattern is no regular expression.
    """

    range = (0.0, 1.0)

    def __init__(self, pattern: str) -> None:
        self.pattern = _compiled("pattern", pattern)

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """0 or 1 for each trace."""
        return [float(bool(self.pattern.search(trace.text))) for trace in traces]


class Length:
    """How near the solution's length is to a target: shorter over longer length, in [0, 1].

    Args:
        target: characters, from 1.

    Raises:
        UserError: a target below 1.
    """

    range = (0.0, 1.0)

    def __init__(self, target: int = 100) -> None:
        if target < 1:
            raise UserError(f"verifier.target={target} is out of range", "allowed: a whole number from 1")
        self.target = target

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """1 at the target, towards 0 far from it, for each trace."""
        return [min(len(t.text), self.target) / max(len(t.text), self.target) for t in traces]


class Format:
    r"""1 if a solution that ended has the form asked for, 0 if not; a neutral score for one that can still grow.

    Tags are looked at first: each opens and closes in turn, and never inside another. Text before a closing tag that
    nothing opened is inside it, since chat templates often open the first tag. The patterns are then searched in what
    stands outside of tags, so that a box in a model's thoughts is no second one. A solution that a limit cut short has
    ended, and is judged like any other.

    Args:
        once: regular expressions, each found exactly once.
        required: regular expressions, each found at least once.
        forbidden: regular expressions, none of them found.
        tags: names of tags: "think" for <think> and </think>.
        neutral: the score of a solution that has not ended, in [0, 1].

    Raises:
        UserError: no rule at all, no regular expression, or `neutral` outside [0, 1].

    Example:
        Format(once=[r"\\boxed\{"], tags=["think"])
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        once: Sequence[str] = (),
        required: Sequence[str] = (),
        forbidden: Sequence[str] = (),
        tags: Sequence[str] = (),
        neutral: float = 0.5,
    ) -> None:
        if not (once or required or forbidden or tags):
            raise UserError("verifier.once, required, forbidden and tags are all empty", "give at least one rule")
        self.once = [_compiled("once", pattern) for pattern in once]
        self.required = [_compiled("required", pattern) for pattern in required]
        self.forbidden = [_compiled("forbidden", pattern) for pattern in forbidden]
        self.tags = re.compile("|".join(f"</?{re.escape(tag)}>" for tag in tags)) if tags else None
        fraction("neutral", neutral)
        self.neutral = neutral

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """0, 1 or neutral for each trace."""
        return [self.neutral if trace.alive else float(self._formed(trace.text)) for trace in traces]

    def _formed(self, text: str) -> bool:
        outside = self._outside(text)
        return outside is not None and (
            all(len(pattern.findall(outside)) == 1 for pattern in self.once)
            and all(pattern.search(outside) for pattern in self.required)
            and not any(pattern.search(outside) for pattern in self.forbidden)
        )

    def _outside(self, text: str) -> str | None:
        """What stands outside of tags; None if one is nested, left open, or closed twice."""
        if self.tags is None:
            return text
        outside, begin, opened = "", 0, ""
        for found in self.tags.finditer(text):
            tag = found[0].strip("</>")
            if not found[0].startswith("</"):
                if opened:
                    return None
                outside, opened = outside + text[begin : found.start()], tag
            elif tag == opened:
                opened = ""
            elif opened or begin:
                return None
            begin = found.end()
        return None if opened else outside + text[begin:]


class TaskOracle:
    """Whether a solution is right, by the task's own extraction and grading: an upper bound, for any task.

    Best-of-N with it is pass@N. It knows nothing of a solution that can still grow: that scores `neutral`.

    Args:
        task: the benchmark, with `answer` and `grade`.
        neutral: the score of a solution that has not ended, in [0, 1].

    Raises:
        UserError: no task, or `neutral` outside [0, 1].
    """

    range = (0.0, 1.0)

    def __init__(self, task: Task, neutral: float = 0.5) -> None:
        if not (callable(getattr(task, "answer", None)) and callable(getattr(task, "grade", None))):
            raise UserError(f"verifier.task={task!r} is no task", "give it the run's own: task: ${task}")
        if inspect.iscoroutinefunction(task.grade):
            raise UserError(
                f"verifier.task={type(task).__name__} is graded by a judge, and task_oracle asks none",
                "choose a task with exact grades, or a judge as verifier: docs/generative_verifiers.md",
            )
        self.task = task
        fraction("neutral", neutral)
        self.neutral = neutral

    @property
    def toy_problem(self) -> Problem | None:
        """A problem that the task can grade: what the check of the contract tries it on."""
        return next(iter(self.task.problems()), None)

    def score(self, traces: Sequence[Trace]) -> list[float]:
        """1 for a right solution, 0 for a wrong one, neutral before its end."""
        return [
            self.neutral if trace.alive else float(bool(self.task.grade(trace.problem, self.task.answer(trace))))
            for trace in traces
        ]


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"verifier.{name}={pattern!r}: {error}", "allowed: a Python regular expression") from error
