r"""An answer without the signs around it: dollars, a box, units, percent; and what of it is text.

Example:
    cleaned(r"$\boxed{\frac{1}{2}\text{ cm}^2}$.")    # \frac{1}{2}
    is_text("no solution")                            # True
"""

from __future__ import annotations

import re
from unicodedata import decimal

LONGEST = 2000
"""Characters of an answer that is read; a longer one equals itself alone."""

_WRAPPED = re.compile(r"\$\$(.*)\$\$|\$(.*)\$|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
_FUNCTIONS = r"a?(?:sin|cos|tan)h?|arc(?:sin|cos|tan)|cot|sec|csc|log|ln|exp|sqrt|frac|pi|gcd|lcm|mod|max|min|infinity"
_WORDS = re.compile(  # not a product of variables
    rf"(?!(?:{_FUNCTIONS})\b)(?:no|[^\W\d_]{{3,}})(?:[ '][^\W\d_]+)*", re.IGNORECASE
)
_MIXED = re.compile(r"([+-]?\d{1,40}) (\d{1,40})/(\d{1,40})")
_SCIENTIFIC = re.compile(r"([+-]?\d{1,40}(?:\.\d{1,40})?)[eE]([+-]?\d{1,3})")
_APART = re.compile(r"(?<!frac)(?<!frac )(?<!binom )(?<!\d)\d+(?:\.\d+)? \d")  # math-verify adds 1 2 up to 3
_CLOCK = re.compile(
    r"(\d{1,2}(?::\d\d)?)(?:\\[ ,;!]| )*(?:\\(?:text|textrm|mbox|mathrm)\s*\{)? *([ap])\.? ?m\b\.?\}?", re.IGNORECASE
)
_FACTOR = re.compile(r"(?<![\w^.}])(\d{1,40}(?:\.\d{1,40})?) ?\((?=\d)")  # math-verify adds 3(4) up to 7
_BASED = re.compile(r"0*(\d[0-9A-F]{0,40})_(?:\{(\d{1,2})\}|(\d{1,2}))")
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


def cleaned(answer: str) -> str:
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
    text = _FACTOR.sub(r"\1 \\cdot (", text)
    if found := _BASED.fullmatch(text):
        return f"{found[1]}_{{{found[2] or found[3]}}}"
    if found := _CLOCK.fullmatch(text):
        return f"{found[1]} {found[2].lower()}m"
    if found := _MIXED.fullmatch(text):
        text = rf"{found[1]}\frac{{{found[2]}}}{{{found[3]}}}"
    if found := _SCIENTIFIC.fullmatch(text):
        text = rf"{found[1]}\times 10^{{{int(found[2])}}}"
    if found := _UNIT.fullmatch(text):
        text = found["number"].strip()
    text = " ".join(text.split())
    return text.casefold() if _WORDS.fullmatch(text) else text


def is_text(answer: str) -> bool:
    """Whether a cleaned answer is read letter by letter: words, prose, numbers side by side, or too much."""
    if (
        len(answer) > LONGEST
        or _WORDS.fullmatch(answer)
        or _APART.search(answer)
        or _CLOCK.fullmatch(answer)
        or _BASED.fullmatch(answer)
    ):
        return True
    return bool(_PROSE.search(_NO_PROSE.sub("0", _TEXT.sub("0", answer))))
