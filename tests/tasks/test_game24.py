r"""Expressions that make 24 and those that do not; GPT-4's recorded samples with the labels of Tree of Thoughts."""

from __future__ import annotations

import json
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks.game24 import Game24, evaluated, solve, stated, ways
from ponder.tasks.validation import validate
from ponder.types import Problem, Step, Trace

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SAMPLE = Path(__file__).parent / "samples" / "game24.jsonl"
recorded = pytest.mark.skipif(not (DATA / "game24.jsonl").exists(), reason="shared/data is not beside the repository")


def says(problem: Problem, text: str) -> Trace:
    return Trace(problem, (Step(text, why="eos"),))


HAND = Problem("one", "?", {"numbers": [4, 9, 10, 13]})


def right(text: str, problem: Problem = HAND) -> bool:
    task = Game24()
    return task.grade(problem, task.answer(says(problem, text)))


@pytest.mark.parametrize(
    "text",
    [
        "13 - 9 = 4 (left: 4 4 10)\n10 - 4 = 6 (left: 4 6)\n4 * 6 = 24 (left: 24)\nAnswer: (10 - 4) * (13 - 9) = 24",
        "answer: (10-4)*(13-9)",
        "**Answer:** (10 - 4) * (13 - 9) = 24",
        "**Answer: (10 - 4) * (13 - 9) = 24**",
        "Answer: $(10 - 4) \\times (13 - 9) = 24$.",
        "Answer: [10 − 4] × [13 − 9] = 24",  # noqa: RUF001
        r"\boxed{(10 - 4) \cdot \left(13 - 9\right) = 24}",
        "Answer: 1\n\\boxed{(10-4)*(13-9)}",
        r"Answer: -(4 - 10) * \left[13 - 9\right]",
        "<think>Answer: 4 + 9 + 10 + 13 = 24</think>Answer: (10 - 4) * (13 - 9) = 24",
    ],
)
def test_right_expressions(text: str) -> None:
    assert right(text)


@pytest.mark.parametrize(
    "text",
    [
        "(10 - 4) * (13 - 9) = 24",  # not stated
        "Answer: 24",
        "Answer: 4 + 9 + 10 + 13 = 24",
        "Answer: (10 - 4) * (13 - 9) + 9 - 9 = 24",
        "Answer: (10 - 4) * 4 = 24",
        "Answer: 24 = (10 - 4) * (13 - 9)",
        "Answer: (10 - 4)(13 - 9) = 24",
        "Answer: (10 - 4) * (13 - 9 = 24",
        "Answer: (10 - 4) ** (13 - 9)",
        "Answer: 2 * 12, or (10 - 4) * (13 - 9)",
        "Answer: (10 - 4) * (13 - 9) / (10 - 10)",
        "Answer: (10 - 4) * (1 3 - 9) = 24",
        "Answer: (10 - 4) * (13 - 9) = 24\nAnswer: none",
        "<think>Answer: (10 - 4) * (13 - 9) = 24",
        "Answer: __import__('os').system('true')",
        "Answer: " + "(" * 500,
        "Answer: " + "(" * 290 + "1",
        "Answer: " + "-" * 250 + "1",
        "Answer: 9" + "9" * 5000,
        "Answer: \u0661\u0660",
    ],
)
def test_wrong_expressions(text: str) -> None:
    assert not right(text)


def test_values_are_exact() -> None:
    assert evaluated("8/(3-8/3)") == (Fraction(24), (3, 3, 8, 8))
    assert evaluated("8 - 6 / 3 - 2 * 2") == (Fraction(2), (2, 2, 3, 6, 8))
    assert evaluated("1/3+1/3+1/3") == (Fraction(1), (1, 1, 1, 3, 3, 3))
    assert stated(r"Answer: \frac{1}{3} + \dfrac{2 + 3}{4}") == "((1)/(3)) + ((2 + 3)/(4))"
    assert [evaluated(text) for text in ("", "1+", "*1", "1//2", "1 2", "2^3", "1/0", "()", "1)", "1.5")] == [None] * 10


def test_votes_count_an_expression_however_it_is_spaced() -> None:
    task = Game24()
    assert task.answer(says(HAND, "Answer: (10-4) *(13 - 9)")) == "(10-4)*(13-9)"
    assert task.answer(says(HAND, "Answer: (10 - 4) × (13 - 9) = 24")) == "(10-4)*(13-9)"  # noqa: RUF001
    assert task.answer(says(HAND, "Answer: impossible")) is None


