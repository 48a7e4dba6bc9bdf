r"""Mathematics with free answers: what the tasks math500, aime2024, aime2025, amc23, minerva, gsm8k and mgsm share.

One row as most of them have it:

    {"problem": "What is $\\frac{1}{2}+\\frac{1}{3}$?", "answer": "\\frac{5}{6}",
     "solution": "The sum is $\\frac{3+2}{6} = \\boxed{\\frac{5}{6}}.$"}

The problem's prompt is the bare question; a recipe such as `prompt=qwen_math` says how to answer. An answer is the last
\boxed{...} outside thoughts (`grading.final_answer`), written in one way (`equivalence.key`) and right if it equals the
gold one (`equivalence.equal`); both rest on math-verify. Word problems have a number with its unit read by `number`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from ponder.tasks.equivalence import key
from ponder.tasks.grading import Options, equivalent, final_answer
from ponder.tasks.loading import Fields, Row, first, rows
from ponder.types import Problem, Trace

_EXACT = re.compile(r"(- ?)?(?:(\d{1,400})|\\frac\{(\d{1,400})\}\{(\d{1,400})\})")


@dataclass(frozen=True)
class Item:
    """One problem with its answer.

    Attributes:
        id: unique within the task.
        question: its text.
        gold: the right answer, as the data set writes it.
        meta: what one may group by.
        solution: the data set's own, None if it has none.
    """

    id: str
    question: str
    gold: str
    meta: dict[str, Any] = field(default_factory=dict)
    solution: str | None = None


@dataclass(frozen=True)
class Maths:
    """Problems with free answers.

    Args:
        items: the problems, their ids different.
        stated: a solution without a box is read by "the answer is X", "#### X" or "A: X", the last one.
        last_number: a solution without these is read by its last number.
        percent: an answer and its hundredfold are equal.
        plain: makes of an answer, and of the gold one, what `equivalence` reads right: the identity if it does anyway.
        tolerance: two numbers are equal that differ by this share of the gold one; 0 leaves it to `equivalence`.
    """

    items: Sequence[Item]
    stated: bool = False
    last_number: bool = False
    percent: bool = False
    plain: Callable[[str], str] = str
    tolerance: float = 0.0

    def problems(self) -> Iterator[Problem]:
        """The problems in their order."""
        for item in self.items:
            yield Problem(item.id, item.question, dict(item.meta))

    def solution(self, problem: Problem) -> str:
        r"""The data set's own solution, if its answer is read from it and right; else the gold answer in a box."""
        item = self._by_id[problem.id]
        if item.solution is not None and self.grade(problem, self._read(item.solution)):
            return item.solution
        return rf"\boxed{{{item.gold}}}"

    def answer(self, trace: Trace) -> str | None:
        """What the solution answers, in the one way of writing it; None if it answers nothing."""
        return self._read(trace.text)

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether it equals the gold answer."""
        return answer is not None and right(
            self.plain(self._by_id[problem.id].gold), answer, percent=self.percent, tolerance=self.tolerance
        )

    def _read(self, text: str) -> str | None:
        said = final_answer(text, stated=self.stated, last_number=self.last_number)
        return None if said is None else key(self.plain(said)) or None

    @cached_property
    def _by_id(self) -> dict[str, Item]:
        return {item.id: item for item in self.items}


def right(gold: str, answer: str, *, percent: bool = False, tolerance: float = 0.0) -> bool:
    """Whether an answer equals the gold one.

    Args:
        gold: as `equivalence` reads it.
        answer: as `key` writes it.
        percent: a hundredfold is equal, too.
        tolerance: two numbers are equal that differ by this share of the gold one.

    Raises:
        TaskError: no worker could be started.
    """
    one, other = key(gold), key(answer)
    if one == other:
        return True
    if tolerance and (exact := _exact(one)) is not None and (given := _exact(other)) is not None:
        return abs(exact - given) <= Fraction(tolerance) * abs(exact)
    return equivalent(gold, answer, Options(percent=percent))


def _exact(key_: str) -> Fraction | None:
    """The value of a key that is a rational number."""
    if not (found := _EXACT.fullmatch(key_)) or found[4] == "0":
        return None
    value = Fraction(int(found[2] or found[3]), int(found[4] or 1))
    return -value if found[1] else value


def loaded(
    path: str | None,
    fields: Fields,
    read: Callable[[Row, int], Item],
    *,
    hub: Sequence[str] = (),
    split: str = "test",
    id_field: str | None = None,
    limit: int | None = None,
) -> tuple[Item, ...]:
    """The first `limit` problems of a file or of the hub.

    Args:
        path: jsonl, jsonl.gz or parquet; None for the hub.
        fields: what each row must have.
        read: makes a problem of a row and its number, from 0; a ValueError says what is wrong with it.
        hub: the data set's name and configuration.
        split: the hub's split.
        id_field: a field that no two rows may share.
        limit: how many; None for all.

    Raises:
        UserError: no rows, a row that is none, or two of one id.
    """
    most, items = first(limit), list[Item]()

    def check(row: Row) -> None:
        item = read(row, len(items))
        if not item.gold.strip():
            raise ValueError(f"its answer {item.gold!r} is none")
        items.append(item)

    rows(path, fields, hub=hub, split=split, id_field=id_field, check=check)
    return tuple(items[:most])


def question(row: Row) -> str:
    """A row's question: benchmarks call it `problem` or `question`.

    Raises:
        ValueError: it has neither, or no text there.
    """
    for name in ("problem", "question"):
        if name in row:
            if not isinstance(row[name], str) or not row[name].strip():
                raise ValueError(f"{name}={row[name]!r} is no text")
            return str(row[name])
    raise ValueError(f"no field 'problem' or 'question'; it has {', '.join(map(repr, row)) or 'none'}")


def text_or_none(row: Row, name: str) -> str | None:
    """A field that may be missing, null or empty."""
    value = row.get(name)
    return value if isinstance(value, str) and value.strip() else None
