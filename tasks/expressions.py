r"""Answers as sympy has them: read, compared, written. This is what the workers of `equivalence` run, and they alone.

Reading is math-verify's, with one difference: units are left to `equivalence`, since math-verify takes the last letter
of 11a + c for the unit of 11.
"""

from __future__ import annotations

import logging
import resource
import signal
import warnings
from collections.abc import Callable
from typing import Any

MEMORY = 4 << 30
"""Bytes of address space of a worker: a power tower ends there and not with the machine."""


def begin() -> None:
    """What a worker does first; its time is not counted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard), hard))
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it says that its own, main-thread limit is off
    warnings.simplefilter("ignore")
    from latex2sympy2_extended.antlr_parser import PSParser

    # latex2sympy2-extended 1.11 asks each atom for a token that its grammar for ANTLR 4.9 (hydra's) does not give
    # atoms, and so fails over every atom that it looks at later: percentages.
    if not hasattr(PSParser.AtomContext, "FUNC_GAMMA"):
        PSParser.AtomContext.FUNC_GAMMA = lambda self: None
    read("1/2")


def limited(seconds: float, work: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """What the work returns; the kernel ends a worker whose parent died before it could."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work(*given)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def read(text: str) -> Any:
    """A whole answer as sympy has it, None if it is no mathematics."""
    import sympy
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse
    from sympy.logic.boolalg import Boolean

    plain = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all")
    looked_for = [LatexExtractionConfig(boxed_match_priority=-1, normalization_config=plain)]
    found = parse(f"${text}$", looked_for, extraction_mode="first_match", parsing_timeout=None)
    if not found or isinstance(found[0], str):
        return None
    expression = found[0]
    if not isinstance(expression, sympy.Basic):
        return expression
    if expression.has(sympy.zoo, sympy.nan) or (isinstance(expression, Boolean) and not expression.free_symbols):
        return None  # 12:00, 1/0, 5 = 6
    return expression.xreplace({one: sympy.I for one in expression.free_symbols if one.name == "i"})


def equal_texts(gold: str, given: str) -> bool:
    """Whether two answers are equal."""
    try:
        return equal(read(gold), read(given))
    except Exception:  # sympy's, of many kinds: what cannot be compared is not equal
        return False


def equal(one: Any, other: Any) -> bool:
    """Whether two expressions are equal to math-verify, and numbers to five digits, too."""
    import sympy
    from math_verify import verify

    if one is None or other is None:
        return False
    alike = verify(one, other, timeout_seconds=None)
    if getattr(one, "is_number", False) and getattr(other, "is_number", False) and (_floats(one) or _floats(other)):
        # math-verify compares six places after the point, however small the numbers are.
        exact, apart = _exact(one), _exact(one) - _exact(other)
        return bool(apart == 0 or (alike and abs(apart) * 10**5 <= abs(exact)))
    orders = sympy.And, sympy.Or, sympy.Gt, sympy.Ge, sympy.Lt, sympy.Le
    if alike or not (isinstance(one, orders) and isinstance(other, orders)):
        return bool(alike)
    simple = sympy.simplify(one)  # 1 < x < 2 and 2 > x > 1
    return simple not in (sympy.true, sympy.false) and bool(simple == sympy.simplify(other))


def extracted_equal(
    gold: str, given: str, match_types: tuple[str, ...], precision: int, strict: bool, allow_set_relation_comp: bool
) -> bool:
    """Whether what Math-Verify extracts from two texts is equal to Math-Verify; arguments as its own."""
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


def key(text: str) -> str:
    """An answer in the one way of writing it: one that is read back as the same. Else the text itself."""
    try:
        expression = read(text)
        if expression is None:
            return text
        written = _written(expression)
        again = read(written)
        return written if _written(again) == written and equal(expression, again) else text
    except Exception:  # sympy's, of many kinds: what it cannot simplify stays as it is written
        return text


def _written(expression: Any) -> str:
    from sympy import latex

    return " ".join(str(latex(_simplest(expression))).replace(r", \  ", ", ").split())


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
    return sympy.simplify(_exact(expression))


def _floats(expression: Any) -> Any:
    import sympy

    return expression.atoms(sympy.Float)


def _exact(expression: Any) -> Any:
    """An expression with fractions in place of decimals."""
    import sympy

    return expression.xreplace({one: sympy.Rational(str(one)) for one in _floats(expression)}).doit()
