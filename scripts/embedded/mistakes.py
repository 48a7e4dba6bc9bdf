"""Solutions with every kind of mistake, and the labels of the process reward model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.scripts.embedded.vocabulary import (
    ASSISTANT,
    BOX,
    DIGIT,
    EOS,
    ID,
    LETTER,
    MARK,
    NUMBER,
    SIGN,
    STEP_END,
    USER,
)
from ponder.tasks.arithmetic import MODULUS, SIGNS, Chain, apply

Step = list[int]
VALUE_OF = {int(token): value for value, token in enumerate(NUMBER)}
LETTER_OF = {int(token): k for k, token in enumerate(LETTER)}
DIGIT_OF = {int(token): digit for digit, token in enumerate(DIGIT)}
SIGN_OF = {int(token): sign for sign, token in zip(SIGNS, SIGN, strict=True)}


def prompt_ids(chain: Chain) -> list[int]:
    """Token ids of the chat prompt, the assistant's mark included."""
    ids = [ID[USER], int(NUMBER[chain.start])]
    for letter, (sign, operand) in zip(LETTER, chain.operations, strict=False):
        ids += [ID[";"], int(letter), ID[sign], int(DIGIT[operand])]
    return [*ids, ID["?"], ID[ASSISTANT]]


def line(letter: int, value: int, sign: str, operand: int, result: int) -> Step:
    """Token ids of one step."""
    end = ID[STEP_END]
    return [int(LETTER[letter]), int(NUMBER[value]), ID[sign], int(DIGIT[operand]), ID["="], int(NUMBER[result]), end]


def boxed(value: int) -> Step:
    """Token ids of the final step, without <eos>."""
    return [ID[BOX], int(NUMBER[value]), ID["}"]]


def gold_steps(chain: Chain) -> list[Step]:
    """The one right solution."""
    return _carry_on(chain, [], chain.start, 0)


def split(tokens: Sequence[int]) -> list[Step]:
    """A sampled solution as steps, <eos> left out."""
    steps: list[Step] = [[]]
    for token in tokens:
        if token == ID[EOS]:
            break
        steps[-1].append(token)
        if token == ID[STEP_END]:
            steps.append([])
    return [step for step in steps if step]


def _carry_on(chain: Chain, steps: list[Step], value: int, begin: int) -> list[Step]:
    """The steps so far and, from operation `begin` on, right ones from this value."""
    done = list(steps)
    for k, (sign, operand) in enumerate(chain.operations[begin:], begin):
        result = apply(value, sign, operand)
        done.append(line(k, value, sign, operand, result))
        value = result
    return [*done, boxed(value)]


def _near(rng: random.Random, value: int) -> int:
    """Another value, often one that differs little."""
    change = rng.choice((1, 2, 9, 10, 11, 20, 89, 90, 98, 99)) if rng.random() < 0.7 else rng.randrange(1, MODULUS)
    return (value + change) % MODULUS


def corrupt(chain: Chain, rng: random.Random) -> list[Step]:
    """A solution with one or two mistakes of random kinds, consistent after each of them."""
    gold = gold_steps(chain)
    count = len(chain.operations)
    at = rng.randrange(count)
    before = gold[:at]
    value = VALUE_OF[gold[at][1]]
    sign, operand = chain.operations[at]
    true = apply(value, sign, operand)
    kind = rng.choices(KINDS, WEIGHTS)[0]
    if kind == "result":
        wrong = _near(rng, true)
        steps = _carry_on(chain, [*before, line(at, value, sign, operand, wrong)], wrong, at + 1)
    elif kind == "recovered":
        # A wrong line after which the right value comes back: the line stays wrong, and so does what follows it.
        steps = _carry_on(chain, [*before, line(at, value, sign, operand, _near(rng, true))], true, at + 1)
    elif kind == "copy":
        steps = _carry_on(chain, before, _near(rng, value), at)
    elif kind == "sign":
        other = rng.choice([s for s in SIGNS if s != sign])
        result = apply(value, other, operand)
        steps = _carry_on(chain, [*before, line(at, value, other, operand, result)], result, at + 1)
    elif kind == "operand":
        other_operand = rng.choice([o for o in range(2, 10) if o != operand])
        result = apply(value, sign, other_operand)
        steps = _carry_on(chain, [*before, line(at, value, sign, other_operand, result)], result, at + 1)
    elif kind == "letter":
        other_letter = rng.choice([k for k in range(count + 1) if k != at])
        steps = [*before, line(other_letter, value, sign, operand, true), *gold[at + 1 :]]
    elif kind == "skip":
        steps = _carry_on(chain, before, value, at + 1)
    elif kind == "repeat":
        steps = [*gold[: at + 1], gold[at], *gold[at + 1 :]]
    elif kind == "early":
        steps = [*before, boxed(value)]
    elif kind == "box":
        steps = [*gold[:-1], boxed(_near(rng, VALUE_OF[gold[-1][1]]))]
    elif kind == "old box":
        steps = [*gold[:-1], boxed(VALUE_OF[rng.choice(gold[:-1])[1]])]
    elif kind == "swap":
        steps = [*gold]
        other_at = rng.randrange(count)
        steps[at], steps[other_at] = steps[other_at], steps[at]
    elif kind == "broken":
        broken = list(gold[at])
        broken[rng.randrange(len(broken) - 1)] = rng.choice([*NUMBER.tolist(), *LETTER.tolist(), *SIGN.tolist()])
        steps = [*before, broken, *gold[at + 1 :]]
    else:
        steps = [*gold, rng.choice(gold)]
    if rng.random() < 0.2 and len(steps) > 2:
        again = rng.randrange(len(steps) - 1)
        slip = list(steps[again])
        if len(slip) == 7:
            slip[5] = int(NUMBER[rng.randrange(MODULUS)])
        steps = [*steps[:again], slip, *steps[again + 1 :]]
    return steps


