r"""Questions that a corpus answers, graded by exact match or F1.

One row of a file of yours (this one is made up; HotpotQA, 2WikiMultihopQA and MuSiQue are easily brought to this form):

    {"id": "river", "question": "Into which sea flows the river that takes up the Vltava?",
     "answers": ["the North Sea", "North Sea"], "category": "bridge"}

`answers` are all accepted. Answers are normalised as in SQuAD's evaluation (arXiv 1606.05250, evaluate-v1.1.py): lower
case, without punctuation, articles and surplus white space. F1 is that of HotpotQA's (arXiv 1809.09600,
hotpot_evaluate_v1.py): of words, and 0 where one of the two is yes or no and they differ.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from ponder.errors import UserError
from ponder.protocols import Retriever
from ponder.tasks.loading import Row, first, rows
from ponder.tasks.statement import statement
from ponder.types import Problem, Trace

INSTRUCTION = """Answer the following question{with_passages}. Think step by step before answering. The last line of \
your response should be of the following format: 'Answer: $ANSWER' (without quotes) where $ANSWER is as short as can \
be: a name, a date, a number, yes or no."""
WITH_PASSAGES = " with the help of the passages below, as far as they help"

Metric = Literal["em", "f1"]
_META = ("category", "subject", "level", "lang")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_COMMAND = re.compile(r"\\(?:text|textbf|mathbf|mathrm)\b")
_CLOSED = ("yes", "no", "noanswer")


@dataclass(frozen=True)
class RetrievalQA:
    """Questions of a file, passages that a search finds for each in its prompt.

    Args:
        path: jsonl, jsonl.gz or parquet, each row with `question` and `answers`. `id` gives a row its name, else its
            number does; `category`, `subject`, `level` and `lang` go to the problem's `meta`.
        retriever: searches a corpus, such as `ponder.tasks.bm25.BM25`; None if `passages` is 0. A strategy that
            searches itself is given it as `${task.retriever}`.
        passages: how many stand in the prompt, those found for the question, best first; 0 for none.
        metric: what makes an answer right: "em", it equals an accepted one; "f1", its F1 reaches the threshold.
        threshold: in (0, 1]; only with "f1".
        limit: the first questions only; None for all.

    Raises:
        UserError: an argument out of range, no file, or a row that is none (named with its line).
    """

    path: str | None = None
    retriever: Retriever | None = None
    passages: int = 5
    metric: Metric = "em"
    threshold: float = 0.5
    limit: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.passages, bool) or not isinstance(self.passages, int) or self.passages < 0:
            raise UserError(f"task.passages={self.passages!r} is out of range", "allowed: a whole number from 0")
        if self.passages and self.retriever is None:
            raise UserError(f"task.passages={self.passages}, and task.retriever=null finds none", "task.passages=0")
        if self.metric not in get_args(Metric):
            raise UserError(f"task.metric={self.metric!r} is unknown", f"allowed: {', '.join(get_args(Metric))}")
        if not 0 < self.threshold <= 1:
            raise UserError(f"task.threshold={self.threshold} is out of range", "allowed: above 0, up to 1")
        first(self.limit)

    def problems(self) -> Sequence[Problem]:
        """The questions in their order; `meta` has the bare question, and the ids of the passages in the prompt."""
        return self._problems

    @cached_property
    def _problems(self) -> Sequence[Problem]:
        return tuple(self._problem(id_, row) for id_, row in self._rows.items())

    def _problem(self, id_: str, row: Row) -> Problem:
        question = row["question"].strip()
        found = self.retriever.search(question, self.passages) if self.retriever and self.passages else ()
        shown = [f"[{i}] {one.title}".strip() + f"\n{one.text}" for i, one in enumerate(found, start=1)]
        instruction = INSTRUCTION.format(with_passages=WITH_PASSAGES if shown else "")
        meta = {name: row[name] for name in _META if name in row}
        meta |= {"question": question, "passages": [one.id for one in found]}
        return Problem(id_, "\n\n".join([instruction, *shown, f"Question: {question}"]), meta)

    def solution(self, problem: Problem) -> str:
        """The first accepted answer."""
        return f"Answer: {self._rows[problem.id]['answers'][0]}"

    def answer(self, trace: Trace) -> str | None:
        r"""The normalised text of the last "Answer: ..." line or \boxed{...} outside thoughts; None if it is empty."""
        return normalised(_COMMAND.sub("", statement(trace.text) or "")) or None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether the answer is right by the metric."""
        return self.exact(problem, answer) if self.metric == "em" else self.f1(problem, answer) >= self.threshold

    def exact(self, problem: Problem, answer: str | None) -> bool:
        """Whether an answer equals an accepted one, both normalised."""
        return answer is not None and normalised(answer) in map(normalised, self._rows[problem.id]["answers"])

    def f1(self, problem: Problem, answer: str | None) -> float:
        """The best F1 of an answer against the accepted ones, in [0, 1]."""
        return 0.0 if answer is None else max(f1(answer, gold) for gold in self._rows[problem.id]["answers"])

    @cached_property
    def _rows(self) -> Mapping[str, Row]:
        found: dict[str, Row] = {}

        def check(row: Row) -> None:
            if not row["answers"] or not all(isinstance(one, str) and one.strip() for one in row["answers"]):
                raise ValueError(f"answers={row['answers']!r}: one text or more, none of them empty")
            id_ = f"retrieval_qa-{row.get('id', f'{len(found):05d}')}"
            if id_ in found:
                raise ValueError(f"the id {id_!r} is there twice")
            found[id_] = row

        rows(self.path, {"question": str, "answers": list}, check=check)
        return dict(list(found.items())[: self.limit])


def normalised(text: str) -> str:
    """A text as SQuAD compares it: lower case, no ASCII punctuation, no English article, single spaces.

    Composed and decomposed letters (NFC) are made equal, too; and a text that would vanish is kept, such as "The The".
    """
    lower = text.lower()
    bare = unicodedata.normalize("NFC", lower.translate(_PUNCTUATION))
    return " ".join(_ARTICLE.sub(" ", bare).split()) or " ".join(unicodedata.normalize("NFC", lower).split())


def f1(answer: str, gold: str) -> float:
    """The harmonic mean of precision and recall of an answer's words, both texts normalised; in [0, 1]."""
    given, wanted = normalised(answer), normalised(gold)
    if given != wanted and (given in _CLOSED or wanted in _CLOSED):
        return 0.0
    said, right = given.split(), wanted.split()
    common = (Counter(said) & Counter(right)).total()
    return 2 * common / (len(said) + len(right)) if common else 0.0


__all__ = ["RetrievalQA", "f1", "normalised"]
