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
import logging
import multiprocessing
import os
import re
import resource
import signal
import threading
import warnings
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeVar

from ponder.errors import TaskError

V = TypeVar("V")

LIMIT = 5.0
"""Seconds that one comparison or one answer may take; what takes longer is not equal, or stays as it is written."""
START = 120.0
"""Seconds in which a worker must have started, on a busy machine too."""
MEMORY = 4 << 30
"""Bytes of address space of a worker: a power tower ends there and not with the machine."""
WORKERS = max(1, min(4, (os.cpu_count() or 1) // 2))

_NUMBER = re.compile(r"([+-]?)\s*([1-9]\d{0,2}(?:,\d{3})+|\d{1,40})?(\.\d{1,40})?")
_WRAPPED = re.compile(r"\$\$(.*)\$\$|\$(.*)\$|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
_WORDS = re.compile(r"(?!infinity$)[^\W\d_]{3,}(?:[ '][^\W\d_]+)*", re.IGNORECASE)  # not a product of variables
_TEXT = re.compile(r"\\(?:text|textbf|textit|mbox|mathrm|mathbf)\s*\{([^{}]*)\}")
_PERCENT = re.compile(r"\s*(?:\\?%|\b(?:percent|percentage|pct)\b)")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace is part of what is boxed
_ROUNDED = re.compile(r"[+-]?\d*\.\d{5,40}[1-9]0*")
_lock = threading.Lock()
_turns = threading.BoundedSemaphore(WORKERS)
_pool: Any = None


@lru_cache(maxsize=100_000)
def equal(gold: str, given: str) -> bool:
    r"""Whether an answer equals the gold answer.

    A decimal number equals what it is rounded from, to six places after the point and five digits (0.333333 and 1/3);
    all else is exact. As in math-verify, an assignment equals its right side (x=5 and 5). Words are equal letter by
    letter, in upper or lower case.

    Args:
        gold: the right answer, as a number or LaTeX; without surrounding text.
        given: the answer in question.

    Raises:
        TaskError: no worker could be started.
    """
    one, other = _cleaned(gold), _cleaned(given)
    if not one or not other:
        return False
    if one == other or _WORDS.fullmatch(one) or _WORDS.fullmatch(other):
        return one == other
    return _worked(_equal, (one, other), otherwise=False)


@lru_cache(maxsize=100_000)
def key(answer: str) -> str:
    r"""The one way of writing an answer and all that equal it exactly; votes count by it.

    1/2, \frac{1}{2}, \dfrac12 and 0.5 are all \frac{1}{2}. An answer that cannot be read as mathematics, or not within
    the limit, is its own text, without the signs around it. A key is an answer itself: `equal` takes it.

    Raises:
        TaskError: no worker could be started.
    """
    text = _cleaned(answer)
    number = _number(text)
    if number is not None:  # a decimal that `equal` takes for a rounded fraction has no exact one
        return text.rstrip("0") if _ROUNDED.fullmatch(text) else _written(number)
    return text if not text or _WORDS.fullmatch(text) else _worked(_key, (text,), otherwise=text)


@lru_cache(maxsize=100_000)
def extracted_equal(
    gold: str, given: str, match_types: tuple[str, ...], precision: int, strict: bool, allow_set_relation_comp: bool
) -> bool:
    """Whether what Math-Verify extracts from two texts is equal to Math-Verify, in a worker; arguments as its own.

    Raises:
        TaskError: no worker could be started.
    """
    given_ = (gold, given, match_types, precision, strict, allow_set_relation_comp)
    return _worked(_extracted_equal, given_, otherwise=False)


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


atexit.register(close)


def _cleaned(answer: str) -> str:
    """An answer without the signs around it: dollars, a box, a full stop, percent, spaces in a number."""
    text = " ".join(answer.split()).rstrip(".").strip()
    if found := _WRAPPED.fullmatch(text):
        text = next(part for part in found.groups() if part is not None).strip()
    if text.startswith(r"\boxed{") and text == rf"\boxed{{{boxed(text)}}}":
        text = str(boxed(text))
    text = re.sub(r"(?<!\\)\$", "", text)
    text = re.sub(r"(?<=\d)(?:\\[ ,!]|,\\!|[ ~])\s*(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=\d)i\b", " i", _PERCENT.sub("", text).strip())  # math-verify takes 2i for a variable's double
    if found := _TEXT.fullmatch(text):
        text = found[1].strip()
    return text.casefold() if _WORDS.fullmatch(text) else text


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
        for _ in range(2):  # workers that were killed while they had nothing to do are started again
            future = _workers().schedule(work, args=given, timeout=LIMIT)
            try:
                return future.result(timeout=START + LIMIT)  # type: ignore[no-any-return]
            except (TimeoutError, ProcessExpired):
                if future.done():
                    return otherwise
                break
            except BrokenProcessPool:
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

            # Spawned, never forked: the parent may hold an engine, its threads and a GPU.
            _pool = ProcessPool(WORKERS, initializer=_begin, context=multiprocessing.get_context("spawn"))
        return _pool


def _begin() -> None:
    """What a worker does first; its time is not counted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard), hard))
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it says that its own, main-thread limit is off
    warnings.simplefilter("ignore")
    _read("1/2")


def _read(text: str) -> Any:
    """A whole answer as sympy has it, None if it is no mathematics."""
    from math_verify import LatexExtractionConfig, parse

    found = parse(
        f"${text}$",
        [LatexExtractionConfig(boxed_match_priority=-1)],
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return None if not found or isinstance(found[0], str) else found[0]


def _equal(gold: str, given: str) -> bool:
    from math_verify import verify
    from sympy import Number

    one, other = _read(gold), _read(given)
    try:
        if one is None or other is None or not verify(one, other, timeout_seconds=None):
            return False
        # math-verify compares six places after the point, however small the numbers are.
        numbers = isinstance(one, Number) and isinstance(other, Number)
        return not numbers or one == other or bool(abs(one - other) * 10**5 <= abs(one))
    except Exception:  # sympy's, of many kinds: what cannot be compared is not equal
        return False


def _extracted_equal(
    gold: str, given: str, match_types: tuple[str, ...], precision: int, strict: bool, allow_set_relation_comp: bool
) -> bool:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    kinds = {"latex": LatexExtractionConfig, "expr": ExprExtractionConfig}
    looked_for = [kinds[name]() for name in match_types]
    try:
        one, other = (parse(text, looked_for, parsing_timeout=None) for text in (gold, given))
        return bool(
            verify(
                one,
                other,
                float_rounding=precision,
                strict=strict,
                allow_set_relation_comp=allow_set_relation_comp,
                timeout_seconds=None,
            )
        )
    except Exception:  # sympy's, of many kinds
        return False


def _key(text: str) -> str:
    from sympy import latex

    try:
        expression = _read(text)
        return text if expression is None else str(latex(_simplest(expression)))
    except Exception:  # sympy's, of many kinds: what it cannot simplify stays as it is written
        return text


def _simplest(expression: Any) -> Any:
    """An expression with exact numbers, simplified; of an assignment the right side."""
    import sympy

    if isinstance(expression, sympy.Eq) and expression.lhs.is_Symbol:
        return _simplest(expression.rhs)
    if isinstance(expression, sympy.FiniteSet):
        parts = sympy.FiniteSet(*map(_simplest, expression.args))
        return parts.args[0] if len(parts) == 1 else parts
    if isinstance(expression, sympy.Tuple):
        return sympy.Tuple(*map(_simplest, expression.args))
    exact = expression.xreplace({one: sympy.Rational(str(one)) for one in expression.atoms(sympy.Float)})
    return sympy.simplify(exact.doit())
