"""Ladders by their laws: ends, one letter a step, known words, shortest where that is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks.validation import validate
from ponder.tasks.word_ladder import LEVELS, WordLadder
from ponder.types import Problem, Step, Trace

ROOT = Path(__file__).parents[2]
WORDS = ["COLD", "CORD", "CARD", "WARD", "WARM", "WORD", "WORM", "CORM", "HOLD", "bold", "cat"]


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS), encoding="utf-8")
    return str(path)


COLD = Problem("one", "?", {"start": "COLD", "end": "WARM", "steps": 4})


def right(task: WordLadder, text: str) -> bool:
    return task.grade(COLD, task.answer(Trace(COLD, (Step(text, why="eos"),))))


@pytest.mark.parametrize(
    "text",
    [
        "Answer: COLD,CORD,CARD,WARD,WARM",
        "answer: cold, cord, card, ward, warm.",
        "**Answer:** COLD -> CORD -> WORD -> WARD -> WARM",
        "**Answer: COLD \u2192 CORD \u2192 CORM \u2192 WORM \u2192 WARM**",
        r"\boxed{COLD,CORD,CARD,WARD,WARM}",
        "Answer: none\nAnswer: COLD CORD CARD WARD WARM",
    ],
)
def test_right_ladders(words: str, text: str) -> None:
    assert right(WordLadder(words=words), text)
    assert right(WordLadder(words=words, shortest=True), text)


@pytest.mark.parametrize(
    "text",
    [
        "COLD,CORD,CARD,WARD,WARM",  # not stated
        "Answer: COLD,CARD,WARD,WARM",  # two letters at once
        "Answer: COLD,COLD,CORD,CARD,WARD,WARM",  # no letter
        "Answer: COLD,CORD,CARD,WARD",
        "Answer: CORD,CARD,WARD,WARM",
        "Answer: COLD,WOLD,WORD,WARD,WARM",  # not in the list
        "Answer: COLD,OLD,CORD,CARD,WARD,WARM",
        "Answer: COLD,WARM",
        "Answer: COLD",
        "Answer: 1. COLD 2. CORD",
        "Answer: COLD,CORD,CARD,WARD,WARM (5 words)",
        "<think>Answer: COLD,CORD,CARD,WARD,WARM",
    ],
)
def test_wrong_ladders(words: str, text: str) -> None:
    assert not right(WordLadder(words=words), text)


def test_a_longer_ladder_is_right_unless_a_shortest_is_asked(words: str) -> None:
    longer = "Answer: COLD,HOLD,COLD,CORD,CARD,WARD,WARM"
    assert right(WordLadder(words=words), longer)
    assert not right(WordLadder(words=words, shortest=True), longer)


def test_votes_count_words_however_they_are_separated() -> None:
    task = WordLadder()
    texts = ["Answer: a b", "Answer: AB, CD", "Answer: ab->cd", "Answer: AB , cd ,"]
    assert [task.answer(Trace(COLD, (Step(text, why="eos"),))) for text in texts] == [None, "AB,CD", "AB,CD", None]


def test_a_shortest_ladder_is_asked_in_the_prompt(words: str) -> None:
    (plain,) = WordLadder(words=words, limit=1, level=1).problems()
    (short,) = WordLadder(words=words, limit=1, level=1, shortest=True).problems()
    assert short.prompt == plain.prompt.replace(" The last", " Use as few words as possible. The last")


@pytest.mark.parametrize("length", [3, 4, 5])
def test_levels_have_ladders_of_their_length(length: int) -> None:
    pytest.importorskip("reasoning_gym", reason="the extra `puzzles` is not installed")
    for level in LEVELS:
        task = WordLadder(length=length, level=level, limit=4, shortest=True)
        assert validate(task).proven == 4, "a solution is as long as `steps` says"
        assert all(problem.meta["steps"] in LEVELS[level] for problem in task.problems())
        assert list(task.problems()) == list(WordLadder(length, level, limit=9, shortest=True).problems())[:4]
    assert list(task.problems()) != list(WordLadder(length, 5, limit=4, seed=1).problems())


def test_ladders_are_the_same_under_any_hash_seed() -> None:
    pytest.importorskip("reasoning_gym", reason="the extra `puzzles` is not installed")
    program = (
        "from ponder.tasks.word_ladder import WordLadder as W\n"
        "for t in (W(limit=20), W(5, 5, limit=5)): print([(p.prompt, t.solution(p)) for p in t.problems()])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1000


def test_users_mistakes_are_named(tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ({"level": 0}, {"length": 6}, {"limit": 0}):
        arguments: dict[str, Any] = given
        with pytest.raises(UserError, match=f"task.{next(iter(given))}="):
            WordLadder(**arguments)
    with pytest.raises(UserError, match="cannot be read"):
        list(WordLadder(words=str(tmp_path / "none")).problems())
    with pytest.raises(UserError, match="no words of 5 letters"):
        list(WordLadder(length=5, words=words).problems())
    with pytest.raises(UserError, match="so far apart"):
        list(WordLadder(level=5, words=words).problems())
    monkeypatch.setattr("ponder.tasks.word_ladder.find_spec", lambda name: None)
    monkeypatch.setattr("ponder.tasks.word_ladder._graph", sys.modules["ponder.tasks.word_ladder"]._graph.__wrapped__)
    with pytest.raises(UserError, match=r"ponder\[puzzles\]"):
        list(WordLadder().problems())
