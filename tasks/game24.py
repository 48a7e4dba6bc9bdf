r"""Game of 24: four numbers, each used once, + - * / and brackets, and the result is 24 (arXiv 2305.10601).

One row of the file of Tree of Thoughts (princeton-nlp/tree-of-thought-llm, src/tot/data/24/24.csv):

    {"rank": 901, "puzzle": "4 5 6 10", "amt_s": 10.02, "solved_rate": 0.903, ...}

`rank` counts from the easiest puzzle, by the time that people took. The paper tests ranks 901 to 1000. Without a file,
puzzles are drawn here: of the 1,820 hands of four numbers from 1 to 13, 1,362 can be solved, and those are the file's.

What is right is their rule (src/tot/tasks/game24.py): an expression that uses the puzzle's numbers and equals 24,
whatever follows an `=`. It must be stated ("Answer: (10 - 4) * (13 - 9) = 24", or boxed); their checker takes any last
line. Expressions are read by a small parser of exact fractions, and nothing is evaluated.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import combinations, combinations_with_replacement

from ponder.errors import UserError
from ponder.tasks.loading import Row, first, rows
from ponder.tasks.statement import statement
from ponder.types import Problem, Trace

PROMPT = """Use numbers and basic arithmetic operations (+ - * /) to obtain 24. Use each of the four numbers exactly \
once; brackets are allowed. The last line of your response should be of the form 'Answer: EXPRESSION = 24'.

Input: {numbers}"""

LEVELS = {1: 34, 2: 16, 3: 9, 4: 5, 5: 1}
"""Levels of drawn puzzles: the least number of ways to solve one (`ways`); about a fifth of the 1,362 have each."""
TARGET = 24
_LONGEST = 300  # characters of an expression that are read
_DEEPEST = 40  # opening brackets and minus signs in it
_SIGNS = dict.fromkeys([r"\left", r"\right", r"\(", r"\)", r"\[", r"\]", "$", "`"], "")
_SIGNS |= {r"\times": "*", r"\cdot": "*", "\u00d7": "*", "\u00b7": "*", "\u2217": "*"}
_SIGNS |= {r"\div": "/", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "[": "(", "]": ")"}
_SIGN = re.compile("|".join(map(re.escape, sorted(_SIGNS, key=len, reverse=True))))
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TOKENS = re.compile(r"[0-9]+|[-+*/()]")


@dataclass(frozen=True)
class Game24:
    """The puzzles of a file, or drawn ones.

    Args:
        path: a file (jsonl, jsonl.gz, parquet) with `rank`, `puzzle` and `solved_rate`; None draws puzzles.
        ranks: first and last rank of the file's puzzles that are asked; None for all.
        limit: how many puzzles; None for all there are.
        level: of drawn puzzles, 1 to 5 (about 20 % each) by the number of ways to solve one; None for any.
        seed: which draw; puzzle i of a seed and level is the same whatever `limit` is, and no puzzle comes twice.

    Raises:
        UserError: a file that is missing or holds a line that is no such row; no puzzle left; a level that is none.
    """

    path: str | None = None
    ranks: Sequence[int] | None = (901, 1000)
    limit: int | None = 100
    level: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        first(self.limit)
        if self.level is not None and self.level not in LEVELS:
            raise UserError(f"task.level={self.level!r} is out of range", f"allowed: {list(LEVELS)}, or null for any")
        if self.ranks is not None and not (
            len(self.ranks) == 2
            and all(isinstance(rank, int) for rank in self.ranks)
            and self.ranks[0] <= self.ranks[1]
        ):
            raise UserError(f"task.ranks={self.ranks!r} is no range", "allowed: [first, last], or null for all")

    def problems(self) -> Iterator[Problem]:
        """Puzzles in the file's order, or in that of the draw."""
        yield from self._problems

    def solution(self, problem: Problem) -> str:
        """One of the solver's solutions."""
        return f"Answer: {solve(problem.meta['numbers'])} = {TARGET}"

    def answer(self, trace: Trace) -> str | None:
        """The expression that is stated last, without spaces and what follows `=`; None if that is no expression."""
        expression = stated(trace.text)
        return None if expression is None or evaluated(expression) is None else expression.replace(" ", "")

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether an expression uses the puzzle's numbers, each once, and is 24."""
        found = None if answer is None else evaluated(answer)
        return found is not None and found[0] == TARGET and found[1] == tuple(sorted(problem.meta["numbers"]))

    @cached_property
    def _problems(self) -> list[Problem]:
        return list(self._drawn() if self.path is None else self._read(self.path))

    def _read(self, path: str) -> Iterator[Problem]:
        read = rows(path, {"rank": int, "puzzle": str, "solved_rate": (float, int)}, id_field="rank", check=_four)
        low, high = self.ranks or (read[0]["rank"], read[-1]["rank"])
        kept = [row for row in read if self.ranks is None or low <= row["rank"] <= high][: self.limit]
        if not kept:
            raise UserError(
                f"task.path={path} has no rank from {low} to {high}", "set task.ranks=null for all its puzzles"
            )
        for row in kept:
            if solve(_numbers(row["puzzle"])) is None:
                raise UserError(
                    f"task.path={path}: rank {row['rank']}: {row['puzzle']} cannot be made 24", "mend the row"
                )
            meta = {"numbers": _numbers(row["puzzle"]), "rank": row["rank"], "solved_rate": row["solved_rate"]}
            yield Problem(f"game24-{row['rank']:04d}", _prompt(meta["numbers"]), meta)

    def _drawn(self) -> Iterator[Problem]:
        hands = list(combinations_with_replacement(range(1, 14), 4))
        random.Random(f"game24/{self.seed}").shuffle(hands)
        count = 0
        for hand in hands:
            if count == self.limit:
                return
            level = next((level for level, least in LEVELS.items() if (found := ways(hand)) >= least), None)
            if level is not None and self.level in (None, level):
                meta = {"numbers": list(hand), "level": level, "ways": found}
                yield Problem(f"game24-s{self.seed}-{'-'.join(map(str, hand))}", _prompt(hand), meta)
                count += 1


