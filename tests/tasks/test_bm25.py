"""BM25: scores by formula, order, languages, threads, and rows that are no passages."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.tasks.bm25 import BM25, words

CORPUS = Path(__file__).parent / "samples" / "corpus.jsonl"


def corpus(folder: Path, texts: Sequence[str], **further: Any) -> str:
    """A corpus of texts, their ids their places."""
    path = folder / "corpus.jsonl"
    rows = [{"id": i, "text": text, **further} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_scores_by_hand(tmp_path: Path) -> None:
    """Three passages of 2, 4 and 3 words, mean length 3; b stands in two of them, c only in the second, twice."""
    index = BM25(corpus(tmp_path, ["a b", "b c c d", "a a e"]), k1=1.5, b=0.75)
    b, c = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5)), math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    first = b * 1 / (1 + 1.5 * (0.25 + 0.75 * 2 / 3))
    second = b * 1 / (1 + 1.5 * (0.25 + 0.75 * 4 / 3)) + c * 2 / (2 + 1.5 * (0.25 + 0.75 * 4 / 3))
    found = index.search("B c?", 5)
    assert [one.id for one in found] == ["1", "0"]
    assert [one.score for one in found] == pytest.approx([second, first], rel=1e-12)
    assert [round(one.score, 4) for one in found] == [0.6697, 0.2212]
    assert index.search("B c?", 1) == found[:1]
    assert index.search("zebra", 3) == index.search("?!", 3) == index.search("", 3) == []


def brute(texts: Sequence[str], query: str, k1: float, b: float) -> list[float]:
    """Each passage's score, written as the formula."""
    split = [words(text) for text in texts]
    mean = sum(map(len, split)) / len(split)
    scores = []
    for tokens in split:
        counts, total = Counter(tokens), 0.0
        for word in words(query):
            n = sum(word in other for other in split)
            idf = math.log(1 + (len(split) - n + 0.5) / (n + 0.5))
            total += (
                idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(tokens) / mean)) if counts[word] else 0.0
            )
        scores.append(total)
    return scores


LINES = st.lists(st.sampled_from(["sun", "Moon", "star", "sea", "水", "river's"]), min_size=1, max_size=8).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(LINES, min_size=1, max_size=12),
    query=LINES,
    k=st.integers(1, 14),
    k1=st.floats(0.0, 3.0),
    b=st.floats(0.0, 1.0),
)
def test_it_finds_what_brute_force_finds(texts: list[str], query: str, k: int, k1: float, b: float) -> None:
    with TemporaryDirectory() as folder:
        found = BM25(corpus(Path(folder), texts), k1=k1, b=b).search(query, k)
    scores = brute(texts, query, k1, b)
    matching = [i for i, score in enumerate(scores) if score > 0]
    assert len(found) == min(k, len(matching))
    assert [one.score for one in found] == pytest.approx(sorted(scores, reverse=True)[: len(found)], rel=1e-9)
    assert all(one.score == pytest.approx(scores[int(one.id)], rel=1e-9) for one in found)


def test_equal_passages_come_in_the_corpus_order(tmp_path: Path) -> None:
    index = BM25(corpus(tmp_path, ["red fox"] * 50 + ["a fox"] * 2 + ["red red fox"]))
    found = index.search("red", 10)
    assert [one.id for one in found] == ["52", *map(str, range(9))]
    assert index.search("red", 60)[-1].id == "49"


def test_titles_are_searched_and_each_language_has_words() -> None:
    index = BM25(str(CORPUS))
    assert len(index) == 7
    (first, *_) = index.search("Who was KEPLER?", 2)
    assert (first.id, first.title) == ("kepler", "Johannes Kepler")
    assert index.search("Smetana, Bedr\u030cich", 1)[0].id == "smetana"  # a composed letter, decomposed
    assert index.search("捷克的首都", 1)[0].id == "6"
    assert index.search("भारत की राजधानी", 1)[0].id == "dilli"
    assert words("The \uff2e\uff2f\uff32\uff34\uff28 Sea, 1612; naïve_x") == ["the", "north", "sea", "1612", "naïve_x"]
    assert words("राजधानी है।") == ["राजधानी", "है"]
    assert words("捷克abcไทย") == ["捷", "克", "abc", "ไ", "ท", "ย"]
    assert words("\udcff\x00 ok") == ["ok"]


def test_stop_words_are_not_searched(tmp_path: Path) -> None:
    path = corpus(tmp_path, ["the fox", "a hen"])
    assert [one.id for one in BM25(path).search("the hen", 2)] == ["0", "1"]
    assert [one.id for one in BM25(path, stop_words=["The", "a"]).search("the hen", 2)] == ["1"]


def test_the_index_is_built_once_and_serves_all_threads(tmp_path: Path) -> None:
    path = corpus(tmp_path, [f"word{i % 7} word{i % 11} word{i % 13}" for i in range(300)])
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: BM25(path), range(8)))
        assert len({id(one._index) for one in made}) == 1
        queries = [f"word{i % 7} word{i % 13}" for i in range(64)]
        assert list(pool.map(lambda q: made[0].search(q, 5), queries)) == [made[1].search(q, 5) for q in queries]


def test_a_corpus_that_changed_is_read_again(tmp_path: Path) -> None:
    assert len(BM25(corpus(tmp_path, ["one"]))) == 1
    path = Path(corpus(tmp_path, ["one", "two"]))
    assert len(BM25(str(path))) == 2


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"id": "1", "text": "b"}, ":2: the id '1' is there twice"),
        ({"id": "2"}, ":2: no field 'text'"),
        ({"id": "2", "text": ""}, ":2: text is empty"),
        ({"id": None, "text": "b"}, ":2: id=None"),
        ({"id": "2", "text": "b", "title": ["b"]}, ":2: title=['b'] is no text"),
        ("b", ":2: a str is no row"),
    ],
)
def test_a_bad_passage_is_named_by_its_line(second: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"id": 1, "text": "a"}) + "\n" + json.dumps(second) + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        BM25(str(path))
    assert f"task.retriever.corpus: {path}{message}" in str(caught.value)


def test_settings_are_checked(tmp_path: Path) -> None:
    path = corpus(tmp_path, ["a"])
    for wrong in ({"k1": -1.0}, {"k1": math.nan}, {"b": 1.5}, {"b": -0.1}, {"stop_words": "the"}):
        with pytest.raises(UserError, match=rf"task\.retriever\.{next(iter(wrong))}="):
            BM25(path, **wrong)
    with pytest.raises(UserError, match="nothing to search"):
        BM25(None)
    with pytest.raises(UserError, match=r"task\.retriever\.corpus=.*is no file"):
        BM25(str(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="k=0"):
        BM25(path).search("a", 0)
    with pytest.raises(UserError, match="has no words"):
        BM25(corpus(tmp_path, ["!", "?"]))
