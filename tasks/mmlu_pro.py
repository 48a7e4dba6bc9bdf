"""MMLU-Pro: questions of 14 subjects with up to ten options (arXiv 2406.01574).

One row of the test split:

    {"question_id": 70, "question": "Typical advertising regulatory bodies suggest, for example that adverts must not: \
encourage _________, cause unnecessary ________ or _____, and must not cause _______ offence.",
     "options": ["Safe practices, Fear, Jealousy, Trivial", "Unsafe practices, Distress, Joy, Trivial", ...,
                 "Unsafe practices, Distress, Fear, Serious"],
     "answer": "I", "answer_index": 8, "cot_content": "", "category": "business", "src": "ori_mmlu-business_ethics"}

As in the authors' code (TIGER-AI-Lab/MMLU-Pro, evaluate_from_local.py), options that are "N/A" are left out. Prompt and
reading are those of `choice.py`, without examples.
"""

from __future__ import annotations

from ponder.tasks.choice import Item, MultipleChoice, listed, loaded, place
from ponder.tasks.loading import Fields, Row

FIELDS: Fields = {"question": str, "options": list, "answer": str, "answer_index": int, "category": str}


def mmlu_pro(
    path: str | None = None, split: str = "test", limit: int | None = None, seed: int = 0, shuffle: bool = False
) -> MultipleChoice:
    """The questions of MMLU-Pro, from the hub (TIGER-Lab/MMLU-Pro) or from a file.

    Args:
        path: jsonl, jsonl.gz or parquet with the hub's fields; None loads from the hub.
        split: test (12,032 questions) or validation.
        limit: the first questions only; None for all.
        seed: of the shuffles of options.
        shuffle: whether options are shuffled; the benchmark leaves them as they are.

    Raises:
        UserError: no file, or a row that is none; names the file and its line.
    """

    def read(row: Row, number: int) -> Item:
        right = place(row, row["options"])
        if right != row["answer_index"]:
            raise ValueError(f"answer={row['answer']!r} and answer_index={row['answer_index']} disagree")
        kept = [i for i, option in enumerate(row["options"]) if option != "N/A" or i == right]
        options = listed([row["options"][i] for i in kept])
        name = row.get("question_id", f"{number:05d}")
        return Item(
            f"mmlu_pro-{name}", row["question"].strip(), options, kept.index(right), {"category": row["category"]}
        )

    hub = ("TIGER-Lab/MMLU-Pro",)
    return MultipleChoice(loaded(path, FIELDS, read, limit, seed if shuffle else None, hub, split))
