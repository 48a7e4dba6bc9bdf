"""GPQA: graduate-level questions of biology, physics and chemistry that a search does not answer (arXiv 2311.12022).

One row of the set gpqa_diamond; its authors ask not to show real questions, so their texts are left out here:

    {"Record ID": "rec...", "Question": "...", "Correct Answer": "...", "Incorrect Answer 1": "...",
     "Incorrect Answer 2": "...", "Incorrect Answer 3": "...", "High-level domain": "Physics", "Subdomain": "..."}

The right answer comes first in each row, so options are always to be shuffled: `shuffle: false` is for a look at the
data alone. Prompt and reading are those of `choice.py`; prompt and protocol are OpenAI's simple-evals (gpqa_eval.py).
"""

from __future__ import annotations

from ponder.tasks.choice import Item, MultipleChoice, listed, loaded
from ponder.tasks.loading import Row

ANSWERS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def gpqa(
    path: str | None = None,
    config: str = "gpqa_diamond",
    limit: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
) -> MultipleChoice:
    """The questions of GPQA, from the hub (Idavidrein/gpqa, for those who accepted its terms) or from a file.

    Args:
        path: jsonl, jsonl.gz or parquet with the hub's fields; None loads from the hub.
        config: gpqa_diamond (198 questions), gpqa_main or gpqa_extended; ids carry it.
        limit: the first questions only; None for all.
        seed: of the shuffles of options.
        shuffle: whether options are shuffled; without it the right one is always A.

    Raises:
        UserError: no file, or a row that is none; names the file and its line.
    """

    def read(row: Row, number: int) -> Item:
        name = row.get("Record ID") or f"{number:05d}"
        texts = listed([row[field] for field in ANSWERS])
        meta = {"category": row.get("High-level domain"), "subject": row.get("Subdomain")}
        return Item(f"{config}-{name}", row["Question"].strip(), texts, 0, {k: v for k, v in meta.items() if v})

    fields = dict.fromkeys(("Question", *ANSWERS), str)
    hub = ("Idavidrein/gpqa", config)
    return MultipleChoice(loaded(path, fields, read, limit, seed if shuffle else None, hub, "train"))
