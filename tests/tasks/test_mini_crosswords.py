"""Squares as models write them, and the paper's three rates."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ponder.errors import UserError
from ponder.tasks.mini_crosswords import MiniCrosswords
from ponder.tasks.validation import validate
from ponder.types import Step, Trace

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "mini_crosswords.jsonl"
SAMPLE = Path(__file__).parent / "samples" / "mini_crosswords.jsonl"
SQUARE = "SCENTCANOEARSONROUSEFLEET"
TASK = MiniCrosswords(str(SAMPLE))
(SCENT,) = (problem for problem in TASK.problems() if problem.meta["idx"] == 5)


def answer(text: str) -> str | None:
    return TASK.answer(Trace(SCENT, (Step(text, why="eos"),)))


@pytest.mark.parametrize(
    "text",
    [
        "Output:\nS C E N T\nC A N O E\nA R S O N\nR O U S E\nF L E E T",
        "**Output:**\n\n```text\nscent\ncanoe\narson\nrouse\nfleet\n```\nThat is all.",
        "Output:\nX X X X X\nOutput:\n| S | C | E | N | T |\nC,A,N,O,E\nA R S O N\nR O U S E\nF L E E T\nH E L L O",
        "<think>Output:\nA</think>Answer: S C E N T\nC A N O E\nA R S O N\nR O U S E\nF L E E T",
    ],
)
def test_a_square_is_read(text: str) -> None:
    assert answer(text) == SQUARE
    assert TASK.grade(SCENT, answer(text))


@pytest.mark.parametrize(
    "text",
    [
        "S C E N T\nC A N O E\nA R S O N\nR O U S E\nF L E E T",  # not announced
        "Output:\nS C E N T\nC A N O E\nA R S O N\nR O U S E",
        "Output:\nS C E N\nC A N O E\nA R S O N\nR O U S E\nF L E E T",
        "Output:\nh1. S C E N T\nC A N O E\nA R S O N\nR O U S E\nF L E E T",
        "Output:\n\u0421 C E N T\nC A N O E\nA R S O N\nR O U S E\nF L E E T",  # a Cyrillic letter
        "<think>Output:\nS C E N T\nC A N O E\nA R S O N\nR O U S E\nF L E E T",
    ],
)
def test_what_is_no_square_is_no_answer(text: str) -> None:
    assert answer(text) is None


def test_the_paper_s_three_rates() -> None:
    for given, letters, words, game in [
        (SQUARE, 1.0, 1.0, True),
        ("_" + SQUARE[1:], 24 / 25, 8 / 10, False),
        ("SCENT" + "_" * 20, 5 / 25, 1 / 10, False),
        ("X" * 25, 0.0, 0.0, False),
        (None, 0.0, 0.0, False),
    ]:
        assert (TASK.letters(SCENT, given), TASK.words(SCENT, given), TASK.grade(SCENT, given)) == (
            letters,
            words,
            game,
        )
    assert answer("Output:\n_ C E N T\nC A N O E\nA R S O N\nR O U S E\nF L E E T") == "_" + SQUARE[1:]


def test_the_paper_s_games_are_chosen() -> None:
    assert [problem.meta["idx"] for problem in TASK.problems()] == [0, 5, 10]
    assert [problem.meta["idx"] for problem in MiniCrosswords(str(SAMPLE), "all").problems()] == [0, 1, 5, 10]


@pytest.mark.skipif(not DATA.exists(), reason="shared/data/mini_crosswords.jsonl is not beside the repository")
def test_the_real_games_prove_their_squares() -> None:
    assert validate(MiniCrosswords(str(DATA), "all")).proven == 156
    paper = MiniCrosswords(str(DATA))
    assert [problem.meta["idx"] for problem in paper.problems()] == list(range(0, 100, 5))
    assert all(
        paper.letters(p, answer(paper.solution(p))) == 1 == paper.words(p, answer(paper.solution(p)))
        for p in paper.problems()
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"letters": list("ABC")}, "3 letters"),
        ({"letters": list(SQUARE.lower())}, "each from A to Z"),
        ({"clues": ["a"]}, "1 clues"),
        ({"clues": ["a"] * 9 + [""]}, "10 texts"),
        ({"idx": 3}, "none of the paper's games"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"idx": 0, "clues": ["a"] * 10, "letters": list(SQUARE)}
    path.write_text(json.dumps({**row, **change}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=words):
        list(MiniCrosswords(str(path)).problems())


def test_bad_arguments_are_named() -> None:
    with pytest.raises(UserError, match=r"task\.path=null"):
        list(MiniCrosswords().problems())
    with pytest.raises(UserError, match=r"task\.games='some'"):
        MiniCrosswords(games="some")  # type: ignore[arg-type]


def test_hostile_texts_take_no_time() -> None:
    start = time.monotonic()
    for text in ("Output:" * 10**5, "Output:\n" + "A" * 10**6, "Output:" + "\n" * 10**6, "Output:\n" + "_|" * 10**5):
        assert answer(text) is None
    assert time.monotonic() - start < 5
