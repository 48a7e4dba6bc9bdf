"""GSM8K: a stated number with its unit, and 2,640 recorded solutions with the labels that came with them."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks import equivalence
from ponder.tasks.gsm8k import GSM8K
from ponder.tasks.validation import Validated, validate
from ponder.types import Problem, Step, Trace

DATA = Path(__file__).parents[3] / "shared" / "data"
ROWS, RECORDED = DATA / "gsm8k_test.jsonl", DATA / "gsm8k_gpt3_solutions.jsonl.gz"
REAL = pytest.mark.skipif(not RECORDED.exists(), reason="shared/data is not beside the repository")
SAMPLE = str(Path(__file__).parent / "samples" / "gsm8k.jsonl")

pytestmark = pytest.mark.filterwarnings("default")  # of sympy and math-verify


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """Workers that read answers end with this file."""
    yield
    equivalence.close()


def says(text: str) -> Trace:
    return Trace(Problem("p", "?"), (Step(text, why="eos"),))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So \\boxed{1,000}.", "1000"),
        ("so it is \\boxed{\\$18.50}", r"\frac{37}{2}"),
        ("first \\boxed{3}, no, \\boxed{4}", "4"),
        ("The answer is: **72**", "72"),
        ("The answer is $18 per day.", "18"),
        ("The answer is 18 dollars.", "18"),
        ("So the final answer is $18$.", "18"),
        ("9 eggs\n#### 18", "18"),
        ("9 eggs\n#### -1,800", "-1800"),
        ("She has 9 eggs.\nA: 20", "20"),
        ("\\boxed{-7}", "-7"),
        ("\\boxed{12 apples}", "12"),
        ("\\boxed{12\\text{ apples}}", "12"),
        ("\\boxed{\\frac{36}{2}}", "18"),
        ("#### 5\n\\boxed{6}", "6"),
        ("<think>#### 5</think> The answer is 6", "6"),
        ("<think>#### 5", None),
        ("She has 5 apples and 7 pears.", None),
        ("", None),
        ("\\boxed{}", None),
        ("\\boxed{\\boxed{", None),
    ],
)
def test_only_a_stated_number_is_an_answer(text: str, answer: str | None) -> None:
    assert GSM8K(SAMPLE).answer(says(text)) == answer


@pytest.mark.parametrize(
    "text",
    ["#### 2 or 3", "#### 2 + 3", "#### 2x", "#### 0.02", "#### 200", "#### -2", "\\boxed{2 million}", "A: 2/3", "2"],
)
def test_near_misses_are_wrong(text: str) -> None:
    task = GSM8K(SAMPLE)
    problem = next(iter(task.problems()))
    assert task.grade(problem, task.answer(says("#### 2 apples")))
    assert not task.grade(problem, task.answer(says(text)))


def test_what_is_looser_is_an_option() -> None:
    problem = next(iter(GSM8K(SAMPLE).problems()))
    assert GSM8K(SAMPLE, stated=False).answer(says("#### 2")) is None
    assert GSM8K(SAMPLE, last_number=True).answer(says("2 and then 3,000 in all")) == "3000"
    hundred = GSM8K(SAMPLE, percent=True)
    assert hundred.grade(problem, hundred.answer(says("#### 200")))
    assert validate(GSM8K(SAMPLE, stated=False)) == Validated(3, 3, 0)


@REAL
def test_every_gold_answer_grades_itself() -> None:
    task = GSM8K(str(ROWS))
    problems = list(task.problems())
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    assert validate(task) == Validated(1319, 1319, 0)
    assert [problem.id for problem in problems] == [f"gsm8k-test-{i:05d}" for i in range(1319)]
    assert [task.solution(problem) for problem in problems] == [row["answer"] for row in rows], "none is misread"
    assert all(task.grade(p, row["final_answer"]) for p, row in zip(problems, rows, strict=True))
    assert not any(task.grade(p, str(int(row["final_answer"]) + 1)) for p, row in zip(problems, rows, strict=True))


DISAGREEMENTS: dict[tuple[int, str], str] = {}
"""Recorded solutions that we grade otherwise, by problem and system, each with its reason. There are none."""


@REAL
def test_recorded_solutions_are_graded_as_recorded() -> None:
    """Solutions of four systems to 660 questions, which end in "A: 20"; the labels are OpenAI's."""
    task = GSM8K(str(ROWS))
    problems = list(task.problems())
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    grades, unread, otherwise = list[bool](), list[str](), set[tuple[int, str]]()
    for row in rows:
        problem = problems[row["problem_id"]]
        assert problem.prompt == row["question"]
        for sample in row["samples"]:
            answer = task.answer(Trace(problem, (Step(sample["text"], why="eos"),)))
            grades.append(task.grade(problem, answer))
            unread += [sample["text"]] if answer is None else []
            if grades[-1] != sample["correct"]:
                otherwise.add((row["problem_id"], sample["model"]))
    assert (len(grades), sum(grades)) == (2640, 956)
    assert otherwise == set(DISAGREEMENTS)
    # What states nothing was cut off, or names a number alone: none of it is labelled right.
    assert len(unread) == 6
    assert not any("A:" in text for text in unread)
    # Without the option that reads statements, nothing is read: no box is there.
    strict = GSM8K(str(ROWS), stated=False)
    assert not any(strict.answer(says(sample["text"])) for row in rows for sample in row["samples"])


def test_rows_of_the_hub_are_read_as_those_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets, asked = ModuleType("datasets"), []

    def load_dataset(name: str, config: str, split: str) -> list[dict[str, Any]]:
        asked.append((name, config, split))
        return [{"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    (problem,) = GSM8K(split="train").problems()
    assert (problem.id, problem.prompt, asked) == ("gsm8k-train-00000", "1 + 1?", [("openai/gsm8k", "main", "train")])


def test_bad_files_are_named_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task\.path=.*no file"):
        GSM8K(path=str(tmp_path / "none.jsonl"))
    bad = tmp_path / "bad.jsonl"
    for line in ('{"question": "2+2?"}', '{"question": "2+2?", "answer": "It is four."}', '{"answer": "#### 2"}'):
        bad.write_text('{"question": "1+1?", "answer": "#### 2"}\n' + line + "\n")
        with pytest.raises(UserError, match=r"bad\.jsonl:2"):
            GSM8K(path=str(bad))
