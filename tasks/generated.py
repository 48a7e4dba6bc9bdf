r"""Puzzles that a seed draws, in levels of difficulty, with exact checkers: what the planning tasks share.

One row, as `three_sat.py` draws them: a prompt that says what is asked and how to end, `\boxed{...}`, and a checker
that tells right answers from wrong ones; problem i of a seed and level is the same whatever `limit` is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from ponder.errors import UserError
from ponder.tasks.grading import final_answer
from ponder.types import Problem, Trace


class Puzzle(Protocol):
    """One drawn puzzle."""

    @property
    def prompt(self) -> str:
        """What is asked, and the form of the answer."""

    @property
    def gold(self) -> str:
        """A right answer in that form."""

    def read(self, stated: str) -> str | None:
        """A stated answer in canonical form, None if it has not the form asked for."""

    def right(self, answer: str) -> bool:
        """Whether an answer in canonical form is right; exact."""


Draw = Callable[[random.Random, int], Puzzle]


@dataclass(frozen=True)
class Generated:
    """Puzzles of one kind and level.

    Args:
        name: of the kind; ids begin with it.
        draw: makes a puzzle of a random generator and a level.
        levels: the levels that there are.
        level: which one.
        limit: how many puzzles.
        seed: which draw; ids carry it.

    Raises:
        UserError: a level that there is not, or a limit below 1.
    """

    name: str
    draw: Draw
    levels: range
    level: int
    limit: int
    seed: int
    _puzzle: Callable[[str], Puzzle] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.level not in self.levels:
            raise UserError(f"task.level={self.level!r} is no level of {self.name}", f"allowed: {list(self.levels)}")
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1:
            raise UserError(f"task.limit={self.limit!r} is out of range", "allowed: a whole number from 1")
        # A generator seeded by the id: the same puzzle whatever was drawn before, and whatever the hash seed.
        drawn = lru_cache(maxsize=10_000)(lambda id_: self.draw(random.Random(id_), self.level))
        object.__setattr__(self, "_puzzle", drawn)

    def problems(self) -> Iterator[Problem]:
        """The first `limit` puzzles of the seed."""
        for i in range(self.limit):
            id_ = f"{self.name}-l{self.level}-s{self.seed}-{i:05d}"
            yield Problem(id_, self._puzzle(id_).prompt, {"level": self.level})

    def puzzle(self, problem: Problem) -> Puzzle:
        """The puzzle behind a problem."""
        return self._puzzle(problem.id)

    def solution(self, problem: Problem) -> str:
        """A right answer, boxed."""
        return rf"It is \boxed{{{self.puzzle(problem).gold}}}."

    def answer(self, trace: Trace) -> str | None:
        r"""The last \boxed{...} in canonical form; None if it has not the form asked for."""
        stated = final_answer(trace.text)
        return None if stated is None else self.puzzle(trace.problem).read(stated)

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether the checker accepts it."""
        return answer is not None and self.puzzle(problem).right(answer)
