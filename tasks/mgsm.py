r"""MGSM: 250 problems of GSM8K in 11 languages (arXiv 2210.03057).

One row (`de`):

    {"lang": "de", "idx": 0, "answer": "18",
     "question": "Janets Enten legen 16 Eier pro Tag. Sie isst drei jeden Morgen zum Frühstück und backt mit vier ..."}

The hub has a configuration for each language, and the number as `answer_number`. The instructions, and the word for
"answer" in each language, are those of OpenAI's simple-evals (mgsm_eval.py, MIT), letter by letter. A number may be
written in the digits of the language, and in German, Spanish, French and Russian as 1.234,5.
"""

# ruff: noqa: RUF001  # other scripts than Latin
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from ponder.errors import UserError
from ponder.tasks.equivalence import key
from ponder.tasks.grading import final_answer
from ponder.tasks.loading import Row, first, rows
from ponder.tasks.maths import Item, right
from ponder.tasks.numbers import number as number_of
from ponder.tasks.statement import after_last, outside
from ponder.types import Problem, Trace

HUB = "juletxara/mgsm"
INSTRUCTIONS = {
    "bn": "এই গণিতের সমস্যাটি সমাধান করুন। চূড়ান্ত উত্তর দেও\u09dfার আগে যুক্তিসম্পন্ন পদক্ষেপ প্রদান করুন। "
    'চূড়ান্ত উত্তরটি একক সংখ্যা হিসাবে "উত্তর:" এর পরে শেষ লাইনে দিন। "উত্তর:" এর পরে অন্য কিছু যুক্ত করবেন না।.',
    "de": "Löse dieses Mathematikproblem. Gib die Schritte zur Begründung an, bevor du die endgültige Antwort in der "
    'letzten Zeile alleine im Format "Antwort:" gibst. Füge nichts anderes als die ganzzahlige Antwort nach "Antwort:" '
    "hinzu.",
    "en": "Solve this math problem. Give the reasoning steps before giving the final answer on the last line by itself "
    'in the format of "Answer:". Do not add anything other than the integer answer after "Answer:".',
    "es": "Resuelve este problema matemático. Proporciona los pasos de razonamiento antes de dar la respuesta final en "
    'la última línea por sí misma en el formato de "Respuesta:". No añadas nada más que la respuesta entera después de '
    '"Respuesta:".',
    "fr": "Résolvez ce problème de mathématiques. Donnez les étapes de raisonnement avant de fournir la réponse finale "
    "sur la dernière ligne elle-même dans le format de \"Réponse:\". N'ajoutez rien d'autre que la réponse entière "
    'après "Réponse:".',
    "ja": "の数学の問題を解いてください。最終的な答えを出す前に、解答の推論過程を記述してください。そして最後の行には "
    '"答え:" の形式で答えを記述し、その後には整数の答え以外何も追加しないでください。',
    "ru": "Решите эту математическую задачу. Объясните шаги рассуждения перед тем, как дать окончательный ответ в "
    'последней строке сам по себе в формате "Ответ:". Не добавляйте ничего, кроме целочисленного '
    'ответа после "Ответ:".',
    "sw": "Suluhisha tatizo hili la hesabu. Toa hatua za mantiki kabla ya kutoa jibu la mwisho kwenye mstari wa mwisho "
    'peke yake katika muundo wa "Jibu:". Usiongeze chochote kingine isipokuwa jibu la integer baada ya "Jibu:".',
    "te": "ఈ గణిత సమస్యను పరిష్కరించండి. చివరి సమాధానాన్ని ఇవ్వదానికి ముందు తర్కాత్మక అదుగులను ఇవ్వండి. చివరి పంక్తిలో మాత్రమే "
    "'సమాధానం:' అనే ఆకారంలో చివరి సమాధానాద్ని ఇవ్వండి సమాధానం: తర్వాత పూర్ణాంక సమాధానానికి తప్పించి ఎదేనా చేర్చవద్దు.",
    "th": "แก้ปัญหาคณิตศาสตร์นี้ ให้ให้ขั้นตอนการใช้เหตุผลก่อนที่จะให้คำตอบสุดท้ายในบรรทัดสุดท้ายโดยอยู่ในรูปแบบ "
    '"คำตอบ:" ไม่ควรเพิ่มอะไรนอกจากคำตอบที่เป็นจำนวนเต็มหลังจาก "คำตอบ:"',
    "zh": '解决这个数学问题。在最后一行给出答案前，请提供推理步骤。最后一行应该以 "答案: " 的形式独立给出答案。'
    '在 "答案：" 后不要添加除整数答案之外的任何内容。',
}
PREFIXES = {
    "bn": "উত্তর",
    "de": "Antwort",
    "en": "Answer",
    "es": "Respuesta",
    "fr": "Réponse",
    "ja": "答え",
    "ru": "Ответ",
    "sw": "Jibu",
    "te": "సమాధానం",
    "th": "คำตอบ",
    "zh": "答案",
}
LANGUAGES = tuple(PREFIXES)
COMMA = {"de", "es", "fr", "ru"}
"""Languages with a comma before the decimals."""

