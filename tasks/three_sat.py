r"""3SAT: an assignment that satisfies a formula, or that there is none (arXiv 2504.00294; our generator).

One row (level 1 of 5, seed 0, problem 0), shortened::

    prompt    Find truth values for the variables x1 to x4 that satisfy all of these clauses, or say ...
              (x1 or not x3 or x4)
              ...
    answer    \boxed{TFFT}, one letter a variable, or \boxed{unsatisfiable}

Clauses are drawn uniformly, three different variables each, 4.26 a variable, where random formulas are hardest and
about half of them satisfiable (Mitchell, Selman and Levesque 1992); a fair coin decides first which half a puzzle is
of. A solver of ours (DPLL) decides what is satisfiable; any satisfying assignment is right.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cached_property

from ponder.tasks.generated import Generated

VARIABLES = {1: 4, 2: 7, 3: 10, 4: 15, 5: 20}
RATIO = 4.26
UNSATISFIABLE = "unsatisfiable"

Clause = tuple[int, ...]
"""Literals: a variable's number from 1, negative if it is negated."""


@dataclass(frozen=True)
class Formula:
    """A formula in conjunctive normal form.

    Attributes:
        variables: how many.
        clauses: each a disjunction of three literals.
    """

    variables: int
    clauses: tuple[Clause, ...]

    @property
    def prompt(self) -> str:
        """The clauses in words, and the form of the answer."""
        lines = "\n".join(
            f"({' or '.join(f'x{one}' if one > 0 else f'not x{-one}' for one in clause)})" for clause in self.clauses
        )
        return (
            f"Find truth values for the variables x1 to x{self.variables} that satisfy all of these clauses, "
            f"or say that there are none.\n\n{lines}\n\n"
            f"End with one letter for each variable in order, T for true and F for false, such as "
            f"\\boxed{{{'TF' * 10:.{self.variables}}}}, or with \\boxed{{{UNSATISFIABLE}}} if no values satisfy them."
        )

    @cached_property
    def gold(self) -> str:
        """A satisfying assignment, or that there is none."""
        found = solved(self.clauses)
        if found is None:
            return UNSATISFIABLE
        return "".join("F" if -one in found else "T" for one in range(1, self.variables + 1))

    def read(self, stated: str) -> str | None:
        """The letters without what separates them; None if there are not as many as variables."""
        text = re.sub(r"\\text|[\s,{}$]", "", stated[:1000])
        if text.lower() == UNSATISFIABLE:
            return UNSATISFIABLE
        return text.upper() if re.fullmatch(rf"[TFtf]{{{self.variables}}}", text) else None

    def right(self, answer: str) -> bool:
        """Whether all clauses hold; or, if there are no such values, whether the answer says so."""
        if answer == UNSATISFIABLE:
            return self.gold == UNSATISFIABLE
        true = {i if letter == "T" else -i for i, letter in enumerate(answer, start=1)}
        return len(answer) == self.variables and all(true & set(clause) for clause in self.clauses)


def solved(clauses: tuple[Clause, ...]) -> frozenset[int] | None:
    """Literals that satisfy all clauses, None if there are none: DPLL with unit propagation."""
    chosen: set[int] = set()
    while unit := next((clause[0] for clause in clauses if len(clause) == 1), 0):
        chosen.add(unit)
        clauses = assumed(clauses, unit)
    if not clauses:
        return frozenset(chosen)
    if () in clauses:
        return None
    literal = min(clauses, key=len)[0]
    for one in (literal, -literal):
        if (rest := solved(assumed(clauses, one))) is not None:
            return frozenset(chosen | {one} | rest)
    return None


def assumed(clauses: tuple[Clause, ...], literal: int) -> tuple[Clause, ...]:
    """What is left of clauses where a literal is true."""
    return tuple(tuple(one for one in clause if one != -literal) for clause in clauses if literal not in clause)


def drawn(rng: random.Random, level: int) -> Formula:
    """A formula of a level, satisfiable or not by a fair coin."""
    n, satisfiable = VARIABLES[level], rng.random() < 0.5
    while True:
        picked = (rng.sample(range(1, n + 1), 3) for _ in range(round(RATIO * n)))
        clauses = tuple(tuple(rng.choice((-1, 1)) * one for one in sorted(three)) for three in picked)
        formula = Formula(n, clauses)
        if (formula.gold != UNSATISFIABLE) == satisfiable:
            return formula


def three_sat(level: int = 3, limit: int = 100, seed: int = 0) -> Generated:
    """Random 3SAT.

    Args:
        level: 1 to 5, for 4, 7, 10, 15 or 20 variables.
        limit: how many.
        seed: which draw.

    Raises:
        UserError: a level that there is not, or a limit below 1.
    """
    return Generated("three-sat", drawn, range(1, 6), level, limit, seed)
