r"""Mini crosswords: a square of 5 x 5 letters, five words across and five down, and a clue for each (arXiv 2305.10601).

One row of the file of Tree of Thoughts (princeton-nlp/tree-of-thought-llm, src/tot/data/crosswords/mini0505.json):

    {"idx": 0, "clues": ["An agendum; something to be done", "An engine", ...], "letters": ["A", "G", "E", "N", ...]}

Five clues across from the top, five down from the left, and 25 letters row by row. The prompt is their
`standard_prompt` without its examples (src/tot/prompts/crosswords.py), and the paper's three rates are theirs: of
letters, of words and of games. A game is right if all of its letters are; `letters` and `words` give the other two.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ponder.errors import UserError
from ponder.tasks.loading import Row, first, rows
from ponder.tasks.statement import outside
from ponder.types import Problem, Trace

PROMPT = """Solve 5x5 mini crosswords. Given an input of 5 horizontal clues and 5 vertical clues, end with a line \
'Output:' and 5 rows after it, where each row is 5 letters separated by spaces.

Input:
{clues}"""

SIZE = 5
PAPER = range(0, 100, 5)
"""The 20 games of the paper, by `idx`; neighbours share clues."""
_MARK = re.compile(r"\b(?:output|answer)[ \t*_]*[:\uff1a]", re.IGNORECASE)
_LONGEST = 1000  # characters of a square that are read
_BETWEEN = re.compile(r"[\s|,*`]+")
_ROW = re.compile(r"[A-Za-z_]{5}")


@dataclass(frozen=True)
class MiniCrosswords:
    """The games of a file.

    Args:
        path: a file (jsonl, jsonl.gz, parquet) with `idx`, `clues` and `letters`.
        games: "paper" for the 20 that the paper tests, "all" for all.
        limit: the first games only; None for all.

    Raises:
        UserError: no file, or one with a row that is no game; none of the paper's games in it.
    """

    path: str | None = None
    games: Literal["paper", "all"] = "paper"
    limit: int | None = None

    def __post_init__(self) -> None:
        first(self.limit)
        if self.games not in ("paper", "all"):
            raise UserError(f"task.games={self.games!r} is unknown", "allowed: paper, all")

    def problems(self) -> Iterator[Problem]:
        """The games in the file's order."""
        for name, row in self._rows.items():
            names = [f"{way}{i}. " for way in "hv" for i in range(1, SIZE + 1)]
            clues = "\n".join(name + clue for name, clue in zip(names, row["clues"], strict=True))
            yield Problem(name, PROMPT.format(clues=clues), {"idx": row["idx"]})

    def solution(self, problem: Problem) -> str:
        """The square as it is asked for."""
        letters = self._gold[problem.id]
        return "Output:\n" + "\n".join(" ".join(letters[i : i + SIZE]) for i in range(0, SIZE * SIZE, SIZE))

    def answer(self, trace: Trace) -> str | None:
        """The 25 letters after the last "Output:" or "Answer:", upper case, row by row; `_` for one left open.

        None if what follows is not five lines of five letters, with or without signs between them.
        """
        said = outside(trace.text)
        marks = deque(_MARK.finditer(said), maxlen=1)
        if not marks:
            return None
        lines = said[marks[0].end() : marks[0].end() + _LONGEST].splitlines()
        found = [_BETWEEN.sub("", line) for line in lines if not line.lstrip().startswith("```")]
        square = [line for line in found if line][:SIZE]
        if len(square) < SIZE or not all(_ROW.fullmatch(line) for line in square):
            return None
        return "".join(square).upper()

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether all 25 letters are right."""
        return answer == self._gold[problem.id]

    def letters(self, problem: Problem, answer: str | None) -> float:
        """The share of the 25 letters that are right; 0 without an answer."""
        gold = self._gold[problem.id]
        return sum(one == other for one, other in zip(gold, answer or "", strict=False)) / len(gold)

    def words(self, problem: Problem, answer: str | None) -> float:
        """The share of the 10 words that are right, across and down; 0 without an answer."""
        gold, given = _words(self._gold[problem.id]), _words(answer or "")
        return sum(one == other for one, other in zip(gold, given, strict=True)) / len(gold)

    @cached_property
    def _gold(self) -> Mapping[str, str]:
        return {name: "".join(row["letters"]) for name, row in self._rows.items()}

    @cached_property
    def _rows(self) -> Mapping[str, Row]:
        found = rows(self.path, {"idx": int, "clues": list, "letters": list}, id_field="idx", check=_checked)
        kept = [row for row in found if self.games == "all" or row["idx"] in PAPER][: self.limit]
        if not kept:
            raise UserError(f"task.path={self.path} has none of the paper's games", "set task.games=all")
        return {f"mini_crosswords-{row['idx']:03d}": row for row in kept}


def _words(square: str) -> list[str]:
    return [square[i : i + SIZE] for i in range(0, SIZE * SIZE, SIZE)] + [square[i::SIZE] for i in range(SIZE)]


def _checked(row: Row) -> None:
    clues, letters = row["clues"], row["letters"]
    if len(clues) != 2 * SIZE or not all(isinstance(clue, str) and clue.strip() for clue in clues):
        raise ValueError(f"{len(clues)} clues: 10 texts are wanted")
    if len(letters) != SIZE * SIZE or not all(isinstance(one, str) and re.fullmatch("[A-Z]", one) for one in letters):
        raise ValueError(f"{len(letters)} letters: 25 are wanted, each from A to Z")


__all__ = ["MiniCrosswords"]
