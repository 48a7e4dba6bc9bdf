r"""What a solution states as its answer: behind its last "Answer:" or in its last \boxed{...}, outside thoughts."""

from __future__ import annotations

import re
from collections import deque

from ponder.tasks.equivalence import boxed

LONGEST = 1000
"""Characters of a statement that are read."""
_MARK = re.compile(r"\banswer[ \t*_]*[:\uff1a]|\\boxed\{", re.IGNORECASE)


def statement(text: str) -> str | None:
    r"""What is stated last, outside thoughts: the rest of the line behind "Answer:", or what \boxed{...} holds.

    Returns:
        The statement, which may be empty; None if there is none, or if the last box is never closed.
    """
    said = outside(text)
    marks = deque(_MARK.finditer(said), maxlen=1)
    if not marks:
        return None
    mark = marks[0][0]
    stated = said[marks[0].start() : marks[0].end() + LONGEST]
    return boxed(stated) if mark.startswith("\\") else stated[len(mark) :].partition("\n")[0]


def after_last(said: str, mark: re.Pattern[str], longest: int = LONGEST) -> str | None:
    """What follows the last match to the end of its line, emphasis and a full stop left out.

    Args:
        said: a text without thoughts.
        mark: what announces an answer.
        longest: how many characters are read.

    Returns:
        None if there is no match, or nothing follows.
    """
    marks = deque(mark.finditer(said), maxlen=1)
    if not marks:
        return None
    line = said[marks[0].end() : marks[0].end() + longest].lstrip(" \t\r\n*:").partition("\n")[0]
    return line.strip().strip("*").strip().rstrip(".").strip() or None


def outside(text: str) -> str:
    """What stands outside `<think>...</think>`.

    A thought that nothing opened begins with the text (chat templates often open it), one that never closes ends it.
    """
    *closed, last = text.split("</think>")
    said: list[str] = []
    for part in closed:
        before, opened, _ = part.partition("<think>")
        if opened:
            said.append(before)
        else:
            said.clear()
    return "".join(said) + last.partition("<think>")[0]
