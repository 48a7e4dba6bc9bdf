r"""AMC 23: the 40 problems of the AMC 12 of 2023 whose answer is a number, asked without the five options (MAA).

One row:

    {"id": 0, "answer": "27", "url": "https://artofproblemsolving.com/wiki/index.php/2023_AMC_12A_Problems/Problem_1",
     "problem": "Cities $A$ and $B$ are $45$ miles apart. Alicia lives in $A$ and Beth lives in $B$. Alicia bikes ..."}

The selection is that of Qwen2.5-Math's evaluation (arXiv 2409.12122); the hub says `question`, and 27.0.
"""

from __future__ import annotations

from ponder.tasks.loading import Row
from ponder.tasks.maths import Item, Maths, loaded, question

HUB = ("math-ai/amc23",)


def amc23(
    path: str | None = None,
    limit: int | None = None,
    stated: bool = False,
    last_number: bool = False,
    percent: bool = False,
) -> Maths:
    """The problems in the rows' order, ids `amc23-00` and on; `meta` has the contest, 12A or 12B, if the row's url has.

    Args:
        path: jsonl, jsonl.gz or parquet with `id`, `problem` (or `question`) and `answer`; None loads math-ai/amc23.
        limit: the first problems only; None for all.
        stated: a solution without a box is read by what it states as its answer.
        last_number: without that, by its last number.
        percent: an answer and its hundredfold are equal.

    Raises:
        UserError: no file, or a row that is none; names the file and its line.
    """

    def read(row: Row, number: int) -> Item:
        contest = str(row.get("url") or "").partition("_AMC_")[2].partition("_")[0]
        return Item(
            f"amc23-{number:02d}", question(row), str(row["answer"]).strip(), {"contest": contest} if contest else {}
        )

    fields = {"id": (str, int), "answer": (str, int, float)}
    items = loaded(path, fields, read, hub=HUB, id_field="id", limit=limit)
    return Maths(items, stated, last_number, percent)
