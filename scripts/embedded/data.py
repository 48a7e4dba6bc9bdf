"""Demonstrations: what the clean and the noisy teacher write, as batches of token ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ponder.scripts.embedded.vocabulary import ASSISTANT, BOX, DIGIT, EOS, ID, LETTER, NUMBER, SIGN, STEP_END, USER
from ponder.tasks.arithmetic import MODULUS, OPERANDS, SIGNS, Chain, apply, held_out

Ints = NDArray[np.int64]

# The teacher's habits: these shares decide how hard the task is for the policy and how soon majority voting stalls.
HABIT_SHARE, HABIT_STRENGTH, SLIP_RATE, HABIT_SEED = 0.15, 0.62, 0.05, 20
RESULT_WEIGHT = 4.0
PROMPT_LENGTH, STEP_LENGTH, FINAL_LENGTH = 4, 7, 4


def true_table() -> Ints:
    """Results of every operation, shape (3, 100, 10): sign, value, operand."""
    table = np.zeros((3, MODULUS, 10), dtype=np.int64)
    for s, sign in enumerate(SIGNS):
        for value in range(MODULUS):
            for operand in range(10):
                table[s, value, operand] = apply(value, sign, operand)
    return table


def habit_table() -> Ints:
    """What the noisy teacher is wont to say, shape (3, 100, 10): the true result but for the habitual errors."""
    rng = np.random.default_rng(HABIT_SEED)
    table = true_table()
    wrong = (table + rng.choice([1, 2, 9, 10, 11, 20, 89, 90, 98, 99], table.shape)) % MODULUS
    return np.where(rng.random(table.shape) < HABIT_SHARE, wrong, table)


TRUE, HABIT = true_table(), habit_table()


@dataclass(frozen=True)
class Chains:
    """A batch of problems of one length.

    Attributes:
        start: shape (b,).
        signs: shape (b, n), in 0..2.
        operands: shape (b, n), in 2..9.
    """

    start: Ints
    signs: Ints
    operands: Ints

    @classmethod
    def draw(cls, rng: np.random.Generator, batch: int, n: int) -> Chains:
        """Problems of n operations, none of them held out for evaluation."""
        start = rng.integers(0, MODULUS, batch)
        signs = rng.integers(0, len(SIGNS), (batch, n))
        operands = rng.integers(OPERANDS.start, OPERANDS.stop, (batch, n))
        every = cls(start, signs, operands)
        keep = np.array([not held_out(chain.prompt) for chain in every.chains()], dtype=bool)
        return cls(start[keep], signs[keep], operands[keep])

    def chains(self) -> list[Chain]:
        """The same problems, one by one."""
        rows = zip(self.start.tolist(), self.signs.tolist(), self.operands.tolist(), strict=True)
        return [Chain(s, tuple((SIGNS[i], o) for i, o in zip(g, p, strict=True))) for s, g, p in rows]

    def prompts(self) -> Ints:
        """Token ids of the chat prompts, shape (b, 4n + 4)."""
        batch, n = self.signs.shape
        ids = np.empty((batch, 4 * n + PROMPT_LENGTH), dtype=np.int64)
        ids[:, 0], ids[:, 1], ids[:, -2], ids[:, -1] = ID[USER], NUMBER[self.start], ID["?"], ID[ASSISTANT]
        ids[:, 2:-2:4], ids[:, 3:-2:4] = ID[";"], LETTER[:n]
        ids[:, 4:-2:4], ids[:, 5:-2:4] = SIGN[self.signs], DIGIT[self.operands]
        return ids

    def solutions(self, results: Ints, values: Ints) -> Ints:
        """Token ids of solutions with these values and results, shapes (b, n), each ended by <eos>."""
        batch, n = self.signs.shape
        ids = np.empty((batch, STEP_LENGTH * n + FINAL_LENGTH), dtype=np.int64)
        body = ids[:, : STEP_LENGTH * n].reshape(batch, n, STEP_LENGTH)
        for k, column in enumerate(
            (LETTER[:n], NUMBER[values], SIGN[self.signs], DIGIT[self.operands], ID["="], NUMBER[results], ID[STEP_END])
        ):
            body[:, :, k] = column
        ids[:, : STEP_LENGTH * n] = body.reshape(batch, -1)
        ids[:, -4], ids[:, -3], ids[:, -2], ids[:, -1] = ID[BOX], NUMBER[results[:, -1]], ID["}"], ID[EOS]
        return ids

    def demonstrations(self, rng: np.random.Generator, clean: bool) -> Ints:
        """Solutions by the clean or the noisy teacher; both carry on from what they wrote."""
        values, results = np.empty_like(self.signs), np.empty_like(self.signs)
        value = self.start
        for k in range(self.signs.shape[1]):
            index = (self.signs[:, k], value, self.operands[:, k])
            result = TRUE[index]
            if not clean:
                result = np.where(rng.random(len(value)) < HABIT_STRENGTH, HABIT[index], result)
                slip = rng.random(len(value)) < SLIP_RATE
                result = np.where(slip, rng.integers(0, MODULUS, len(value)), result)
            values[:, k], results[:, k] = value, result
            value = result
        return self.solutions(results, values)


def lesson(rng: np.random.Generator, tokens: int, n: int, clean: bool) -> tuple[Ints, NDArray[np.float32]]:
    """A training batch of about this many tokens: ids and loss weights of each token, shapes (b, length)."""
    chains = Chains.draw(rng, max(1, tokens * 8 // 7 // (11 * n + PROMPT_LENGTH + FINAL_LENGTH)), n)
    prompts, solutions = chains.prompts(), chains.demonstrations(rng, clean)
    ids = np.concatenate([prompts, solutions], axis=1)
    weights = np.zeros(ids.shape, dtype=np.float32)
    weights[:, prompts.shape[1] :] = 1.0
    weights[:, prompts.shape[1] + 5 : -FINAL_LENGTH : STEP_LENGTH] = RESULT_WEIGHT
    return ids, weights
