"""A corpus that is searched by BM25, for `retrieval_qa` and for strategies that search (library: bm25s).

One row of a corpus (jsonl, jsonl.gz or parquet; this one is made up):

    {"id": "vltava", "title": "Vltava", "text": "The Vltava is the longest river within the Czech Republic."}
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ponder.errors import UserError
from ponder.tasks.loading import Row, rows

_ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Chinese characters
)
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff\u200c\u200d"
_WORD = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}])[\w{_MARKS}])+")
_building = threading.Lock()


@dataclass(frozen=True, slots=True)
class Passage:
    """One text of a corpus, as a search found it.

    Attributes:
        id: unique within the corpus.
        title: its title, which is searched as well; may be empty.
        text: the text.
        score: of the search, above 0; comparable within one search.
    """

    id: str
    title: str
    text: str
    score: float = 0.0


class BM25:
    """Searches a corpus by BM25 as Lucene has it (bm25s, method "lucene"; arXiv 2407.03618).

    A passage's score is the sum of idf(w) f / (f + k1 (1 - b + b l / L)) over the query's words w, repeats included:
    f is how often w stands in title and text, l their length in words, L the corpus's mean length, and
    idf(w) = ln(1 + (N - n + 0.5) / (n + 0.5)) with N passages, n of them with w. The index is built at the start, once
    for all that search the same corpus in the same way. Used from any thread.

    Args:
        corpus: a file: jsonl, jsonl.gz or parquet, each row with `id` and `text`, perhaps `title`.
        k1: how soon repeats of a word count no more; from 0.
        b: how much long passages are held back, in [0, 1].
        stop_words: words that are not searched.

    Raises:
        UserError: no corpus, a row that is no passage (named with its line), or a setting out of range.

    Example:
        BM25("corpus.jsonl").search("longest Czech river", k=3)
    """

    def __init__(self, corpus: str | None, k1: float = 1.5, b: float = 0.75, stop_words: Sequence[str] = ()) -> None:
        if not k1 >= 0:
            raise UserError(f"task.retriever.k1={k1} is out of range", "allowed: a number from 0")
        if not 0 <= b <= 1:
            raise UserError(f"task.retriever.b={b} is out of range", "allowed: a number in [0, 1]")
        if isinstance(stop_words, str):
            raise UserError(f"task.retriever.stop_words={stop_words!r} is no list", "allowed: a list of words")
        if corpus is None:
            raise UserError(
                "task.retriever.corpus=null: there is nothing to search",
                "task.retriever.corpus=FILE, or task.retriever=null task.passages=0 to search nothing",
            )
        path = Path(corpus)
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        with _building:
            self._passages, self._index = _indexed(corpus, changed, k1, b, tuple(stop_words))

    def search(self, query: str, k: int) -> list[Passage]:
        """The passages that score highest, best first; equal ones in the corpus's order.

        Args:
            query: any text, such as a question or the last sentence of a solution.
            k: how many, from 1; fewer come if fewer have a word of the query.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise UserError(f"k={k!r} passages are out of range", "allowed: a whole number from 1")
        known = self._index.get_tokens_ids(words(query))
        if not known:
            return []
        scores = self._index.get_scores_from_ids(known)
        found = np.flatnonzero(scores > 0)
        if len(found) > k:
            found = found[scores[found] >= np.partition(scores[found], -k)[-k]]
        best = found[np.argsort(-scores[found], kind="stable")][:k]
        return [replace(self._passages[place], score=float(scores[place])) for place in best]

    def __len__(self) -> int:
        """How many passages there are."""
        return len(self._passages)


def words(text: str) -> list[str]:
    """A text's words in lower case, compatible forms made equal (NFKC).

    Letters, digits and their marks make words; Chinese, Japanese and South-East Asian characters each stand alone, as
    there are no spaces between words.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=2)
def _indexed(corpus: str, changed: int, k1: float, b: float, stop_words: tuple[str, ...]) -> tuple[list[Passage], Any]:
    """The passages and their index; `changed` tells a file from what it was before."""
    from bm25s import BM25 as Index

    passages: dict[str, Passage] = {}

    def check(row: Row) -> None:
        one = Passage(str(row["id"]), row.get("title") or "", row["text"])
        if not isinstance(one.title, str):
            raise ValueError(f"title={one.title!r} is no text")
        if one.id in passages:
            raise ValueError(f"the id {one.id!r} is there twice")
        passages[one.id] = one

    rows(corpus, {"id": (str, int), "text": str}, check=check, key="task.retriever.corpus")
    left_out = {word for stop in stop_words for word in words(stop)}
    numbers: dict[str, int] = {}
    texts = [
        [numbers.setdefault(word, len(numbers)) for word in words(f"{one.title} {one.text}") if word not in left_out]
        for one in passages.values()
    ]
    if not numbers:
        raise UserError(f"task.retriever.corpus={corpus} has no words", "give passages of text")
    index = Index(k1=k1, b=b, method="lucene", dtype="float64", auto_compile=False)
    index.index((texts, numbers), show_progress=False)
    return list(passages.values()), index


__all__ = ["BM25", "Passage", "words"]
