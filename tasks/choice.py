r"""Multiple choice: a question, options under letters, one of them right.

One row of a file of yours (`task=choice task.path=FILE`; this one is made up):

    {"id": "capital-1", "question": "What is the capital of Australia?",
     "options": ["Sydney", "Canberra", "Perth"], "answer": "B", "category": "geography"}

`answer` is the letter of the right option as the row lists them, or its place from 0. The prompt is that of OpenAI's
simple-evals (common.py, QUERY_TEMPLATE_MULTICHOICE), with as many letters as there are options. Options are shuffled
by the task's seed and the problem's id; the rows of the hub's benchmarks are read by `gpqa.py` and `mmlu_pro.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from string import ascii_uppercase as LETTERS
from typing import Any

from ponder.tasks.loading import Fields, Row, first, rows
from ponder.tasks.statement import statement
from ponder.types import Problem, Trace

PROMPT = """Answer the following multiple choice question. The last line of your response should be of the following \
format: 'Answer: $LETTER' (without quotes) where LETTER is one of {letters}. Think step by step before answering.

{question}

{options}"""

META = ("category", "subject", "level", "lang")
_LETTER = re.compile(r"(?:[\s*_$`\"'({\[]|\\(?:text|textbf|mathbf|mathrm)\s*\{|\\[(\[])*([A-Za-z])(?![^\W_]|['\u2019])")
_CLOSERS = re.compile(r"(?:[\s*_$`\"')}\]]|\\[)\]])*")
_ANOTHER = re.compile(r"\W*(?:(?:and|or)\b|[,/&;])\W*[A-Za-z]\b", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """One question with its options in the order in which they are shown.

    Attributes:
        id: unique within the task.
        question: its text.
        options: their texts.
        right: the right option's place, from 0.
        meta: what one may group by.
    """

    id: str
    question: str
    options: tuple[str, ...]
    right: int
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def letters(self) -> str:
        """The options' letters."""
        return LETTERS[: len(self.options)]

    def shuffled(self, seed: int) -> Item:
        """The same question with its options in an order that depends on the seed and the id alone."""
        places = list(range(len(self.options)))
        random.Random(f"{seed}/{self.id}").shuffle(places)
        return replace(self, options=tuple(self.options[i] for i in places), right=places.index(self.right))


@dataclass(frozen=True)
class MultipleChoice:
    """Questions with lettered options; an answer is a letter.

    Args:
        items: the questions, their ids different.
    """

    items: Sequence[Item]

    def problems(self) -> list[Problem]:
        """The questions in their order; the prompt lists the options and says how to end."""
        return [Problem(item.id, _prompt(item), dict(item.meta)) for item in self.items]

    def solution(self, problem: Problem) -> str:
        """The right option and its letter."""
        item = self._by_id[problem.id]
        return f"It is this one: {item.options[item.right]}\n\nAnswer: {item.letters[item.right]}"

    def answer(self, trace: Trace) -> str | None:
        """The letter that is stated last; None if the question has no such option."""
        letter, item = stated(trace.text), self._by_id.get(trace.problem.id)
        return letter if letter is not None and letter in (item.letters if item else LETTERS) else None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether it is the right option's letter."""
        item = self._by_id[problem.id]
        return answer == item.letters[item.right]

    @cached_property
    def _by_id(self) -> dict[str, Item]:
        return {item.id: item for item in self.items}


def _prompt(item: Item) -> str:
    options = "\n".join(f"{letter}) {option}" for letter, option in zip(item.letters, item.options, strict=True))
    return PROMPT.format(letters=item.letters, question=item.question, options=options)


