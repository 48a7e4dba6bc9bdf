r"""Demonstrations of second thoughts: a finished solution, a line that questions one of its steps, the step redone.

    79;a*6;b+9?   a79*6=75 b75+9=84 \boxed{84} ?a a79*6=74 b74+9=83 \boxed{83}

(each blank is a blank line). Where the redone step says what it said before, the rest stands and the box follows.
The one who questions is told to: `?` is put there from outside, as "Wait" is by budget forcing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ponder.scripts.embedded.data import HABIT, HABIT_STRENGTH, RESULT_WEIGHT, SLIP_RATE, TRUE, Chains, Ints
from ponder.scripts.embedded.mistakes import boxed, line, prompt_ids
from ponder.scripts.embedded.vocabulary import EOS, ID, LETTER, PAD, STEP_END
from ponder.tasks.arithmetic import MODULUS, SIGNS, Chain

# The teacher's second thoughts: how often it sees its first mistake, and how much of its habit is left when it redoes
# the step in question. What follows a changed step it writes with its usual habits.
NOTICED, CARELESSNESS = 0.8, 0.5
LONGEST = 400


@dataclass
class Teacher:
    """The noisy teacher at work on one problem: what it has written and how much each token counts in training."""

    chain: Chain
    rng: random.Random
    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    results: list[int] = field(default_factory=list)

    def solve(self, begin: int) -> None:
        """Writes the lines from operation `begin` on, and the box."""
        del self.results[begin:]
        for k in range(begin, len(self.chain.operations)):
            self.results.append(self.result(k, HABIT_STRENGTH))
            self.step(k)
        self.write(boxed(self.results[-1]))

    def revise(self) -> None:
        """Calls a step into question, redoes it, and whatever hangs on it."""
        wrong = [k for k, result in enumerate(self.results) if result != TRUE[self.index(k)]]
        noticed = wrong and self.rng.random() < NOTICED
        k = wrong[0] if noticed else self.rng.randrange(len(self.results))
        self.write([ID[STEP_END], ID["?"]], 0.0)
        self.write([int(LETTER[k]), ID[STEP_END]], RESULT_WEIGHT)
        before, after = self.results[k], self.result(k, HABIT_STRENGTH * CARELESSNESS)
        self.results[k] = after
        self.step(k)
        self.weights[-6] = RESULT_WEIGHT  # the value is read off a line that may be far back
        if after == before:
            self.write(boxed(self.results[-1]))
        else:
            self.solve(k + 1)

    def result(self, k: int, habit: float) -> int:
        """What the teacher takes operation k to give."""
        if self.rng.random() < SLIP_RATE:
            return self.rng.randrange(MODULUS)
        return int((HABIT if self.rng.random() < habit else TRUE)[self.index(k)])

    def index(self, k: int) -> tuple[int, int, int]:
        """Where the tables hold operation k of the solution so far."""
        sign, operand = self.chain.operations[k]
        return SIGNS.index(sign), self.results[k - 1] if k else self.chain.start, operand

    def step(self, k: int) -> None:
        """Writes step k, whose result counts more."""
        sign, operand = self.chain.operations[k]
        self.write(line(k, self.index(k)[1], sign, operand, self.results[k]))
        self.weights[-2] = RESULT_WEIGHT

    def write(self, tokens: list[int], weight: float = 1.0) -> None:
        """Appends tokens."""
        self.ids += tokens
        self.weights += [weight] * len(tokens)


def lesson(rng: np.random.Generator, tokens: int, n: int) -> tuple[Ints, NDArray[np.float32]]:
    """A training batch of about this many tokens: ids and loss weights of each token, shapes (b, length).

    Args:
        rng: of all draws.
        tokens: how many there should be, padding left out.
        n: operations of each problem.
    """
    chance, rows, total = random.Random(int(rng.integers(2**31))), [], 0
    while total < tokens:
        for chain in Chains.draw(rng, 8, n).chains():
            prompt, teacher = prompt_ids(chain), Teacher(chain, chance)
            teacher.solve(0)
            for _ in range(chance.choice(_rounds(n))):
                if len(prompt) + len(teacher.ids) < LONGEST:
                    teacher.revise()
            teacher.write([ID[EOS]])
            rows.append(([*prompt, *teacher.ids], [*[0.0] * len(prompt), *teacher.weights]))
            total += len(rows[-1][0])
    longest = max(len(ids) for ids, _ in rows)
    ids = np.full((len(rows), longest), ID[PAD], dtype=np.int64)
    weights = np.zeros((len(rows), longest), dtype=np.float32)
    for k, (row, weight) in enumerate(rows):
        ids[k, : len(row)], weights[k, : len(row)] = row, weight
    return ids, weights


def _rounds(n: int) -> tuple[int, ...]:
    """How many second thoughts a solution may have: many on short ones, where reading off a line is learned first."""
    return (4, 6, 8) if n <= 3 else (0, 1, 2, 4) if n <= 8 else (0, 0, 1)
