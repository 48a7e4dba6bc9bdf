"""A number as people write it: with currency, unit and thousands separators, in the digits of any script.

Example:
    number("$1,000.50 a day")            # "1000.50"
    number("1.234,5 €", comma=True)      # "1234.5"
    number("১৮ টাকা")                    # "18"
    number("10 or 12")                   # None
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 300
"""Characters of a text that may be a number with its unit."""

_TEXT = re.compile(r"\\(?:text|textbf|textit|mbox|mathrm|mathbf|textrm)\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\[,;:! ]|~|\\(?:q?quad)\b")
_DEGREE = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})")
_SAME = str.maketrans({"\u2212": "-", "\uff0d": "-", "\uff0c": ",", "\uff0e": ".", "\u2019": "'"})
_QUANTITY = re.compile(r"([+-]?)(?:US|USD|EUR|Rs\.?)?\s*([+-]?)\s*(\.?\d(?:[.,' ]?\d)*)(.*)", re.DOTALL)
_GROUPED = re.compile(r"(?<!\d)(\d{1,3}(?:[ ']\d{3})+)(?=$|[.,])")
_GROUPS = re.compile(r"([1-9]\d{0,2}(?:,\d{3})+)()(?:\.(\d+))?")
_POINT = re.compile(r"(?:([1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})*,\d{3})|(\d*))(?:\.(\d+))?")
_COMMA = re.compile(r"(?:([1-9]\d{0,2}(?:\.\d{3})+)|(\d*))(?:,(\d+))?")
# What follows a number and makes it part of something else: a digit, an operator, a fraction's line, a variable.
_MORE = re.compile(r"[\d=+*^<>\u00d7\u00f7\u00b1\u221a\\{}]|(?<![^\W\d_])/|/(?![^\W\d_])")
_VARIABLE = re.compile(r"-|[a-zA-Z](?![^\W\d_])(?<![mglLhsWVC])")
_MAGNITUDE = re.compile(
    r"\s*(?:hundred|thousand|million|billion|dozen|tausend|million|milliarde|mille?\b|mil\b|тыс|млн|миллион|elfu|milioni"
    r"|[万萬億亿千百]|ร้อย|พัน|หมื่น|แสน|ล้าน|হাজার|লক্ষ|লাখ|వేల|వెయ్యి|లక్ష)",
    re.IGNORECASE,
)


def number(text: str, *, comma: bool = False) -> str | None:
    """The number that a text is, with or without a unit.

    Args:
        text: a stated answer.
        comma: the language writes 1.234,5 for what English writes 1,234.5. There 1,234 and 1.234 are both thousands,
            as simple-evals has it for commas: its models write either.

    Returns:
        Digits with a decimal point; None if the text is no number, or a number is only a part of what it says:
        "10 or 12", "2x", "3 + 4", "5 million".
    """
    if len(text) > LONGEST or not (found := _QUANTITY.fullmatch(_cleaned(text))):
        return None
    sign, inner, run, rest = found.groups()
    if (sign and inner) or _VARIABLE.match(rest) or _MAGNITUDE.match(rest) or _MORE.search(rest):
        return None
    digits = _digits(run, comma)
    return digits and f"{'-' if '-' in (sign, inner) else ''}{digits}"


def _cleaned(text: str) -> str:
    """Without LaTeX, emphasis, currency signs; in the digits 0 to 9."""
    text = _DEGREE.sub("", _TEXT.sub(r" \1", text.replace("{,}", ",")))
    text = _SPACING.sub(" ", text).replace("\\$", "").replace("\\%", "%").replace("**", "").translate(_SAME)
    plain = (str(unicodedata.decimal(one)) if one.isdecimal() else one for one in text)
    return " ".join("".join(one for one in plain if unicodedata.category(one) != "Sc").split())


def _digits(run: str, comma: bool) -> str | None:
    """A run of digits and separators as digits with a decimal point."""
    run = _GROUPED.sub(lambda group: re.sub("[ ']", "", group[1]), run, count=1)
    forms = [(",", _GROUPS), (".", _COMMA), (",", _POINT)] if comma else [(",", _POINT)]
    for separator, form in forms:
        found = form.fullmatch(run)
        if found:
            whole = (found[1] or found[2] or "0").replace(separator, "")
            return f"{whole}.{found[3]}" if found[3] else whole
    return None
