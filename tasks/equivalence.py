r"""Whether two answers of mathematics are equal, and one way of writing equal ones.

The comparison is math-verify's, strict: a whole answer is read or none of it, so that no last number of a text stands
for an answer; nothing is equal to a hundred times itself; a percent sign is a unit like any other, and left out
(20\% is 20, and neither 0.2). Answers are read in worker processes: a pathological one ends with its worker after
`LIMIT` seconds, and the functions serve from any thread. Workers start with the first answer that is no plain number.

Example:
    equal(r"\frac{1}{2}", "0.5")    # True
    key(r"\dfrac12") == key("1/2")  # True: both are \frac{1}{2}
    boxed(r"Thus \boxed{\frac{1}{2}}.")  # \frac{1}{2}
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from fractions import Fraction
from functools import lru_cache
from multiprocessing.util import Finalize
from typing import Any, TypeVar
from unicodedata import decimal

from ponder.errors import TaskError
from ponder.tasks import expressions

V = TypeVar("V")

LIMIT = 5.0
"""Seconds that one comparison or one answer may take; what takes longer is not equal, or stays as it is written."""
START = 120.0
"""Seconds in which a worker must have started, on a busy machine too."""
LONGEST = 2000
"""Characters of an answer that is read; a longer one equals itself alone."""
WORKERS = max(2, min(4, (os.cpu_count() or 1) // 2))

_NUMBER = re.compile(r"([+-]?)\s*([1-9]\d{0,2}(?:,\d{3})+|\d{1,40})?(\.\d{1,40})?")
_BASED = re.compile(r"0*(\d[0-9A-F]{0,40})_(?:\{(\d{1,2})\}|(\d{1,2}))")
_WRAPPED = re.compile(r"\$\$(.*)\$\$|\$(.*)\$|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
_FUNCTIONS = r"a?(?:sin|cos|tan)h?|arc(?:sin|cos|tan)|cot|sec|csc|log|ln|exp|sqrt|frac|pi|gcd|lcm|mod|max|min|infinity"
_WORDS = re.compile(  # not a product of variables
    rf"(?!(?:{_FUNCTIONS})\b)(?:no|[^\W\d_]{{3,}})(?:[ '][^\W\d_]+)*", re.IGNORECASE
)
_MIXED = re.compile(r"([+-]?\d{1,40}) (\d{1,40})/(\d{1,40})")
_SCIENTIFIC = re.compile(r"([+-]?\d{1,40}(?:\.\d{1,40})?)[eE]([+-]?\d{1,3})")
_APART = re.compile(r"(?<!frac)(?<!frac )(?<!binom )(?<!\d)\d+(?:\.\d+)? \d")  # math-verify adds 1 2 up to 3
_TEXT = re.compile(r"\\(?:text|textbf|textit|mbox|mathrm|mathbf)\s*\{([^{}]*)\}")
_UNIT = re.compile(  # never a single letter: 5t is no 5
    r"(?P<number>.*[\d})\]]|.*\\pi)(?:(?:\\[ ,;!]|[\s~])*(?:"
    r"\\(?:text|textrm|mbox)\s*\{[^{}]*\}|\\(?:mathrm|rm)\s*\{[^{}]{2,}\}|"
    r"(?:(?:square|sq\.?|cubic|cu\.?)\s*)?(?:[cdkmn]m|in|ft|yd|mi|kg|mg|lbs?|oz|m[lL]|hrs?|mins?|secs?|mph|deg|feet|"
    r"foot|inch(?:es)?|(?:yard|mile|(?:centi|milli|kilo|deci)?met(?:er|re)|(?:kilo|milli)?gram|pound|ounce|"
    r"(?:milli)?lit(?:er|re)|gallon|second|minute|hour|day|week|month|year|degree|radian|dollar|cent|unit|point)s?)\b"
    r")(?:\s*\^\s*(?:\d|\{\s*\d\s*\}))?)+",
    re.DOTALL,
)
_PERCENT = re.compile(r"\s*(?:\\?%|\b(?:percent|percentage|pct)\b)")
_NO_PROSE = re.compile(rf"\\[a-zA-Z]+|(?<![^\W\d_])(?:and|or|{_FUNCTIONS})(?![^\W\d_])", re.IGNORECASE)
_PROSE = re.compile(r"(?<![^\W\d_])(?:[^\W\d_]{2,}[,;:]? [^\W\d_]{3,}|[^\W\d_]{3,}[,;:]? [^\W\d_]{2,})")
_SIGNS = str.maketrans(
    {"\u00b2": "^2", "\u00b3": "^3", "\u00bd": r"\frac{1}{2}", "\u2264": r"\le ", "\u2265": r"\ge ", "\u2260": r"\neq "}
)
_ROOT = re.compile(r"\u221a\s*(?:(\d+|[a-zA-Z])|(?=\())")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace is part of what is boxed
_ROUNDED = re.compile(r"[+-]?\d*\.\d{5,40}[1-9]0*")
_lock = threading.Lock()
_turns = threading.BoundedSemaphore(WORKERS)
_pool: Any = None


def equal(gold: str, given: str) -> bool:
    r"""Whether an answer equals the gold answer.

    A decimal number equals what it is rounded from, to six places after the point and five digits (0.333333 and 1/3);
    all else is exact. As in math-verify, an assignment equals its right side (x=5 and 5). Words are equal letter by
    letter, in upper or lower case; so is prose.

    Args:
        gold: the right answer, as a number or LaTeX; without surrounding text.
        given: the answer in question.

    Raises:
        TaskError: no worker could be started.
    """
    one, other = _cleaned(gold), _cleaned(given)
    if not one or not other:
        return False
    if one == other or _is_text(one) or _is_text(other):
        return one == other
    numbers = _number(one), _number(other)
    if numbers[0] is not None and numbers[1] is not None:
        both = _ROUNDED.fullmatch(one) and _ROUNDED.fullmatch(other)
        return numbers[0] == numbers[1] or bool(both and _near(numbers[0], numbers[1]))
    based = _BASED.fullmatch(one), _BASED.fullmatch(other)
    if based[0] and based[1]:
        return _based(based[0]) == _based(based[1])
    if based[0] or based[1]:  # a base that the question names may be left out
        digits = [found[1] if found else text for found, text in zip(based, (one, other), strict=True)]
        return digits[0] == digits[1]
    return _equal(one, other)


def key(answer: str) -> str:
    r"""The one way of writing an answer and all that equal it exactly; votes count by it.

    1/2, \frac{1}{2}, \dfrac12 and 0.5 are all \frac{1}{2}. An answer that cannot be read as mathematics, or not within
    the limit, is its own text, without the signs around it. A key is an answer itself: `equal` takes it, it equals what
    it is the key of, and its key is itself. Answers of one key are equal, but for assignments: x=5 and y=5 are both 5.

    Raises:
        TaskError: no worker could be started.
    """
    text = _cleaned(answer)
    number = _number(text)
    if number is not None:  # a decimal that `equal` takes for a rounded fraction has no exact one
        return text.rstrip("0") if _ROUNDED.fullmatch(text) else _written(number)
    if found := _BASED.fullmatch(text):
        return _based(found)
    return text if not text or _is_text(text) else _key(text)


def extracted_equal(
    gold: str, given: str, match_types: tuple[str, ...], precision: int, strict: bool, allow_set_relation_comp: bool
) -> bool:
    """Whether what Math-Verify extracts from two texts is equal to Math-Verify, in a worker; arguments as its own.

    Raises:
        TaskError: no worker could be started.
    """
    given_ = (gold, given, match_types, precision, strict, allow_set_relation_comp)
    return _worked(expressions.extracted_equal, given_, otherwise=False)


def boxed(text: str) -> str | None:
    r"""What stands in the last \boxed{...} of a text; None if there is none, or if it is never closed."""
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    start += len(r"\boxed{")
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start : brace.start()].strip()
    return None


def close() -> None:
    """Ends the workers; the next answer starts new ones."""
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.stop()
        pool.join()


def _forget() -> None:
    """A forked process has no workers: its parent's are not its own."""
    global _pool, _lock, _turns
    _pool, _lock, _turns = None, threading.Lock(), threading.BoundedSemaphore(WORKERS)


