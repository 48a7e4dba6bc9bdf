r"""What a whole reply answers, and whether it equals the right answer: strictly, or as other harnesses compare.

Strict, the default: the last box of a reply, or a bare answer, compared whole (`equivalence.equal`). Everything looser
is an option with a name: a stated answer, the last number of a text, a hundredfold; and the conventions of Math-Verify,
lighteval, NeMo-Skills and open-instruct, whose tests are in a file that ours are held to.

One row of such a file, as `ponder-grade` reads it:

    {"gold": "$\\frac{1}{12}$", "pred": "$0.0833333333333333$", "options": {"precision": 6, "match_types": ["latex"]}}

Example:
    final_answer(r"<think>It is \boxed{1}.</think>So \boxed{2}.")   # "2"
    equivalent("2", r"Therefore, it is \boxed{2.0}.")               # True
    equivalent("2", "It is 2", Options(last_number=True))           # True
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal
from unicodedata import decimal

from ponder.errors import UserError
from ponder.tasks import equivalence
from ponder.tasks.equivalence import boxed, equal
from ponder.tasks.statement import after_last, outside

MatchType = Literal["latex", "expr", "NativeLetters"]
LANGUAGES = ("ENGLISH", "ARABIC", "CHINESE", "FRENCH", "HINDI")

_STATED = re.compile(
    r"(?:final\s+answer|\banswer)\s*(?:is|[:\uff1a])\s*[:\uff1a]?|####|\bA:|(?:\u7b54\u6848|\u7b54)\s*(?:\u662f|[:\uff1a])",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_HOPE = re.compile(r"[.,]?\s*I hope (?:it|this) is correct.*", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?")
_LETTER = re.compile(r"(?<![A-Za-z'\u2019])([A-J])(?![A-Za-z'\u2019])")
_STATED_LETTER = re.compile(
    r"(?:\banswer|\br\u00e9ponse|\u7b54\u6848|\bit)(?:['\u2019]s|\s*(?:is|est|\u662f|[:\uff1a]))\s*"
    r"(?:(?:for sure|definitely|option)\s+)?\(?([A-J])(?![A-Za-z'\u2019])"
)
_UNSPACED = r"\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef"  # scripts that put no space around a number
_BETWEEN = re.compile(
    rf"(?<=[{_UNSPACED}])(?=[\w$\\+-])(?![{_UNSPACED}])|(?<=[\w$%}}])(?<![{_UNSPACED}])(?=[{_UNSPACED}])"
)


@dataclass(frozen=True)
class Options:
    """How a prediction is read and compared. The defaults are strict.

    Attributes:
        stated: a reply without a box is read by "the answer is X", "#### X" or the like, the last one.
        last_number: a reply without these is read by its last number.
        percent: an answer and its hundredfold are equal.
        match_types: as in Math-Verify: what is looked for in gold and prediction, which are both whole replies:
            "latex" in dollars or a box, "expr" (numbers and plain expressions, the last one too), "NativeLetters" of
            a choice. Empty is strict.
        precision: digits after the point that decide, with match_types.
        strict: letters of variables count, with match_types; else f(x) and f(y) are equal.
        allow_set_relation_comp: a set equals a relation that says the same, with match_types.
        language: of the reply, with match_types.
        symmetric: NeMo-Skills: equal in either direction.
        normalisation: open-instruct: bare answers, normalised. Both are what strict comparison does anyway.
    """

    stated: bool = False
    last_number: bool = False
    percent: bool = False
    match_types: tuple[str, ...] = ()
    precision: int = 6
    strict: bool = True
    allow_set_relation_comp: bool = False
    language: str = "ENGLISH"
    symmetric: bool = False
    normalisation: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Options from a row or a command line.

        Raises:
            UserError: an unknown option, or a value of another type; names it and what is allowed.
        """
        known = {field.name: field.default for field in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise UserError(f"option {name!r} is unknown", f"allowed: {', '.join(known)}")
            kind = list if name == "match_types" else type(known[name])
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise UserError(f"option {name}={value!r} is a {type(value).__name__}", f"allowed: a {kind.__name__}")
        types = tuple(given.get("match_types", ()))
        if unknown := [one for one in types if one not in ("latex", "expr", "NativeLetters")]:
            raise UserError(f"option match_types has {unknown[0]!r}", "allowed: latex, expr, NativeLetters")
        if given.get("language", "ENGLISH") not in LANGUAGES:
            raise UserError(f"option language={given['language']!r} is unknown", f"allowed: {', '.join(LANGUAGES)}")
        return cls(**{**given, "match_types": types})


STRICT = Options()


def final_answer(text: str, *, stated: bool = False, last_number: bool = False) -> str | None:
    r"""What a reply answers: its last \boxed{...} outside of thoughts.

    Args:
        text: the reply.
        stated: without a box, what follows the last "the answer is", "final answer:", "####", "A:" or "Answer:", to the
            end of its line.
        last_number: without these, the last number.

    Returns:
        None if there is no answer.
    """
    said = _BOX.sub(lambda _: r"\boxed{", outside(text))
    if r"\boxed{" in said:
        return boxed(said) or None
    if stated and (found := _statement(said)):
        return found
    if last_number and (numbers := _NUMBER.findall(said)):
        return str(numbers[-1])
    return None


def equivalent(gold: str, pred: str, options: Options = STRICT) -> bool:
    """Whether a prediction equals the right answer.

    Args:
        gold: the right answer, bare or in the last box of a solution; with `match_types` a text to read it from.
        pred: the prediction: a bare answer or a whole reply.
        options: how both are read and compared.

    Raises:
        TaskError: no worker could be started.
    """
    if "NativeLetters" in options.match_types:
        return letter(gold) is not None and letter(gold) == letter(pred)
    if options.match_types:
        return equivalence.extracted_equal(
            _spaced(gold),
            _spaced(pred),
            options.match_types,
            options.precision,
            options.strict,
            options.allow_set_relation_comp,
        )
    right = final_answer(gold)
    answer = final_answer(pred)
    answers = [pred if answer is None else answer]
    if answer is None and (loose := final_answer(pred, stated=options.stated, last_number=options.last_number)):
        answers.append(loose)
    return any(_equal(_bare(gold if right is None else right), _bare(one), options) for one in answers)


def _equal(gold: str, given: str, options: Options) -> bool:
    if equal(gold, given) or (options.symmetric and equal(given, gold)):
        return True
    return options.percent and any(equal(gold, f"({given}){factor}") for factor in ("*100", "/100"))


def letter(text: str) -> str | None:
    """The letter that a reply to a multiple-choice question gives to lighteval: a stated one, else the first."""
    said = outside(text)
    for pattern in (_STATED_LETTER, _LETTER):
        if found := pattern.search(said):
            return found[1]
    return None


def _statement(said: str) -> str | None:
    found = after_last(said, _STATED)
    return None if found is None else _HOPE.sub("", found).strip().strip("*").strip().rstrip(".").strip() or None


def _bare(answer: str) -> str:
    """An answer without what stands around it: white space, and a backslash that a dollar or percent has left."""
    return answer.strip().rstrip("\\").strip()


def _spaced(text: str) -> str:
    """A text in the digits 0 to 9, with spaces between numbers and a script that is written without."""
    if text.isascii():
        return text
    return _BETWEEN.sub(" ", "".join(str(decimal(one)) if one.isdecimal() else one for one in text))
