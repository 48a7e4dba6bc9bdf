r"""Word ladders: from one word to another, one letter at a time, each a word on the way.

One row (length 4, level 2, seed 0, problem 0):

    {"start": "HOGS", "end": "ROTA", "length": 4, "steps": 3, "level": 2}    HOGS,HOTS,ROTS,ROTA

The puzzle and its words are those of reasoning-gym's word_ladder (arXiv 2505.24760; data/words.csv, 3 to 5 letters):
a word is valid if it is in that list. Its generator walks over sets, so that the same seed gives other ladders under
another hash seed, and its levels are word lengths; this one draws pairs by the length of a shortest ladder.
"""

from __future__ import annotations

import csv
import random
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from ponder.errors import UserError
from ponder.tasks.statement import statement
from ponder.types import Problem, Trace

PROMPT = """Transform the word {start} into {end} by changing one letter at a time. Each step must be a valid English \
word of the same length.{shortest} The last line of your response should be of the form 'Answer: LADDER', where LADDER \
is the sequence of all words in upper case, from {start} to {end}, separated by commas."""
SHORTEST = " Use as few words as possible."

LEVELS: Mapping[int, range] = {1: range(2, 3), 2: range(3, 4), 3: range(4, 6), 4: range(6, 8), 5: range(8, 100)}
"""Changes of a letter in a shortest ladder, by level."""
LENGTHS = (3, 4, 5)
_BETWEEN = re.compile(r"[\s,]*(?:,|->|\u2192|\\rightarrow|\\to|\s)[\s,]*")
_WORD = re.compile(r"[A-Za-z]{2,20}")


@dataclass(frozen=True)
class WordLadder:
    """Pairs of words with a ladder between them.

    Problem i of a seed is the same whatever `limit` is.

    Args:
        length: of the words, 3, 4 or 5 letters.
        level: 1 to 5, for shortest ladders of 2, 3, 4-5, 6-7 or at least 8 changes.
        shortest: whether only a shortest ladder is right; else one of any length.
        limit: how many problems.
        seed: which draw; ids carry it.
        words: a file with one word a line; None for reasoning-gym's list.

    Raises:
        UserError: an argument out of range; no word list; a list without ladders of the level.
    """

    length: int = 4
    level: int = 2
    shortest: bool = False
    limit: int = 100
    seed: int = 0
    words: str | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise UserError(f"task.level={self.level!r} is out of range", f"allowed: {list(LEVELS)}")
        if self.length not in LENGTHS:
            raise UserError(f"task.length={self.length!r} is out of range", f"allowed: {list(LENGTHS)}")
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1:
            raise UserError(f"task.limit={self.limit!r} is out of range", "allowed: a whole number from 1")

    def problems(self) -> Iterator[Problem]:
        """The first `limit` problems of the seed."""
        for i in range(self.limit):
            name = f"word_ladder-n{self.length}-l{self.level}-s{self.seed}-{i:05d}"
            start, end, steps = self._drawn(random.Random(name))
            meta = {"start": start, "end": end, "length": self.length, "steps": steps, "level": self.level}
            yield Problem(name, PROMPT.format(start=start, end=end, shortest=SHORTEST * self.shortest), meta)

    def solution(self, problem: Problem) -> str:
        """A shortest ladder."""
        start, end = problem.meta["start"], problem.meta["end"]
        before = _before(self._neighbours, end)
        ladder = [start]
        while ladder[-1] != end:
            ladder.append(before[ladder[-1]])
        return f"Answer: {','.join(ladder)}"

    def answer(self, trace: Trace) -> str | None:
        """The stated words in upper case, separated by commas; None if not two words at least are stated."""
        stated = (statement(trace.text) or "").strip(" \t*_`$.'\"")
        words = _BETWEEN.split(stated)
        if len(words) < 2 or not all(_WORD.fullmatch(word) for word in words):
            return None
        return ",".join(words).upper()

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether it is a ladder from the first word to the last, of words in the list."""
        ladder = (answer or "").split(",")
        return (
            (ladder[0], ladder[-1]) == (problem.meta["start"], problem.meta["end"])
            and all(other in self._neighbours.get(one, ()) for one, other in pairwise(ladder))
            and (not self.shortest or len(ladder) == problem.meta["steps"] + 1)
        )

    def _drawn(self, rng: random.Random) -> tuple[str, str, int]:
        """A pair of words, and how many changes are between them."""
        words = list(self._neighbours)
        for start in rng.sample(words, len(words)):
            steps = _steps(self._neighbours, start)
            if ends := [word for word in words if steps.get(word, 0) in LEVELS[self.level]]:
                end = rng.choice(ends)
                return start, end, steps[end]
        raise UserError(
            f"task.level={self.level}: no two words of {self.length} letters are so far apart", "choose a lower level"
        )

    @cached_property
    def _neighbours(self) -> Mapping[str, Sequence[str]]:
        return _graph(self.words, self.length)


@lru_cache(maxsize=8)
def _graph(path: str | None, length: int) -> Mapping[str, Sequence[str]]:
    """The words of one length in order, each with those that differ in one letter."""
    words = sorted(word for word in _read(path) if len(word) == length)
    if not words:
        raise UserError(f"task.words={path} has no words of {length} letters", "allowed: a file with one word a line")
    alike = defaultdict(list)
    for word in words:
        for i in range(length):
            alike[word[:i], word[i + 1 :]].append(word)
    return {
        word: [one for i in range(length) for one in alike[word[:i], word[i + 1 :]] if one != word] for word in words
    }


def _read(path: str | None) -> set[str]:
    try:
        if path is not None:
            return {word.upper() for word in Path(path).read_text(encoding="utf-8").split()}
        package = find_spec("reasoning_gym")  # importing it takes a second
        if package is None or not package.submodule_search_locations:
            raise UserError(
                "task=word_ladder reads reasoning-gym's words", "pip install 'ponder[puzzles]', or set task.words"
            )
        with (Path(package.submodule_search_locations[0]) / "data" / "words.csv").open(encoding="utf-8") as lines:
            return {word.upper() for row in csv.reader(lines) for word in row if word.isalpha()}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task.words={path} cannot be read: {error}", "allowed: a file with one word a line") from error


def _before(neighbours: Mapping[str, Sequence[str]], end: str) -> dict[str, str]:
    """For each word that leads to `end`, the next word on a shortest way there."""
    following, queue = {end: end}, deque([end])
    while queue:
        word = queue.popleft()
        for one in neighbours[word]:
            if one not in following:
                following[one] = word
                queue.append(one)
    return following


def _steps(neighbours: Mapping[str, Sequence[str]], start: str) -> dict[str, int]:
    """How many changes each word is away."""
    steps = {start: 0}
    for word, nearer in _before(neighbours, start).items():  # in the order of their distance
        steps[word] = steps[nearer] + 1 if word != start else 0
    return steps


__all__ = ["WordLadder"]
