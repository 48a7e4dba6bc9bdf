r"""Arithmetic with a running value, exact to check at every step: the task of the embedded models.

One row (level 1 of 5, seed 0, problem 0)::

    prompt    79;a*6;b+9?
    solution  a79*6=74
              (blank line)
              b74+9=83
              (blank line)
              \boxed{83}
    answer    83

Each line names its operation by letter, repeats the running value, and ends with a blank line; values are kept
modulo 100 and written with two digits. The last line boxes the value. Levels 1 to 5 have 2, 4, 6, 10 and 16 operations.

A problem's text decides which side of the split it is on (`held_out`), so the problems here and the training
data of `scripts/train_embedded.py` share no prompt, whatever the seeds.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase

from ponder.errors import UserError
from ponder.types import Problem, Score, Step, Trace

OPERATIONS = {1: 2, 2: 4, 3: 6, 4: 10, 5: 16}
SIGNS = "+-*"
MODULUS = 100
OPERANDS = range(2, 10)
STEP_END = "\n\n"

_PROMPT = re.compile(r"(\d\d)((?:;[a-z][+*-]\d)+)\?")
_BOXED = re.compile(r"\\boxed\{(\d{1,9})\}")
_HELD_OUT_ONE_IN = 8


@dataclass(frozen=True, slots=True)
class Chain:
    """A start value and the operations that follow, each a sign and an operand."""

    start: int
    operations: tuple[tuple[str, int], ...]

    @classmethod
    def parse(cls, prompt: str) -> Chain | None:
        """The chain that a prompt spells, None if it spells none."""
        match = _PROMPT.fullmatch(prompt.strip())
        if match is None:
            return None
        return cls(int(match[1]), tuple((part[1], int(part[2])) for part in match[2].split(";")[1:]))

    @property
    def prompt(self) -> str:
        """The question, such as `17;a*3;b-5?`."""
        parts = (f";{letter}{sign}{n}" for letter, (sign, n) in zip(ascii_lowercase, self.operations, strict=False))
        return f"{self.start:02d}{''.join(parts)}?"

    @property
    def solution(self) -> str:
        """The one right solution, each step with its end."""
        lines, value = [], self.start
        for letter, (sign, operand) in zip(ascii_lowercase, self.operations, strict=False):
            result = apply(value, sign, operand)
            lines.append(f"{letter}{value:02d}{sign}{operand}={result:02d}{STEP_END}")
            value = result
        return "".join(lines) + rf"\boxed{{{value:02d}}}"

    @property
    def gold(self) -> str:
        """The right answer, two digits."""
        value = self.start
        for sign, operand in self.operations:
            value = apply(value, sign, operand)
        return f"{value:02d}"


def apply(value: int, sign: str, operand: int) -> int:
    """One operation, modulo 100."""
    if sign == "+":
        return (value + operand) % MODULUS
    if sign == "-":
        return (value - operand) % MODULUS
    return (value * operand) % MODULUS


def held_out(prompt: str) -> bool:
    """Whether a prompt is kept for evaluation; one in eight is. The others may be trained on."""
    return zlib.crc32(prompt.encode()) % _HELD_OUT_ONE_IN == 0


def check(problem: Problem, trace: Trace) -> list[bool]:
    """Whether the solution is still right after each step; exact, no model involved.

    A step is right if it and all before it are what the one right solution says. Boxing early, or ending without
    a box, is wrong. A step cut off by a limit is judged by what it has.

    Args:
        problem: the question; a prompt that is no arithmetic problem has no right step.
        trace: its solution so far.

    Returns:
        One bool a step; after the first False all are False.
    """
    chain = Chain.parse(problem.prompt)
    verdicts: list[bool] = []
    so_far = ""
    right = chain is not None
    solution = chain.solution if chain is not None else ""
    for step in trace.steps:
        so_far += step.text
        complete = so_far.rstrip() == solution
        right = right and (complete or (step.why != "eos" and _begins(solution, so_far)))
        verdicts.append(right)
    return verdicts


def settled(trace: Trace) -> Trace:
    r"""The solution as it stands after second thoughts, which the embedded reviser has when it is told `?`.

    Example: `a79*6=75  b75+9=84  \boxed{84}  ?a  a79*6=74  b74+9=83  \boxed{83}`, a blank line for each gap.

    A line `?a` takes back the box, and the line that follows stands in for line a; if it differs from it, what came
    after line a is gone too. A solution that questions nothing is returned as it is.
    """
    if "?" not in trace.text:
        return trace
    lines, at = list[str](), None
    for text in trace.text.split(STEP_END):
        if text.startswith("?"):
            lines = [line for line in lines if not line.startswith("\\")]
            at = next((k for k, line in enumerate(lines) if line[:1] == text[1:2]), None)
        elif at is not None and lines[at] != text:
            lines[at:], at = [text], None
        elif at is not None:
            at = None
        else:
            lines.append(text)
    steps = [Step(line + STEP_END) for line in lines[:-1]] + [Step(lines[-1] if lines else "", why=trace.steps[-1].why)]
    return replace(trace, steps=tuple(steps))


def _begins(solution: str, text: str) -> bool:
    """Whether a text is a beginning of the solution that cuts no number in two."""
    rest = solution[len(text) :]
    return solution.startswith(text) and not (text[-1:].isdigit() and rest[:1].isdigit())


@dataclass(frozen=True)
class Arithmetic:
    """Held-out arithmetic problems of one level.

    Problem i of a seed is the same whatever `limit` is, and its text is in no training data.

    Args:
        level: 1 to 5, for 2, 4, 6, 10 or 16 operations.
        limit: how many problems.
        seed: which draw; ids carry it.
    """

    level: int = 3
    limit: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.level not in OPERATIONS:
            raise UserError(f"task.level={self.level!r} is no arithmetic level", f"Choose one of {list(OPERATIONS)}.")
        if self.limit < 0:
            raise UserError(f"task.limit={self.limit!r} is negative", "Give the number of problems wanted.")

    def problems(self) -> Iterator[Problem]:
        """The first `limit` problems of the seed."""
        for i in range(self.limit):
            name = f"arithmetic-l{self.level}-s{self.seed}-{i:05d}"
            yield Problem(name, self._prompt(name), {"level": self.level})

    def _prompt(self, name: str) -> str:
        rng = random.Random(name)
        while True:
            operations = tuple((rng.choice(SIGNS), rng.choice(OPERANDS)) for _ in range(OPERATIONS[self.level]))
            prompt = Chain(rng.randrange(MODULUS), operations).prompt
            if held_out(prompt):
                return prompt

    def gold(self, problem: Problem) -> str:
        """The right answer, computed from the prompt."""
        chain = Chain.parse(problem.prompt)
        if chain is None:
            raise UserError(
                f"{problem.id}: {problem.prompt!r} is no arithmetic problem", "Prompts look like 17;a*3;b-5?"
            )
        return chain.gold

    def solution(self, problem: Problem) -> str:
        """The one right solution, each step with its end."""
        chain = Chain.parse(problem.prompt)
        return "" if chain is None else chain.solution

    def answer(self, trace: Trace) -> str | None:
        """The last boxed number, written with two digits at least: 7 and 07 are one answer."""
        found = _BOXED.findall(trace.text)
        return f"{int(found[-1]):02d}" if found else None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether the answer is the chain's value, however many zeros lead it."""
        return answer is not None and answer.isdecimal() and answer.zfill(2) == self.gold(problem)

    def settled(self, trace: Trace) -> Trace:
        """The solution as it stands after second thoughts; see `settled`."""
        return settled(trace)

    def check(self, problem: Problem, trace: Trace) -> list[bool]:
        """Whether the solution is still right after each step; see `check`."""
        return check(problem, trace)


class ArithmeticOracle:
    """The perfect process reward model of this task: 1.0 while a solution is right, else 0.0.

    An upper bound for learned verifiers, and a verifier for tests. A solution without steps scores 1.0.
    """

    range = (0.0, 1.0)

    def score(self, traces: Sequence[Trace]) -> list[Score]:
        """The verdict on each trace's last step, with the verdicts on all its steps."""
        scores = []
        for trace in traces:
            steps = [float(right) for right in check(trace.problem, trace)]
            scores.append(Score(steps[-1] if steps else 1.0, steps))
        return scores


__all__ = ["Arithmetic", "ArithmeticOracle", "Chain", "apply", "check", "held_out", "settled"]
