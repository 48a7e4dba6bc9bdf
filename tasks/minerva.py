r"""Minerva's free answers: 272 problems of MIT OpenCourseWare in physics, chemistry, astronomy and economics.

One row (this one is made up; the hub's rows have these fields):

    {"question": "A 2.0 kg block slides down a ramp ... What is its speed in m/s, to two significant figures?",
     "answer": "4.4"}

OCWCourses, from "Solving Quantitative Reasoning Problems with Language Models" (arXiv 2206.14858), which normalises an
answer, units and spacing taken off, and asks sympy whether the difference is 0. Ours: numbers within `tolerance`, whose
default is that of Qwen2.5-Math's evaluation (arXiv 2409.12122, grader.py), and else math-verify. Gold answers write
4.5e33; so may solutions.
"""

from __future__ import annotations

import re

from ponder.errors import UserError
from ponder.tasks.equivalence import boxed
from ponder.tasks.loading import Row
from ponder.tasks.maths import Item, Maths, loaded, question, text_or_none

HUB = ("math-ai/minervamath",)
_POWER = re.compile(r"(?<=\d)[eE]([+-]?\d{1,3})(?![\d.])")


def minerva(
    path: str | None = None,
    limit: int | None = None,
    stated: bool = False,
    last_number: bool = False,
    percent: bool = False,
    tolerance: float = 1e-4,
) -> Maths:
    r"""The problems in the rows' order, ids `minerva-000` and on; `meta` has the course, where the row has its `type`.

    Args:
        path: jsonl, jsonl.gz or parquet with `question` (or `problem`) and `answer`, or a `solution` that ends in
            \boxed{...}; None loads math-ai/minervamath.
        limit: the first problems only; None for all.
        stated: a solution without a box is read by what it states as its answer.
        last_number: without that, by its last number.
        percent: an answer and its hundredfold are equal.
        tolerance: a number is right that differs from the gold one by this share of it, in [0, 0.1].

    Raises:
        UserError: no file, a row that is none, or a tolerance out of range; names the file and its line.
    """
    if isinstance(tolerance, bool) or not 0 <= tolerance <= 0.1:
        raise UserError(f"task.tolerance={tolerance} is out of range", "allowed: a number from 0 to 0.1")

    def read(row: Row, number: int) -> Item:
        solution = text_or_none(row, "solution")
        gold = row["answer"] if row.get("answer") is not None else boxed(solution or "")
        if gold is None:
            raise ValueError(r"neither an answer nor a solution with \boxed{...}")
        course = text_or_none(row, "type")
        meta = {"course": course} if course else {}
        return Item(f"minerva-{number:03d}", question(row), str(gold), meta, solution)

    items = loaded(path, {}, read, hub=HUB, limit=limit)
    return Maths(items, stated, last_number, percent, plain=powers, tolerance=tolerance)


def powers(answer: str) -> str:
    r"""An answer with 4.5e33 written as 4.5 \times 10^{33}."""
    return _POWER.sub(r" \\times 10^{\1}", answer)
