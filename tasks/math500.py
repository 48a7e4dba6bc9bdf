r"""MATH-500: 500 problems of the MATH benchmark (arXiv 2103.03874), those that arXiv 2305.20050 kept for its tests.

One row of the test split:

    {"unique_id": "test/precalculus/807.json", "subject": "Precalculus", "level": 2,
     "problem": "Convert the point $(0,3)$ in rectangular coordinates to polar coordinates.  Enter your ...",
     "solution": "We have that $r = \\sqrt{0^2 + 3^2} = 3.$  Also, ... $\\boxed{\\left( 3, \\frac{\\pi}{2} \\right)}.$",
     "answer": "\\left( 3, \\frac{\\pi}{2} \\right)"}

The files of openai/prm800k, of the hub and of openreasoner/openr have these fields. Answers are compared by math-verify
(`equivalence.py`), in place of the normaliser of hendrycks/math.
"""

from __future__ import annotations

from ponder.tasks.loading import Fields, Row
from ponder.tasks.maths import Item, Maths, loaded, text_or_none

HUB = ("HuggingFaceH4/MATH-500",)


def math500(
    path: str | None = None,
    limit: int | None = None,
    stated: bool = False,
    last_number: bool = False,
    percent: bool = False,
) -> Maths:
    """The problems in the data set's order, ids such as `math500-precalculus-807`; `meta` has subject and level.

    Args:
        path: jsonl, jsonl.gz or parquet; None loads HuggingFaceH4/MATH-500 from the hub.
        limit: the first problems only; None for all.
        stated: a solution without a box is read by what it states as its answer.
        last_number: without that, by its last number.
        percent: an answer and its hundredfold are equal.

    Raises:
        UserError: no file, or a row that is none; names the file and its line.
    """

    def read(row: Row, number: int) -> Item:
        name = row["unique_id"].removeprefix("test/").removesuffix(".json").replace("/", "-")
        meta = {"subject": row["subject"], "level": row["level"]}
        return Item(f"math500-{name}", row["problem"], row["answer"], meta, text_or_none(row, "solution"))

    fields: Fields = {"unique_id": str, "problem": str, "answer": str, "subject": str, "level": (int, str)}
    items = loaded(path, fields, read, hub=HUB, id_field="unique_id", limit=limit)
    return Maths(items, stated, last_number, percent)
