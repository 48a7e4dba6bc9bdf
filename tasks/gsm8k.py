r"""GSM8K: grade-school word problems with a whole-number answer (arXiv 2110.14168).

One row of the test split:

    {"question": "Janet's ducks lay 16 eggs per day. She eats three for breakfast ... ?",
     "answer": "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\n...\n#### 18"}

The gold number is what follows `####`, commas removed, as in the data set's own code. A
solution's answer is its last `\boxed{...}`, or else what follows `####` or "the answer is";
the last number of a text is never taken for an answer.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from typing import Any

from ponder.errors import UserError
from ponder.types import Problem, Trace

_NUMBER = r"(-?\$?\s?-?[\d,]*\.?\d+)"
_STATED = re.compile(rf"(?:####|answer is:?)\s*\**\s*{_NUMBER}", re.IGNORECASE)
_BOXED = re.compile(rf"\\boxed\{{\s*(?:\\\$)?{_NUMBER}[^{{}}]*\}}")


@dataclass(frozen=True)
class GSM8K:
    """The problems of GSM8K, from the hub or from a file.

    Args:
        path: a jsonl file (also .gz) with `question` and `answer`; None loads the data set
            openai/gsm8k with the package datasets.
        split: the hub's split.
        limit: the first problems only; None for all.

    Raises:
        UserError: a file that is missing or holds a line that is no such row.
    """

    path: str | None = None
    split: str = "test"
    limit: int | None = None

    def problems(self) -> Iterator[Problem]:
        """The problems in the data set's order, ids `gsm8k-test-00000` and on."""
        for index, row in enumerate(self._rows):
            yield Problem(self._id(index), row["question"])

    def solution(self, problem: Problem) -> str:
        """The data set's own solution."""
        return str(self._rows[int(problem.id.rpartition("-")[2])]["answer"])

    def answer(self, trace: Trace) -> str | None:
        """The stated number without commas or trailing zeros, None if none is stated."""
        found = _BOXED.findall(trace.text) or _STATED.findall(trace.text)
        return _plain(found[-1]) if found else None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether an answer equals the gold number."""
        return answer is not None and _plain(answer) == self._gold[problem.id]

    def _id(self, index: int) -> str:
        return f"gsm8k-{self.split}-{index:05d}"

    @cached_property
    def _gold(self) -> Mapping[str, str | None]:
        return {self._id(i): _plain(row["answer"].split("####")[-1]) for i, row in enumerate(self._rows)}

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        rows = self._from_hub() if self.path is None else _from_file(Path(self.path))
        return rows[: self.limit]

    def _from_hub(self) -> list[dict[str, Any]]:
        try:
            from datasets import load_dataset

            return [dict(row) for row in load_dataset("openai/gsm8k", "main", split=self.split)]
        except Exception as error:
            raise UserError(
                f"task.path is null, and openai/gsm8k could not be loaded: {type(error).__name__}: {error}",
                "pip install datasets and allow the network, or set task.path to a jsonl file",
            ) from error


def _from_file(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"task.path={path} is no file", "allowed: a jsonl file, or null for the hub")
    read = gzip.open if path.suffix == ".gz" else open
    rows = []
    with read(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if _plain(row["answer"].split("####")[-1]) is None or not isinstance(row["question"], str):
                    raise ValueError("no number after ####")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"task.path: {path}:{number} is no GSM8K row: {error}", "each line needs question and answer"
                ) from error
            rows.append(row)
    return rows


def _plain(number: str) -> str | None:
    """A number's one way of being written: 1,000.50 and 1000.5 are equal."""
    try:
        value = Decimal(re.sub(r"[,$\s]", "", number)).normalize()
    except InvalidOperation:
        return None
    return f"{value:f}" if value.is_finite() else None
