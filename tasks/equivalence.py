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

from ponder.errors import TaskError
from ponder.tasks import expressions
from ponder.tasks.cleaning import boxed as boxed
from ponder.tasks.cleaning import cleaned, is_text

V = TypeVar("V")

LIMIT = 5.0
"""Seconds that one comparison or one answer may take; what takes longer is not equal, or stays as it is written."""
START = 120.0
"""Seconds in which a worker must have started, on a busy machine too."""
WORKERS = max(2, min(4, (os.cpu_count() or 1) // 2))

_NUMBER = re.compile(r"([+-]?)\s*([1-9]\d{0,2}(?:,\d{3})+|\d{1,40})?(\.\d{1,40})?")
_CLOCK = re.compile(r"(\d{1,2}(?::\d\d)?) [ap]m")
_BASED = re.compile(r"([1-9][0-9A-F]{0,40}|0)_\{\d{1,2}\}")
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
    one, other = cleaned(gold), cleaned(given)
    if not one or not other:
        return False
    if one == other:
        return True
    numbers = _number(one), _number(other)
    if numbers[0] is not None and numbers[1] is not None:
        both = _ROUNDED.fullmatch(one) and _ROUNDED.fullmatch(other)
        return numbers[0] == numbers[1] or bool(both and _near(numbers[0], numbers[1]))
    for form in (_BASED, _CLOCK):  # a base that the question names may be left out, and so may the half of the day
        found = form.fullmatch(one), form.fullmatch(other)
        if found[0] or found[1]:
            return _bare(found[0], one) == _bare(found[1], other) and not (found[0] and found[1])
    if is_text(one) or is_text(other):
        return False
    return _equal(one, other)


def key(answer: str) -> str:
    r"""The one way of writing an answer and all that equal it exactly; votes count by it.

    1/2, \frac{1}{2}, \dfrac12 and 0.5 are all \frac{1}{2}. An answer that cannot be read as mathematics, or not within
    the limit, is its own text, without the signs around it. A key is an answer itself: `equal` takes it, it equals what
    it is the key of, and its key is itself. Answers of one key are equal, but for assignments: x=5 and y=5 are both 5.

    Raises:
        TaskError: no worker could be started.
    """
    text = cleaned(answer)
    number = _number(text)
    if number is not None:  # a decimal that `equal` takes for a rounded fraction has no exact one
        return text.rstrip("0") if _ROUNDED.fullmatch(text) else _written(number)
    return text if not text or is_text(text) else _key(text)


def extracted_equal(
    gold: str, given: str, match_types: tuple[str, ...], precision: int, strict: bool, allow_set_relation_comp: bool
) -> bool:
    """Whether what Math-Verify extracts from two texts is equal to Math-Verify, in a worker; arguments as its own.

    Raises:
        TaskError: no worker could be started.
    """
    given_ = (gold, given, match_types, precision, strict, allow_set_relation_comp)
    return _worked(expressions.extracted_equal, given_, otherwise=False)


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
    return written if cleaned(written) == written else text


def _near(one: Fraction, other: Fraction) -> bool:
    return round(one, 6) == round(other, 6) and abs(one - other) * 10**5 <= abs(one)


def _bare(found: re.Match[str] | None, text: str) -> str:
    return found[1] if found else text


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
