from __future__ import annotations

import json
from pathlib import Path

import pytest

from ponder.errors import UserError
from ponder.tasks.gsm8k import GSM8K
from ponder.types import Problem, Step, Trace

SHARED = Path(__file__).parents[3] / "shared" / "data" / "gsm8k_test.jsonl"


def says(text: str) -> Trace:
    return Trace(Problem("p", "?"), (Step(text, why="eos"),))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So \\boxed{1,000}.", "1000"),
        ("so it is \\boxed{\\$18.50}", "18.5"),
        ("first \\boxed{3}, no, \\boxed{4}", "4"),
        ("The answer is: **72**", "72"),
        ("9 eggs\n#### 18", "18"),
        ("\\boxed{-7}", "-7"),
        ("\\boxed{12 apples}", "12"),
        ("She has 5 apples and 7 pears.", None),
        ("", None),
        ("\\boxed{}", None),
        ("\\boxed{\\boxed{", None),
    ],
)
def test_only_a_stated_number_is_an_answer(text: str, answer: str | None) -> None:
    assert GSM8K().answer(says(text)) == answer


def test_every_gold_answer_grades_itself() -> None:
    if not SHARED.exists():
        pytest.skip("the benchmark files are not beside this checkout")
    task = GSM8K(path=str(SHARED))
    problems = list(task.problems())
    golds = [json.loads(line)["final_answer"] for line in SHARED.read_text().splitlines()]
    assert len(problems) == 1319
    assert all(task.grade(p, task.answer(says(f"\\boxed{{{g}}}"))) for p, g in zip(problems, golds, strict=True))
    assert not any(task.grade(p, str(int(float(g)) + 1)) for p, g in zip(problems, golds, strict=True))


def test_bad_files_are_named_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task\.path=.*no file"):
        list(GSM8K(path=str(tmp_path / "none.jsonl")).problems())
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"question": "1+1?", "answer": "#### 2"}\n{"question": "2+2?"}\n')
    with pytest.raises(UserError, match=r"bad\.jsonl:2"):
        list(GSM8K(path=str(bad)).problems())
