r"""GSM8K: grade-school word problems with a whole-number answer (arXiv 2110.14168).

One row of the test split:

    {"question": "Janet's ducks lay 16 eggs per day. She eats three for breakfast ... ?",
     "answer": "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\n...\n#### 18"}

The gold number is what follows `####`, commas removed, as in the code of openai/grade-school-math. A
solution's answer is its last `\boxed{...}`, or else what follows the last `####`, `A:` or "the answer is": a number,
with its unit or without. The last number of a text is never taken for an answer, unless `last_number` asks for it.
"""

from __future__ import annotations

from ponder.tasks.loading import Row
from ponder.tasks.maths import Item, Maths, loaded
from ponder.tasks.numbers import number as number_of

HUB = ("openai/gsm8k", "main")


def GSM8K(  # the name by which recorded runs know it
    path: str | None = None,
    split: str = "test",
    limit: int | None = None,
    stated: bool = True,
    last_number: bool = False,
    percent: bool = False,
) -> Maths:
    """The problems in the data set's order, ids `gsm8k-test-00000` and on.

    Args:
        path: jsonl, jsonl.gz or parquet with `question` and `answer`; None loads openai/gsm8k from the hub.
        split: the hub's split.
        limit: the first problems only; None for all.
        stated: a solution without a box is read by what it states as its answer.
        last_number: without that, by its last number.
        percent: an answer and its hundredfold are equal.

    Raises:
        UserError: no file, or a row that is none; names the file and its line.
    """

    def read(row: Row, number: int) -> Item:
        gold = number_of(row["answer"].rpartition("####")[2])
        if gold is None:
            raise ValueError("its answer has no number after ####")
        return Item(f"gsm8k-{split}-{number:05d}", row["question"], gold, solution=row["answer"])

    items = loaded(path, {"question": str, "answer": str}, read, hub=HUB, split=split, limit=limit)
    return Maths(items, stated, last_number, percent, plain=plain)


def plain(answer: str) -> str:
    """A number without its unit; another answer as it is."""
    return number_of(answer) or answer
