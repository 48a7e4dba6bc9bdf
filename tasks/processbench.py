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

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ponder.errors import UserError
from ponder.types import Problem, Step, Trace

SPLITS = ("gsm8k", "math", "olympiadbench", "omnimath")


@dataclass(frozen=True)
class ProcessBench:
    """The rows of ProcessBench, from the hub or from a file.

    Args:
        path: a jsonl file (also .gz); None loads the data set Qwen/ProcessBench with the package datasets.
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
        if self.limit is not None and (isinstance(self.limit, bool) or self.limit < 1):
            raise UserError(f"limit={self.limit} is out of range", "allowed: a whole number from 1, or null for all")

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
    def _rows(self) -> Mapping[str, dict[str, Any]]:
        rows = _from_hub() if self.path is None else _from_file(Path(self.path))
        found = {str(row["id"]): row for row in rows}
        if len(found) < len(rows) or not rows:
            raise UserError(f"path={self.path} has {'rows of one id' if rows else 'no rows'}", "each needs its own id")
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


def _from_hub() -> list[dict[str, Any]]:
    try:
        from datasets import load_dataset

        return [{**row, "split": split} for split in SPLITS for row in load_dataset("Qwen/ProcessBench", split=split)]
    except Exception as error:
        raise UserError(
            f"path is null, and Qwen/ProcessBench could not be loaded: {type(error).__name__}: {error}",
            "pip install datasets and allow the network, or set path to a jsonl file",
        ) from error


def _from_file(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"path={path} is no file", "allowed: a jsonl file (also .gz), or null for the hub")
    read = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt", encoding="utf-8") as lines:
        return [_row(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _row(line: str, where: str) -> dict[str, Any]:
    """A row, its split told by its id if it has none."""
    try:
        row = json.loads(line)
        row.setdefault("split", str(row["id"]).rpartition("-")[0])
        steps, label = row["steps"], row["label"]
        if not (steps and all(isinstance(step, str) for step in steps) and isinstance(row["problem"], str)):
            raise ValueError("problem is a text, and steps are texts")
        if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(steps):
            raise ValueError(f"label={label} is neither a step of {len(steps)}, from 0, nor -1")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"path: {where} is no row of ProcessBench: {type(error).__name__}: {error}",
            "each line needs id, problem, steps and label",
        ) from error
    return row  # type: ignore[no-any-return]
