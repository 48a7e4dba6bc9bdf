"""MGSM: numbers in every language's digits, separators and words, and no other number of a text."""

# ruff: noqa: RUF001  # other scripts than Latin

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks import equivalence
from ponder.tasks.mgsm import INSTRUCTIONS, LANGUAGES, MGSM, PREFIXES, mgsm
from ponder.tasks.validation import Validated, validate
from ponder.types import Problem, Step, Trace

SHARED = Path(__file__).parents[3] / "shared" / "data" / "mgsm.jsonl.gz"
REAL = pytest.mark.skipif(not SHARED.exists(), reason="shared/data/mgsm.jsonl.gz is not beside the repository")

pytestmark = pytest.mark.filterwarnings("default")  # of sympy and math-verify


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """Workers that read answers end with this file."""
    yield
    equivalence.close()


def answer(lang: str, text: str, **options: Any) -> str | None:
    """What a solution in a language answers."""
    return MGSM((), **options).answer(Trace(Problem("p", "?", {"lang": lang}), (Step(text, why="eos"),)))


def written(path: Path, *rows: Any) -> str:
    """A file of rows."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("bn", "উত্তর: ১২৩৪"),
        ("bn", "সুতরাং **উত্তর:** 1,234 টাকা।"),
        ("bn", "উত্তর হল ১,২৩৪।"),
        ("de", "Antwort: 1.234"),
        ("de", "Die Antwort ist 1234."),
        ("de", "**Antwort: 1.234 Euro**"),
        ("de", "Antwort:\n1.234,00"),
        ("en", "Answer: 1,234"),
        ("en", "The answer is $1,234."),
        ("es", "Respuesta: 1.234 dólares"),
        ("es", "La respuesta es 1234."),
        ("fr", "Réponse : 1 234 $"),
        ("fr", "Réponse: 1\u202f234"),
        ("fr", "La réponse est 1234."),
        ("ja", "答え: 1234"),
        ("ja", "答えは1234です。"),
        ("ja", "答え：１，２３４ドル"),
        ("ru", "Ответ: 1 234"),
        ("ru", "Ответ — 1234."),
        ("sw", "Jibu: 1,234"),
        ("sw", "Jibu ni 1234."),
        ("te", "సమాధానం: ౧౨౩౪"),
        ("te", "సమాధానం: 1234 డాలర్లు"),
        ("th", "คำตอบ: ๑๒๓๔"),
        ("th", "คำตอบคือ 1,234 บาท"),
        ("zh", "答案: 1234"),
        ("zh", "答案：1234美元"),
        ("zh", "答案是 1234。"),
        *[(lang, r"\boxed{1234}") for lang in LANGUAGES],
        ("de", r"\boxed{1.234}"),
        ("th", r"\boxed{๑,๒๓๔}"),
        ("de", "<think>Antwort: 5</think>Antwort: 1234"),
        ("de", "Antwort: 5? Nein.\nAntwort: 1234"),
        ("de", "The answer is 1234."),
    ],
)
def test_a_number_is_read_in_the_language(lang: str, text: str) -> None:
    assert answer(lang, text) == "1234"
    assert lang in PREFIXES


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("de", "Es sind 1234."),
        ("de", "<think>Antwort: 1234</think>"),
        ("de", "<think>Antwort: 1234"),
        ("bn", "১২৩৪"),
        ("fr", "Antwort: 1234"),
        ("en", ""),
        ("en", "Answer:"),
    ],
)
def test_what_is_not_stated_is_no_answer(lang: str, text: str) -> None:
    assert answer(lang, text) is None


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("en", "Answer: 1.234"),
        ("en", "Answer: 1234 or 1235"),
        ("en", "Answer: 1234 + 5"),
        ("en", "Answer: 1234.5"),
        ("de", "Antwort: 1.234,5"),
        ("de", "Antwort: 12,34"),
        ("zh", "答案：1234万"),
        ("de", r"Antwort: 1234, nein, \boxed{1235}"),
        ("th", "คำตอบ: ๑๒๓๕"),
    ],
)
def test_near_misses_are_wrong(tmp_path: Path, lang: str, text: str) -> None:
    task = mgsm(written(tmp_path / "rows.jsonl", {"lang": lang, "question": "?", "answer": "1234"}))
    (problem,) = task.problems()
    assert not task.grade(problem, task.answer(Trace(problem, (Step(text, why="eos"),))))
    assert task.grade(problem, "1234")


def test_what_is_looser_is_an_option() -> None:
    assert answer("de", "Antwort: 5", stated=False) is None
    assert answer("th", "ดังนั้น ๑๒ แล้วก็ ๓๔", last_number=True) == "34"
    assert answer("de", "also 1.234 Euro", last_number=True) == "1234"
    item = next(iter(mgsm(str(Path(__file__).parent / "samples" / "mgsm.jsonl")).items))
    problem = Problem(item.id, item.question, item.meta)
    assert not MGSM((item,)).grade(problem, "700")
    assert MGSM((item,), percent=True).grade(problem, "700")


@REAL
def test_all_rows_of_all_languages() -> None:
    task = mgsm(str(SHARED))
    problems = list(task.problems())
    assert validate(task) == validate(mgsm(str(SHARED), native=True)) == Validated(2750, 2750, 0)
    assert Counter(problem.meta["lang"] for problem in problems) == dict.fromkeys(LANGUAGES, 250)
    assert [problems[0].id, problems[250].id, problems[-1].id] == ["mgsm-bn-000", "mgsm-de-000", "mgsm-zh-249"]
    with gzip.open(SHARED, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert [problem.prompt for problem in problems] == [row["question"] for row in rows]
    golds = {(row["lang"], row["idx"]): row["answer"] for row in rows}
    for lang in LANGUAGES:  # and the same problem has the same answer in each
        part = list(mgsm(str(SHARED), language=lang).problems())
        assert part == [problem for problem in problems if problem.meta["lang"] == lang]
        assert [task.grade(one, golds["en", i]) for i, one in enumerate(part)] == [True] * 250
        assert not any(task.grade(one, golds["en", i] + "0") for i, one in enumerate(part) if golds["en", i] != "0")


def test_the_instruction_is_in_the_language_and_letter_by_letter(tmp_path: Path) -> None:
    rows = [{"lang": lang, "question": f"{lang}?", "answer": 1} for lang in LANGUAGES]
    problems = list(mgsm(written(tmp_path / "rows.jsonl", *rows), native=True).problems())
    for lang, problem in zip(LANGUAGES, problems, strict=True):
        assert problem.prompt == f"{INSTRUCTIONS[lang]}\n\n{lang}?"
        assert f"{PREFIXES[lang]}:" in problem.prompt or "：" in problem.prompt
    assert problems[LANGUAGES.index("en")].prompt == (
        "Solve this math problem. Give the reasoning steps before giving the final answer on the last line by itself "
        'in the format of "Answer:". Do not add anything other than the integer answer after "Answer:".\n\nen?'
    )
    # Lengths in simple-evals' file; its Bengali has one precomposed letter.
    lengths = {"bn": 201, "de": 226, "en": 202, "es": 235, "fr": 233, "ja": 96, "ru": 217, "sw": 214, "te": 228}
    assert {lang: len(text) for lang, text in INSTRUCTIONS.items()} == {**lengths, "th": 169, "zh": 79}


def test_the_hub_has_a_configuration_for_each_language(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets, asked = ModuleType("datasets"), []

    def load_dataset(name: str, lang: str, split: str) -> list[dict[str, Any]]:
        asked.append((name, lang, split))
        row = {"question": f"{lang}?", "answer": None, "answer_number": 18, "equation_solution": None}
        return [row, {**row, "answer_number": 1000}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    (one, other) = mgsm(language="de").problems()
    assert (one.id, one.meta, other.id) == ("mgsm-de-000", {"lang": "de"}, "mgsm-de-001")
    assert asked == [("juletxara/mgsm", "de", "test")]
    assert validate(mgsm()) == Validated(22, 22, 0)
    assert asked[1:] == [("juletxara/mgsm", lang, "test") for lang in LANGUAGES]


def test_mistakes_are_named(tmp_path: Path) -> None:
    row = {"lang": "de", "idx": 0, "question": "?", "answer": "18"}
    path = tmp_path / "rows.jsonl"
    with pytest.raises(UserError, match=r"task\.language=xx is unknown"):
        mgsm(written(path, row), language="xx")
    with pytest.raises(UserError, match=r"has no rows of task\.language=fr"):
        mgsm(written(path, row), language="fr")
    for bad, words in [
        ({**row, "lang": "kl"}, "lang='kl' is unknown"),
        ({**row, "idx": 1, "answer": "viele"}, "answer='viele' is no number"),
        ({"lang": "de", "question": "?"}, "answer=None is no number"),
        ({**row, "question": 5}, "question=5"),
        (row, "idx=0 of de is there twice"),
        ({"question": "?", "answer": "1"}, "lang='all' is unknown"),
    ]:
        with pytest.raises(UserError, match=rf"task\.path: .*rows\.jsonl:2: {words}"):
            mgsm(written(path, row, bad))
    (only,) = mgsm(written(path, {"question": "?", "answer": "1"}), language="sw").problems()
    assert only.meta == {"lang": "sw"}
