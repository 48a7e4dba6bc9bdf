r"""AIME: 30 problems a year, the answers integers from 0 to 999 (American Invitational Mathematics Examination, MAA).

One row of AIME 2024:

    {"id": "aime24-0", "answer": "73", "solution": "Let  $w,x,y,z$  denote the number of residents who own ...",
     "problem": "Among the 900 residents of Aimeville, there are 195 who own a diamond ring, 367 who own a set of ..."}

The hub's rows have url and year as well. On paper an answer has three digits: 073 is 73.
"""

from __future__ import annotations

from ponder.tasks.loading import Row
from ponder.tasks.maths import Item, Maths, loaded, question, text_or_none

HUB = {2024: ("HuggingFaceH4/aime_2024",), 2025: ("yentinglin/aime_2025",)}
"""The data sets that lighteval takes; each has one split, called train."""


def aime2024(
    path: str | None = None,
    limit: int | None = None,
    stated: bool = False,
    last_number: bool = False,
    percent: bool = False,
) -> Maths:
    """AIME I and II of 2024 in the rows' order, ids `aime2024-00` and on.

    Args:
        path: jsonl, jsonl.gz or parquet with `id`, `problem` (or `question`) and `answer`; None loads the hub.
        limit: the first problems only; None for all.
        stated: a solution without a box is read by what it states as its answer.
        last_number: without that, by its last number.
        percent: an answer and its hundredfold are equal.

    Raises:
        UserError: no file, or a row that is none; names the file and its line.
    """
    return Maths(_items(2024, path, limit), stated, last_number, percent)


def aime2025(
    path: str | None = None,
    limit: int | None = None,
    stated: bool = False,
    last_number: bool = False,
    percent: bool = False,
) -> Maths:
    """AIME I and II of 2025 in the rows' order, ids `aime2025-00` and on; arguments and errors as of `aime2024`."""
    return Maths(_items(2025, path, limit), stated, last_number, percent)


def _items(year: int, path: str | None, limit: int | None) -> tuple[Item, ...]:
    def read(row: Row, number: int) -> Item:
        gold = str(row["answer"]).strip()
        if not (gold.isascii() and gold.isdecimal() and int(gold) <= 999):
            raise ValueError(f"answer={gold!r} is no integer from 0 to 999")
        return Item(f"aime{year}-{number:02d}", question(row), gold, solution=text_or_none(row, "solution"))

    fields = {"id": (str, int), "answer": (str, int)}
    return loaded(path, fields, read, hub=HUB[year], split="train", id_field="id", limit=limit)
