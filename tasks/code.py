r"""Programs that are right if they pass their tests; the tests run in the sandbox.

One row of a file of yours (`task=code_tests task.path=FILE`; this one is made up):

    {"id": "double", "prompt": "Write a Python function double(x) that returns twice x.",
     "tests": "assert double(2) == 4\nassert double(-1) == -2", "solution": "def double(x):\n    return 2 * x"}

`tests` is Python text that runs after the solution, or a list of {"input": ..., "output": ...} for programs that read
standard input. `setup` (Python text that runs before) and `solution` may be left out. The rule for reading a program
out of a reply, the last fenced block, is that of the field's harnesses (evalplus, OpenAI's simple-evals).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from ponder.errors import UserError
from ponder.tasks.loading import Row, first, rows
from ponder.tasks.statement import outside
from ponder.types import Problem, Trace

Pairs = tuple[tuple[str, str], ...]

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n`]*$", re.MULTILINE)
_FUTURE = re.compile(r"^from __future__ import .*$\n?", re.MULTILINE)
_REMEMBERED = 100_000  # verdicts


class Ran(Protocol):
    """What the sandbox tells of a program; see `ponder.verifiers.execution.Ran`."""

    @property
    def ended(self) -> str:
        """Whether it "exited" by itself."""

    @property
    def code(self) -> int | None:
        """Its exit code."""

    @property
    def out(self) -> str:
        """What it printed."""


class Sandbox(Protocol):
    """Where programs run; see `ponder.verifiers.execution.Sandbox`."""

    def run(self, program: str, stdin: str = "") -> Ran:
        """Runs a program, with some standard input."""

    def passes(self, program: str) -> bool:
        """Whether a program comes to its last line without an error."""


@dataclass(frozen=True)
class Exercise:
    """One thing to program.

    Attributes:
        id: unique within the task.
        prompt: what the model is asked.
        tests: Python text that runs after the solution, or pairs of standard input and output.
        setup: Python text before the solution: imports, a signature that the solution goes on from.
        solution: a right one, None if none is known.
        meta: what one may group by.
    """

    id: str
    prompt: str
    tests: str | Pairs
    setup: str = ""
    solution: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class Programs:
    r"""Exercises whose solutions are run.

    Votes group programs by their text: two that do the same and look different are two answers.

    Args:
        exercises: what is to be programmed.
        sandbox: where solutions run.
        cut: what ends a bare completion, such as "\ndef" (base models go on with something else).
    """

    def __init__(self, exercises: Sequence[Exercise], sandbox: Sandbox, cut: Sequence[str] = ()) -> None:
        if not callable(getattr(sandbox, "passes", None)):
            raise UserError(f"task.sandbox={sandbox!r} is no sandbox", "give it the run's own: sandbox: ${sandbox}")
        self.exercises = {one.id: one for one in exercises}
        self.sandbox = sandbox
        self.cut = tuple(cut)
        self._verdict: Callable[[str, str], bool] = lru_cache(_REMEMBERED)(self._run)

    def problems(self) -> list[Problem]:
        """The exercises in their order."""
        return [Problem(one.id, one.prompt, dict(one.meta)) for one in self.exercises.values()]

    def solution(self, problem: Problem) -> str | None:
        """The known solution, as a fenced block."""
        known = self.exercises[problem.id].solution
        return None if known is None else f"```python\n{known}\n```"

    def answer(self, trace: Trace) -> str | None:
        """The program that a solution gives; None if there is nothing."""
        return program_of(trace.text, self.cut)

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether a program passes the tests; each is run once."""
        return answer is not None and self._verdict(problem.id, answer)

    def _run(self, id_: str, answer: str) -> bool:
        one = self.exercises[id_]
        if isinstance(one.tests, str):
            return self.sandbox.passes(joined(one.setup, answer, one.tests))
        program = joined(one.setup, answer)
        return all(_same(self.sandbox.run(program, given), wanted) for given, wanted in one.tests)


def program_of(text: str, cut: Sequence[str] = ()) -> str | None:
    """The program in a reply, without trailing white space.

    The last fenced block outside of thoughts that is closed; else one that never closes; else the whole text, ended
    by the first of `cut`.

    Returns:
        None if that is empty.
    """
    said = outside(text)
    fences = list(_FENCE.finditer(said))
    blocks = [said[one.end() : other.start()] for one, other in zip(fences[::2], fences[1::2], strict=False)]
    if blocks:
        program = blocks[-1]
    elif fences:
        program = said[fences[0].end() :]
    else:
        program = said[: min([len(said), *(place for mark in cut if (place := said.find(mark)) >= 0)])]
    program = program.removeprefix("\n").rstrip()
    return program or None


def joined(*parts: str) -> str:
    """One program of several, imports from `__future__` first: Python takes them nowhere else."""
    futures = [line.rstrip("\n") for part in parts for line in _FUTURE.findall(part)]
    return "\n".join([*dict.fromkeys(futures), *(_FUTURE.sub("", part) for part in parts if part)]) + "\n"


def _same(ran: Ran, wanted: str) -> bool:
    """Whether a program ended well and printed what it should, white space at the ends of lines left out."""
    lines, right = ([line.rstrip() for line in text.rstrip().split("\n")] for text in (ran.out, wanted))
    return ran.ended == "exited" and ran.code == 0 and lines == right


def code_tests(path: str | None, sandbox: Sandbox, limit: int | None = None, cut: Sequence[str] = ()) -> Programs:
    """Exercises of a file of yours.

    Args:
        path: jsonl, jsonl.gz or parquet with `id`, `prompt` and `tests`; perhaps `setup`, `solution`, `meta`.
        sandbox: where solutions run.
        limit: the first exercises only; None for all.
        cut: what ends a bare completion.

    Raises:
        UserError: no such file, or a row that is none.
    """
    found = rows(path, {"id": (str, int), "prompt": str, "tests": (str, list)}, id_field="id", check=_checked)
    return Programs([_exercise(row) for row in found[: first(limit)]], sandbox, cut)


def _checked(row: Row) -> None:
    for name, kind in (("setup", str), ("solution", str), ("meta", dict)):
        if not isinstance(row.get(name) or kind(), kind):
            raise ValueError(f"{name} is a {type(row[name]).__name__}, not a {kind.__name__}")
    if isinstance(row["tests"], list):
        whole = all(isinstance(one, dict) and {"input", "output"} <= set(one) for one in row["tests"])
        if not whole or not row["tests"] or not all(isinstance(one[k], str) for one in row["tests"] for k in one):
            raise ValueError('tests is a text, or a list of {"input": TEXT, "output": TEXT}')


def _exercise(row: Row) -> Exercise:
    tests = row["tests"]
    pairs = tests if isinstance(tests, str) else tuple((one["input"], one["output"]) for one in tests)
    return Exercise(
        str(row["id"]), row["prompt"], pairs, row.get("setup") or "", row.get("solution"), row.get("meta") or {}
    )