atexit.register(close)
os.register_at_fork(after_in_child=_forget)


@lru_cache(maxsize=20_000)
def _equal(one: str, other: str) -> bool:
    return _worked(expressions.equal_texts, (one, other), otherwise=False)


@lru_cache(maxsize=20_000)
def _key(text: str) -> str:
    written = _worked(expressions.key, (text,), otherwise=text)
    return written if _cleaned(written) == written else text


def _cleaned(answer: str) -> str:
    """An answer without the signs around it; cleaned again, it stays the same."""
    text = " ".join(answer.split())
    if len(text) > LONGEST:
        return text
    for _ in range(9):
        before, text = text, _cleaned_once(text)
        if text == before:
            break
    return text


def _cleaned_once(text: str) -> str:
    """Without dollars, a box, emphasis, a full stop, percent, a unit, spaces in a number."""
    if not text.isascii():
        text = "".join(str(decimal(one)) if one.isdecimal() else one for one in text).translate(_SIGNS)
        text = _ROOT.sub(lambda root: rf"\sqrt{{{root[1]}}}" if root[1] else r"\sqrt", text)
    text = text.rstrip(".").strip()
    if found := _WRAPPED.fullmatch(text):
        text = next(part for part in found.groups() if part is not None).strip()
    if text.startswith(r"\boxed{") and text == rf"\boxed{{{boxed(text)}}}":
        text = str(boxed(text))
    if len(text) > 4 and text.startswith("**") and text.endswith("**"):
        text = text.strip("*")
    text = re.sub(r"(?<!\\)\$", "", text)
    text = re.sub(r"(?<=\d)(?:\\[ ,!]|,\\!|[ ~])\s*(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=\d)i\b", " i", _PERCENT.sub("", text).strip())  # math-verify takes 2i for a variable's double
    if found := _TEXT.fullmatch(text):
        text = found[1].strip()
    if found := _MIXED.fullmatch(text):
        text = rf"{found[1]}\frac{{{found[2]}}}{{{found[3]}}}"
    if found := _SCIENTIFIC.fullmatch(text):
        text = rf"{found[1]}\times 10^{{{int(found[2])}}}"
    if found := _UNIT.fullmatch(text):
        text = found["number"].strip()
    text = " ".join(text.split())
    return text.casefold() if _WORDS.fullmatch(text) else text


