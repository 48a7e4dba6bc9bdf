"""ProcessBench: solutions whose first wrong step is known, to measure verifiers by (arXiv 2412.06559).

One row:

    {"split": "gsm8k", "id": "gsm8k-0", "generator": "Qwen2-7B-Instruct",
     "problem": "Sue lives in a fun neighborhood.  One weekend, the neighbors decided to play a prank on Sue. ...",
     "steps": ["To find out how many more pink plastic flamingos were out than white plastic flamingos at noon ...",
               "On Saturday, they take back one third of the flamingos. Since there were 18 flamingos, ...", ...],
     "final_answer_correct": false, "label": 1}

`label` is the first wrong step, from 0; -1 if all are right. A problem is to be judged, not solved: `trace` gives the
solution that comes with it. `ponder-bench processbench verifier=NAME` runs it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ponder.tasks.loading import Fields, Row, first, rows
from ponder.types import Problem, Step, Trace

HUB = ("Qwen/ProcessBench",)
SPLITS = ("gsm8k", "math", "olympiadbench", "omnimath")


@dataclass(frozen=True)
class ProcessBench:
    """The rows of ProcessBench, from the hub or from a file.

    Args:
        path: jsonl, jsonl.gz or parquet; None loads the data set Qwen/ProcessBench with the package datasets.
        limit: how many rows, drawn by the seed, of each split as many as of the others as far as there are; None for
            all. A larger limit keeps the rows of a smaller one.
        seed: of the draw.

    Raises:
        UserError: a limit below 1, or a file that is missing or holds a line that is no such row.
    """

    path: str | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        first(self.limit, "limit")

    def problems(self) -> Iterator[Problem]:
        """The problems in the data set's order; `meta` has the split and who wrote the solution."""
        for id_, row in self._rows.items():
            yield Problem(id_, row["problem"], {"split": row["split"], "generator": row.get("generator")})

    def trace(self, problem: Problem) -> Trace:
        """The solution that is to be judged: finished, a blank line between its steps."""
        *texts, last = self._rows[problem.id]["steps"]
        return Trace(problem, (*(Step(f"{text}\n\n") for text in texts), Step(last, why="eos")))

    def label(self, problem_id: str) -> int:
        """The first wrong step of a problem's solution, from 0; -1 if there is none."""
        return int(self._rows[problem_id]["label"])

    def answer(self, trace: Trace) -> str | None:
        """None: nothing is answered."""
        return None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """False: nothing is answered."""
        return False

    @cached_property
    def _rows(self) -> Mapping[str, Row]:
        if self.path is None:
            parts = [(split, _read(None, split)) for split in SPLITS]
            found = {str(row["id"]): {**row, "split": split} for split, part in parts for row in part}
        else:
            found = {str(row["id"]): {"split": _split(row), **row} for row in _read(self.path)}
        kept = set(_drawn(found, self.limit, self.seed))
        return {id_: row for id_, row in found.items() if id_ in kept}


def _drawn(rows: Mapping[str, Mapping[str, Any]], limit: int | None, seed: int) -> list[str]:
    """Ids in random order, splits in turn, the first `limit`."""
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    seen, place = Counter[str](), dict[str, int]()
    for id_ in shuffled:
        place[id_] = seen[rows[id_]["split"]]
        seen[rows[id_]["split"]] += 1
    return sorted(shuffled, key=place.__getitem__)[:limit]


def _read(path: str | None, split: str = "test") -> list[Row]:
    fields: Fields = {"id": (str, int), "problem": str, "steps": list, "label": int}
    return rows(path, fields, hub=HUB, split=split, id_field="id", check=_check, key="path")


def _check(row: Row) -> None:
    steps, label = row["steps"], row["label"]
    if not steps or not all(isinstance(step, str) for step in steps):
        raise ValueError("steps are texts, at least one")
    if not -1 <= label < len(steps):
        raise ValueError(f"label={label} is neither a step of {len(steps)}, from 0, nor -1")


def _split(row: Row) -> str:
    """The split that a row of a file is of: its id tells, gsm8k-0."""
    return str(row["id"]).rpartition("-")[0]