def stated(text: str) -> str | None:
    r"""The letter of the last statement outside thoughts: "Answer: C", "**Answer: (C)**", \boxed{\text{C}}; upper case.

    What follows the letter is nothing, or a bracket, a full stop or a colon and then the option's text. The last
    statement decides, also if it has no letter, or several: a letter that merely stands in the text is no answer.
    """
    found = _LETTER.match(content := statement(text) or "")
    if found is None:
        return None
    rest = content[found.end() :]
    after = _CLOSERS.sub("", rest, count=1)
    closed = rest[: len(rest) - len(after)]
    named = not after or ((after[0] in ".:" or ")" in closed) and not _ANOTHER.match(after))
    return found[1].upper() if named else None


def choice(path: str | None = None, limit: int | None = None, seed: int = 0, shuffle: bool = True) -> MultipleChoice:
    """Questions of a file of yours.

    Args:
        path: jsonl, jsonl.gz or parquet, each row with `question`, `options` and `answer`: a letter, or a place
            from 0. `id` gives a row its name, else its number does; `category`, `subject`, `level` and `lang` go to
            the problem's `meta`.
        limit: the first questions only; None for all.
        seed: of the shuffles.
        shuffle: whether options are shuffled.

    Raises:
        UserError: no file, or a row that is none; names the file and its line.
    """

    def read(row: Row, number: int) -> Item:
        options = listed(row["options"])
        if len(set(options)) < len(options):
            raise ValueError(f"options {options!r} has one twice")
        meta: dict[str, Any] = {name: row[name] for name in META if name in row}
        return Item(f"choice-{row.get('id', f'{number:05d}')}", row["question"], options, place(row, options), meta)

    fields: Fields = {"question": str, "options": list, "answer": (str, int)}
    return MultipleChoice(loaded(path, fields, read, limit, seed if shuffle else None))


def loaded(
    path: str | None,
    fields: Fields,
    read: Callable[[Row, int], Item],
    limit: int | None,
    seed: int | None,
    hub: Sequence[str] = (),
    split: str = "test",
) -> tuple[Item, ...]:
    """The first `limit` questions of a file or of the hub.

    Args:
        path: a file; None for the hub.
        fields: what each row must have.
        read: makes a question of a row and its number, from 0; a ValueError says what is wrong with it.
        limit: how many; None for all.
        seed: of the shuffles of options; None leaves them in their order.
        hub: the data set's name and configuration.
        split: the hub's split.

    Raises:
        UserError: no rows, a row that is none, or two of one id.
    """
    most, items = first(limit), dict[str, Item]()

    def check(row: Row) -> None:
        item = read(row, len(items))
        if item.id in items:
            raise ValueError(f"the id {item.id!r} is there twice")
        items[item.id] = item

    rows(path, fields, hub=hub, split=split, check=check)
    kept = tuple(items.values())[:most]
    return kept if seed is None else tuple(item.shuffled(seed) for item in kept)


def listed(options: Sequence[Any]) -> tuple[str, ...]:
    """Options without white space around them.

    Raises:
        ValueError: one is no text or empty, or there are fewer than two, or more than there are letters.
    """
    texts = tuple(option.strip() if isinstance(option, str) else "" for option in options)
    if not all(texts):
        raise ValueError(f"options {list(options)!r} has one that is empty or no text")
    if not 2 <= len(texts) <= len(LETTERS):
        raise ValueError(f"{len(texts)} options: allowed are 2 to {len(LETTERS)}")
    return texts


def place(row: Row, options: Sequence[str]) -> int:
    """The right option's place, from 0.

    Raises:
        ValueError: `answer` is neither an option's letter nor its place.
    """
    given = row["answer"]
    letter = given.strip().upper() if isinstance(given, str) else ""
    found = LETTERS.find(letter) if len(letter) == 1 else given if isinstance(given, int) else -1
    if not 0 <= found < len(options):
        raise ValueError(
            f"answer={given!r} is no option: they are A to {LETTERS[len(options) - 1]}, or 0 to {len(options) - 1}"
        )
    return found


__all__ = ["Item", "MultipleChoice", "choice", "listed", "loaded", "place", "stated"]