def _is_text(answer: str) -> bool:
    """Whether a cleaned answer is read letter by letter: words, prose, numbers side by side, or too much."""
    if len(answer) > LONGEST or _WORDS.fullmatch(answer) or _APART.search(answer):
        return True
    return bool(_PROSE.search(_NO_PROSE.sub("0", _TEXT.sub("0", answer))))


def _near(one: Fraction, other: Fraction) -> bool:
    return round(one, 6) == round(other, 6) and abs(one - other) * 10**5 <= abs(one)


def _based(found: re.Match[str]) -> str:
    """A number with its base, in one way of writing it."""
    return f"{found[1]}_{{{found[2] or found[3]}}}"


def _number(text: str) -> Fraction | None:
    """The value of a plain integer or decimal number, None if the text is something else."""
    found = _NUMBER.fullmatch(text)
    if not found or not (found[2] or found[3]):
        return None
    return Fraction(f"{found[1]}{(found[2] or '0').replace(',', '')}{found[3] or ''}")


def _written(number: Fraction) -> str:
    """A number as LaTeX, as sympy writes it."""
    if number.denominator == 1:
        return str(number.numerator)
    return f"{'- ' if number < 0 else ''}\\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"


def _worked(work: Callable[..., V], given: tuple[Any, ...], otherwise: V) -> V:
    """What a worker makes of it; `otherwise` if it takes too long or dies over it."""
    from pebble import ProcessExpired

    with _turns:  # no more than there are workers: none waits for its turn while its time runs
        died = False
        for _ in range(4):  # workers that were killed or closed are started again
            try:
                future = _workers().schedule(expressions.limited, args=(2 * LIMIT, work, given), timeout=LIMIT)
            except RuntimeError:  # closed by another thread just now
                continue
            try:
                return future.result(timeout=START + LIMIT)  # type: ignore[no-any-return]
            except TimeoutError:
                if future.done():
                    return otherwise
                break
            except ProcessExpired:  # over this answer if it happens twice, else the system's doing
                if died:
                    return otherwise
                died = True
            except (BrokenProcessPool, CancelledError):
                continue
        close()
        raise TaskError(
            "answers are read in processes of their own, and none could be started: "
            'a script that grades needs `if __name__ == "__main__":`'
        )


def _workers() -> Any:
    """The pool of workers, a new one if there is none that works."""
    global _pool
    with _lock:
        if _pool is None or not _pool.active:
            from pebble import ProcessPool

            Finalize(None, close, exitpriority=100)  # processes of multiprocessing end without atexit
            # Spawned, never forked: the parent may hold an engine, its threads and a GPU.
            _pool = ProcessPool(WORKERS, initializer=expressions.begin, context=multiprocessing.get_context("spawn"))
        return _pool