def test_the_solver_finds_what_there_is() -> None:
    assert solve([1, 1, 1, 1]) is None
    assert ways((1, 1, 1, 1)) == 0
    for hand in ((3, 3, 8, 8), (1, 5, 5, 5), (4, 5, 6, 10)):
        found = solve(hand)
        assert found is not None
        assert evaluated(found) == (Fraction(24), tuple(sorted(hand)))


def test_drawn_puzzles_have_the_level_that_is_asked() -> None:
    any_ = list(Game24(limit=12).problems())
    assert any_ == list(Game24(limit=20).problems())[:12]
    assert any_ != list(Game24(limit=12, seed=1).problems())
    assert len({tuple(problem.meta["numbers"]) for problem in any_}) == 12
    assert validate(Game24(limit=12)).proven == 12
    hard = list(Game24(limit=5, level=5).problems())
    assert all(problem.meta["ways"] < 5 and problem.meta["level"] == 5 for problem in hard)
    assert all(problem.meta["ways"] >= 34 for problem in Game24(limit=5, level=1).problems())


def test_ranks_are_chosen() -> None:
    assert [problem.id for problem in Game24(str(SAMPLE)).problems()] == ["game24-0901", "game24-0902", "game24-0903"]
    assert [problem.meta["rank"] for problem in Game24(str(SAMPLE), ranks=None, limit=None).problems()][-1] == 1001
    assert [problem.meta["rank"] for problem in Game24(str(SAMPLE), ranks=(1001, 1001)).problems()] == [1001]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"rank": 901, "puzzle": "1 1 1 1", "solved_rate": 0.5}', "1 1 1 1 cannot be made 24"),
        ('{"rank": 901, "puzzle": "1 1 4", "solved_rate": 0.5}', r"rows\.jsonl:1: puzzle='1 1 4'"),
        ('{"rank": 901, "puzzle": "1 1 4 x", "solved_rate": 0.5}', r"rows\.jsonl:1"),
        ('{"rank": 1, "puzzle": "1 1 4 6", "solved_rate": 0.5}', "no rank from 901 to 1000"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=words):
        list(Game24(str(path)).problems())


def test_bad_arguments_are_named() -> None:
    for given in ({"level": 6}, {"ranks": [5, 1]}, {"ranks": [1]}, {"limit": 0}):
        arguments: dict[str, Any] = given
        with pytest.raises(UserError, match=f"task.{next(iter(given))}="):
            Game24(**arguments)


@recorded
@pytest.mark.parametrize(
    ("pool", "samples", "candidates", "unstated"),
    [
        ("game24_gpt4_io_n100", "samples", 5000, 22),
        ("game24_gpt4_cot_n100", "samples", 5000, 0),
        ("game24_gpt4_tot_bfs", "final", 250, 0),
    ],
)
def test_recorded_labels(pool: str, samples: str, candidates: int, unstated: int) -> None:
    """Upstream takes the last line without "Answer:", too: 22 right expressions are not stated; all others agree."""
    task = Game24(str(DATA / "game24.jsonl"))
    problems = {problem.meta["rank"]: problem for problem in task.problems()}
    found: Counter[str] = Counter()
    for line in (DATA / f"{pool}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        problem = problems[row["problem_id"] + 1]
        for sample in row[samples]:
            text = sample["text"]
            ours = task.grade(problem, task.answer(says(problem, text)))
            found["agree" if ours == sample["correct"] else "differ"] += 1
            if ours != sample["correct"]:
                assert not ours
                assert stated(text) is None, "their only reason"
                assert right("Answer: " + text.strip().splitlines()[-1], problem), "and it is right where it is stated"
    assert found == Counter({"agree": candidates - unstated, "differ": unstated})


@recorded
def test_the_paper_s_puzzles_prove_their_solutions() -> None:
    task = Game24(str(DATA / "game24.jsonl"))
    assert validate(task).proven == 100
    assert [problem.meta["rank"] for problem in task.problems()] == list(range(901, 1001))


@recorded
def test_the_file_has_the_hands_that_can_be_solved() -> None:
    lines = (DATA / "game24.jsonl").read_text(encoding="utf-8").splitlines()
    hands = {tuple(sorted(map(int, json.loads(line)["puzzle"].split()))) for line in lines}
    drawn = [tuple(problem.meta["numbers"]) for problem in Game24(limit=100).problems()]
    assert len(hands) == 1362
    assert set(drawn) <= hands


def test_hostile_texts_take_no_time() -> None:
    start = time.monotonic()
    for text in ("Answer: " + "9" * 10**6, "Answer:" * 10**5, "Answer: " + "\\frac{" * 10**5, "\\boxed{" * 10**5):
        assert not right(text)
    assert time.monotonic() - start < 5