# What stands between the word for "answer" and the number: a colon, or the verb of the paper's examples.
_IS = {
    "bn": "হলো?",
    "de": "ist|lautet",
    "en": "is",
    "es": "es",
    "fr": "est",
    "ja": "は",
    "ru": "[-\u2013\u2014]",
    "sw": "ni",
    "te": "",
    "th": "คือ",
    "zh": "是|为",
}
_STATED = {
    lang: re.compile(rf"{word}\**\s*(?:[:\uff1a]|{_IS[lang]})[\s*:\uff1a\u3001]*", re.IGNORECASE)
    for lang, word in PREFIXES.items()
}


@dataclass(frozen=True)
class MGSM:
    """Word problems in several languages; an answer is a number.

    Args:
        items: the problems; each one's `meta` has its `lang`.
        native: the prompt gives the instruction in the problem's language before the question.
        stated: a solution without a box is read by what it states as its answer, in its own language or in English.
        last_number: without that, by its last number.
        percent: an answer and its hundredfold are equal.
    """

    items: Sequence[Item]
    native: bool = False
    stated: bool = True
    last_number: bool = False
    percent: bool = False

    def problems(self) -> Iterator[Problem]:
        """The problems, language after language; `meta` has `lang`."""
        for item in self.items:
            prompt = f"{INSTRUCTIONS[item.meta['lang']]}\n\n{item.question}" if self.native else item.question
            yield Problem(item.id, prompt, dict(item.meta))

    def solution(self, problem: Problem) -> str:
        """The number, as the problem's prompt asks for it."""
        item = self._by_id[problem.id]
        if self.native and self.stated:
            return f"{PREFIXES[item.meta['lang']]}: {item.gold}"
        return rf"\boxed{{{item.gold}}}"

    def answer(self, trace: Trace) -> str | None:
        """The number in digits 0 to 9, without unit and separators; None if none is given."""
        lang = str(trace.problem.meta.get("lang", "en"))
        said = final_answer(trace.text)
        if said is None and self.stated:
            said = stated_in(trace.text, lang)
        if said is None:
            said = final_answer(trace.text, stated=self.stated, last_number=self.last_number)
        return None if said is None else key(number_of(said, comma=lang in COMMA) or said) or None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether it equals the gold number."""
        return answer is not None and right(self._by_id[problem.id].gold, answer, percent=self.percent)

    @cached_property
    def _by_id(self) -> dict[str, Item]:
        return {item.id: item for item in self.items}


def stated_in(text: str, lang: str) -> str | None:
    """What follows the last statement in a language, to the end of its line: "Antwort: 18", "答えは18です。"."""
    said = outside(text)
    if r"\boxed{" in said or lang not in _STATED:
        return None
    return after_last(said, _STATED[lang])


def mgsm(
    path: str | None = None,
    language: str = "all",
    limit: int | None = None,
    native: bool = False,
    stated: bool = True,
    last_number: bool = False,
    percent: bool = False,
    translations: bool = False,
) -> MGSM:
    """The problems of one language or of all in turn, ids such as `mgsm-de-000`.

    Args:
        path: jsonl, jsonl.gz or parquet with `question`, `answer` (or `answer_number`) and `lang`, which may be missing
            if all rows are of `language`; None loads juletxara/mgsm.
        language: a code of two letters, or all.
        limit: the first problems only; None for all.
        native: the prompt gives simple-evals' instruction in the problem's language.
        stated: a solution without a box is read by what it states as its answer.
        last_number: without that, by its last number.
        percent: an answer and its hundredfold are equal.
        translations: each problem's `meta["questions"]` holds it in all languages, for `search=cross_lingual`.

    Raises:
        UserError: an unknown language, no file, no row of the language, or a row that is none.
    """
    if language not in (*LANGUAGES, "all"):
        raise UserError(f"task.language={language} is unknown", f"allowed: {', '.join(LANGUAGES)}, all")
    most, items, places = first(limit), list[Item](), set[tuple[str, str]]()
    counts = dict.fromkeys(LANGUAGES, 0)
    everywhere: dict[str, dict[str, str]] = {}  # by the problem's place: its question in each language

    def keep(row: Row, lang: str) -> None:
        if lang not in counts:
            raise ValueError(f"lang={lang!r} is unknown; allowed are {', '.join(LANGUAGES)}")
        place = lang, str(row.get("idx", counts[lang]))
        if place in places:
            raise ValueError(f"idx={place[1]} of {lang} is there twice")
        written_gold = row.get("answer") if row.get("answer_number") is None else row["answer_number"]
        gold = number_of(str(written_gold))
        if gold is None:
            raise ValueError(f"answer={written_gold!r} is no number")
        questions = everywhere.setdefault(place[1], {})
        questions[lang] = row["question"]
        if language in ("all", lang):
            meta = {"lang": lang, "questions": questions} if translations else {"lang": lang}
            items.append(Item(f"mgsm-{lang}-{counts[lang]:03d}", row["question"], gold, meta))
        places.add(place)
        counts[lang] += 1

    if path is not None:
        rows(path, {"question": str}, check=lambda row: keep(row, str(row.get("lang", language))))
    else:
        for lang in LANGUAGES if translations or language == "all" else (language,):
            rows(None, {"question": str}, hub=(HUB, lang), check=partial(keep, lang=lang))
    if not items:
        have = ", ".join(lang for lang, count in counts.items() if count)
        raise UserError(f"task.path={path} has no rows of task.language={language}", f"it has {have}")
    return MGSM(tuple(items[:most]), native, stated, last_number, percent)