def stated(text: str) -> str | None:
    r"""The expression after the last "Answer:" of a text, or in its last \boxed{...} if that comes later.

    Thoughts are left out. LaTeX and typographic signs become + - * / ( ), and spaces go; None if nothing is stated.
    """
    said = statement(text)
    if said is None:
        return None
    plain = _SIGN.sub(lambda sign: _SIGNS[sign[0]], _FRACTION.sub(r"((\1)/(\2))", said.strip().strip("*_")))
    return re.sub(r"\s+", " ", plain).partition("=")[0].rstrip(" .") or None


@lru_cache(maxsize=100_000)
def evaluated(expression: str) -> tuple[Fraction, tuple[int, ...]] | None:
    """What an expression is: its exact value, and its numbers in order of size; None if it is none.

    Whole numbers, + - * / between two parts, brackets, and a minus before a number or bracket.
    """
    if len(expression) > _LONGEST or expression.count("(") + expression.count("-") > _DEEPEST:
        return None
    tokens = _TOKENS.findall(expression)
    if "".join(tokens) != expression.replace(" ", "") or re.search(r"[0-9] +[0-9]", expression):
        return None
    if any(len(token) > 9 for token in tokens):
        return None
    try:
        value, rest = _sum([*tokens, ""], 0)
    except (ValueError, ZeroDivisionError):
        return None
    return (value, tuple(sorted(int(token) for token in tokens if token.isdecimal()))) if rest == len(tokens) else None


def _sum(tokens: list[str], at: int) -> tuple[Fraction, int]:
    value, at = _product(tokens, at)
    while tokens[at] in ("+", "-"):
        other, after = _product(tokens, at + 1)
        value = value + other if tokens[at] == "+" else value - other
        at = after
    return value, at


def _product(tokens: list[str], at: int) -> tuple[Fraction, int]:
    value, at = _part(tokens, at)
    while tokens[at] in ("*", "/"):
        other, after = _part(tokens, at + 1)
        value = value * other if tokens[at] == "*" else value / other
        at = after
    return value, at


def _part(tokens: list[str], at: int) -> tuple[Fraction, int]:
    """A number, a bracket, or either with a minus before it; ValueError if there is none."""
    if tokens[at] == "-":
        value, at = _part(tokens, at + 1)
        return -value, at
    if tokens[at] != "(":
        return Fraction(int(tokens[at])), at + 1
    value, at = _sum(tokens, at + 1)
    if tokens[at] != ")":
        raise ValueError(f"{tokens[at]!r} is no closing bracket")
    return value, at + 1


def _results(numbers: Sequence[tuple[Fraction, str]]) -> Iterator[str]:
    """Each way to come to 24, as an expression: any two numbers become one, until one is left."""
    if len(numbers) == 1:
        if numbers[0][0] == TARGET:
            yield numbers[0][1][1:-1]
        return
    for i, j in combinations(range(len(numbers)), 2):
        rest = [numbers[k] for k in range(len(numbers)) if k not in (i, j)]
        (a, left), (b, right) = numbers[i], numbers[j]
        made = [(a + b, f"({left} + {right})"), (a * b, f"({left} * {right})")]
        made += [(a - b, f"({left} - {right})"), (b - a, f"({right} - {left})")]
        made += [(a / b, f"({left} / {right})")] if b else []
        made += [(b / a, f"({right} / {left})")] if a else []
        for one in made:
            yield from _results([*rest, one])


def solve(numbers: Sequence[int]) -> str | None:
    """An expression of the numbers that is 24, None if there is none; all orders and brackets are tried."""
    return next(_results([(Fraction(n), str(n)) for n in numbers]), None)


@lru_cache(maxsize=2000)
def ways(numbers: Sequence[int]) -> int:
    """How many of the orders of operations on a hand end in 24; few are a sign of a hard puzzle."""
    return sum(1 for _ in _results([(Fraction(n), str(n)) for n in numbers]))


def _numbers(puzzle: str) -> list[int]:
    return [int(number) for number in puzzle.split()]


def _prompt(numbers: Sequence[int]) -> str:
    return PROMPT.format(numbers=" ".join(map(str, numbers)))


def _four(row: Row) -> None:
    try:
        numbers = _numbers(row["puzzle"])
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(0 <= number < 10**6 for number in numbers):
        raise ValueError(f"puzzle={row['puzzle']!r} is not four whole numbers")


__all__ = ["Game24", "evaluated", "solve", "stated", "ways"]