def drill(chain: Chain, rng: random.Random) -> list[Step]:
    """A solution where any result or copy may be wrong: many mistakes a line, to learn quickly what one is."""
    steps, value = [], chain.start
    for k, (sign, operand) in enumerate(chain.operations):
        if rng.random() < 0.15:
            value = _near(rng, value)
        result = apply(value, sign, operand)
        if rng.random() < 0.4:
            result = _near(rng, result)
        steps.append(line(k, value, sign, operand, result))
        value = result
    return [*steps, boxed(_near(rng, value) if rng.random() < 0.4 else value)]


_KINDS = {
    "result": 8.0,
    "recovered": 1.5,
    "copy": 1.5,
    "sign": 1.0,
    "operand": 1.0,
    "letter": 0.7,
    "skip": 1.0,
    "repeat": 0.7,
    "early": 1.0,
    "box": 1.0,
    "old box": 0.5,
    "swap": 0.3,
    "broken": 0.5,
    "after box": 0.3,
}
KINDS, WEIGHTS = list(_KINDS), list(_KINDS.values())


@dataclass(frozen=True)
class Labelled:
    """One solution as the reward model reads it, with what it shall say.

    Attributes:
        ids: prompt, then each step followed by the mark.
        marks: position of each step's mark.
        right: whether all is right up to and including the step; one a step.
        expected: position of a step's token and the one token that should stand there, given all that is written
            before it; auxiliary targets, since a solution is right as long as every token is the expected one.
    """

    ids: list[int]
    marks: list[int]
    right: list[bool]
    expected: list[tuple[int, int]]


def label(chain: Chain, steps: list[Step], stripped: bool = False) -> Labelled:
    """Labels a solution by comparing it with the right one.

    Args:
        chain: the problem.
        steps: the solution's steps.
        stripped: leave the blank line out of what the model reads, as some callers do.
    """
    gold = gold_steps(chain)
    row = Labelled(prompt_ids(chain), [], [], [])
    right, letter, value = True, 0, int(NUMBER[chain.start])
    for k, step in enumerate(steps):
        right = right and k < len(gold) and step == gold[k]
        row.right.append(right)
        shown = step[:-1] if stripped and step[-1] == ID[STEP_END] else step
        for at in range(len(shown)):
            token = _expected(chain, letter, value, step[:at])
            if token is not None:
                row.expected.append((len(row.ids) + at, token))
        row.ids.extend(shown)
        row.marks.append(len(row.ids))
        row.ids.append(ID[MARK])
        letter = LETTER_OF.get(step[0], MODULUS) + 1
        value = step[5] if len(step) > 5 else ID[STEP_END]
    return row


def _expected(chain: Chain, letter: int, value: int, begun: Step) -> int | None:
    """The token that should follow in a line, None where nothing sensible can.

    Args:
        chain: the problem.
        letter: which operation is due; that of the line before, plus one.
        value: token of the running value, as the line before wrote it.
        begun: the line so far.
    """
    at, count = len(begun), len(chain.operations)
    if at == 0:
        return int(LETTER[letter]) if letter < count else ID[BOX] if letter == count else None
    if begun[0] == ID[BOX]:
        return (value, ID["}"])[at - 1] if at < 3 else None
    if at == 1:
        return value
    written = LETTER_OF.get(begun[0], count)
    if at in (2, 3):
        if written >= count:
            return None
        sign, operand = chain.operations[written]
        return ID[sign] if at == 2 else int(DIGIT[operand])
    return (ID["="], _result(begun), ID[STEP_END])[at - 4] if at < 7 else None


def _result(step: Step) -> int | None:
    """The token of the true result of the written expression, None if it is no expression."""
    value, sign, operand = VALUE_OF.get(step[1]), SIGN_OF.get(step[2]), DIGIT_OF.get(step[3])
    if value is None or sign is None or operand is None:
        return None
    return int(NUMBER[apply(value, sign, operand)])


__all__ = ["Labelled", "corrupt", "drill", "gold_steps", "label", "prompt_ids", "split"]
