r"""Letters: which statements are read, options that stay with their seed, rows that are none."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from string import ascii_uppercase as LETTERS
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.tasks.choice import Item, MultipleChoice, choice, stated
from ponder.tasks.gpqa import ANSWERS, gpqa
from ponder.tasks.mmlu_pro import mmlu_pro
from ponder.types import Problem, Step, Trace

SAMPLES = Path(__file__).parent / "samples"


def says(problem: Problem, text: str) -> Trace:
    """A solution that ends with this text."""
    return Trace(problem, (Step(text, why="eos"),))


@pytest.mark.parametrize(
    "text",
    [
        "Answer: C",
        "So it is clear.\n\nAnswer: C\n",
        "answer : c",
        "**Answer: C**",
        "**Answer:** C",
        "**Answer: (C)**",
        "Answer: $C$",
        r"Answer: \(C\)",
        r"Answer: $\text{C}$",
        r"Answer: \boxed{C}",
        r"\boxed{C}",
        r"Thus $\boxed{\text{C}}$ is right, and neither A nor B.",
        r"\boxed{(C)}",
        r"\boxed{\text{(C) Canberra}}",
        "Answer: C) Canberra",
        "Answer: (C) A city",
        "Answer: C. Canberra",
        "Final Answer: C",
        "Answer\uff1aC",
        "Answer: A\nNo, wait.\nAnswer: C",
        r"\boxed{A} at first, but then" + "\nAnswer: C",
        r"Answer: A, at first. But then \boxed{C}.",
        "<think>Answer: A</think>Answer: C",
        "thought\nAnswer: A</think>\nAnswer: C",
        "Answer: C\n<think>but what if Answer: B",
    ],
)
def test_a_stated_letter_is_read(text: str) -> None:
    assert stated(text) == "C"


@pytest.mark.parametrize(
    "text",
    [
        "C",
        "(C)",
        "It is C.",
        "The answer is C",
        "Answer:",
        "Answer: ",
        "Answer:\nC",
        "Answer: $LETTER",
        "Answer: Canberra",
        "Answer: C'est Canberra",
        "Answer: A or C",
        "Answer: A/C",
        "Answer: A, C",
        "Answer: (A) or (C)",
        "Answer: A. or C",
        "Answer: a city",
        "Answer: I think C",
        "Answer: 3",
        "Answer: C\nAnswer: none of them",
        "Answer: C\n" + r"\boxed{42}",
        r"\boxed{C",
        r"\boxed{}",
        r"\boxed{A, C}",
        "<think>Answer: C",
        "<think>Answer: C</think>",
        "answers: C",
        "Answer: \u0421",  # a Cyrillic letter
    ],
)
def test_what_is_not_stated_is_no_answer(text: str) -> None:
    assert stated(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "answer" * 200_000,
        "Answer:" * 150_000,
        "Answer: " + "(" * 1_000_000,
        "Answer: " + r"\text{" * 200_000,
        r"\boxed{" * 150_000,
        r"\boxed{" + "{" * 1_000_000,
        "<think>" * 150_000,
        "answer" + " " * 1_000_000,
        "Answer: C" + ")" * 1_000_000 + "x",
    ],
    ids=range(9),
)
def test_long_texts_are_read_quickly(text: str) -> None:
    begun = time.perf_counter()
    stated(text)
    assert time.perf_counter() - begun < 2.0


@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_any_text_has_a_letter_or_none(text: str) -> None:
    for said in (text, f"Answer: {text}", rf"\boxed{{{text}"):
        found = stated(said)
        assert found is None or found in LETTERS


def test_a_letter_beyond_the_options_is_no_answer() -> None:
    task = choice(str(SAMPLES / "choice.jsonl"))
    problems = {problem.id: problem for problem in task.problems()}
    for id_, last in [("choice-capital-1", "C"), ("choice-prime-1", "E"), ("choice-vrai-1", "B")]:
        problem = problems[id_]
        beyond = chr(ord(last) + 1)
        assert task.answer(says(problem, f"Answer: {last}")) == last
        assert task.answer(says(problem, f"Answer: {beyond}")) is None
        assert not task.grade(problem, beyond)
        assert f"one of {LETTERS[: LETTERS.index(last) + 1]}." in problem.prompt


def test_the_prompt_is_that_of_simple_evals() -> None:
    (problem, *_) = choice(str(SAMPLES / "choice.jsonl"), shuffle=False).problems()
    assert problem == Problem(
        "choice-capital-1",
        "Answer the following multiple choice question. The last line of your response should be of the following "
        "format: 'Answer: $LETTER' (without quotes) where LETTER is one of ABC. Think step by step before "
        "answering.\n\n"
        "What is the capital of Australia?\n\nA) Sydney\nB) Canberra\nC) Perth",
    )
    assert problem.meta == {"category": "geography"}


def test_letter_and_place_name_the_same_option() -> None:
    task = choice(str(SAMPLES / "choice.jsonl"), shuffle=False)
    assert [item.options[item.right] for item in task.items] == ["Canberra", "37", "oui"]
    problems = task.problems()
    assert [[task.grade(p, letter) for letter in "ABCDE"].index(True) for p in problems] == [1, 3, 0]


def items(count: int, options: int = 4) -> list[Item]:
    """Questions whose first option is right."""
    return [Item(f"q-{i}", f"question {i}", tuple(f"{i}.{k}" for k in range(options)), 0) for i in range(count)]


def test_options_are_shuffled_by_seed_and_id_alone() -> None:
    one = Item("capital", "?", ("a", "b", "c", "d", "e"), 2)
    assert one.shuffled(0) == one.shuffled(0)
    assert one.shuffled(1).options == tuple("debca")  # as recorded: the same on every machine
    assert one.shuffled(1).options[one.shuffled(1).right] == "c"
    assert len({one.shuffled(seed).options for seed in range(50)}) > 30
    first = {item.id: item.shuffled(3) for item in items(20)}
    again = {item.id: item.shuffled(3) for item in reversed(items(50))}
    assert all(again[id_] == item for id_, item in first.items())


def test_shuffles_are_uniform() -> None:
    """Each of 24 orders about as often: chi-square with 23 degrees of freedom, 49.7 at p = 0.001."""
    orders = Counter(tuple(o[-1] for o in item.shuffled(0).options) for item in items(4800))
    assert len(orders) == 24
    assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 49.7
    right = Counter(item.shuffled(0).right for item in items(4800))
    assert sum((right[place] - 1200) ** 2 / 1200 for place in range(4)) < 16.3  # 3 degrees of freedom


def test_votes_of_a_problem_name_the_same_option() -> None:
    """The prompt's letters are those that are graded: the same in each call and for each limit."""
    path = str(SAMPLES / "gpqa.jsonl")
    for seed in range(5):
        task, few = gpqa(path, seed=seed), gpqa(path, limit=1, seed=seed)
        assert few.problems() == task.problems()[:1]
        for problem, item in zip(task.problems(), task.items, strict=True):
            (right,) = [letter for letter in "ABCD" if task.grade(problem, letter)]
            assert f"\n{right}) {item.options[item.right]}" in problem.prompt + "\n"


def test_gpqa_rows() -> None:
    task = gpqa(str(SAMPLES / "gpqa.jsonl"))
    assert [problem.id for problem in task.problems()] == [f"gpqa_diamond-recMade{i}" for i in (1, 2, 3)]
    assert task.problems()[0].meta == {"category": "Physics", "subject": "Mechanics"}
    assert {item.options[item.right] for item in task.items} == {"20 m", "CO2", "23"}
    assert len({item.right for item in gpqa(str(SAMPLES / "gpqa.jsonl"), seed=1).items}) > 1
    assert [item.right for item in gpqa(str(SAMPLES / "gpqa.jsonl"), shuffle=False).items] == [0, 0, 0]


def test_mmlu_pro_rows() -> None:
    task = mmlu_pro(str(SAMPLES / "mmlu_pro.jsonl"))
    assert [item.letters[item.right] for item in task.items] == ["F", "B", "C"]  # N/A is left out
    assert task.problems()[1].prompt.endswith("A) A queue\nB) A stack\nC) A heap")
    assert "one of ABCDEFGHIJ." in task.problems()[0].prompt
    assert [problem.meta["category"] for problem in task.problems()] == ["business", "computer science", "math"]
    shuffled = mmlu_pro(str(SAMPLES / "mmlu_pro.jsonl"), shuffle=True, seed=2)
    assert [item.options[item.right] for item in shuffled.items] == ["60", "A stack", "3x^2"]
    assert [item.right for item in shuffled.items] != [5, 1, 2]


GOOD: dict[str, Any] = {"question": "1 + 1?", "options": ["1", "2"], "answer": "B"}
PRO: dict[str, Any] = {**GOOD, "answer_index": 1, "category": "math"}
GPQA: dict[str, Any] = {"Question": "1 + 1?", **dict(zip(ANSWERS, "2134", strict=True))}


@pytest.mark.parametrize(
    ("task", "good", "change", "message"),
    [
        (choice, GOOD, {"answer": "C"}, "answer='C' is no option: they are A to B, or 0 to 1"),
        (choice, GOOD, {"answer": 2}, "answer=2 is no option"),
        (choice, GOOD, {"answer": -1}, "answer=-1 is no option"),
        (choice, GOOD, {"answer": True}, "answer=True is a bool"),
        (choice, GOOD, {"answer": "AB"}, "answer='AB' is no option"),
        (choice, GOOD, {"answer": "2"}, "answer='2' is no option"),
        (choice, GOOD, {"answer": ""}, "answer is empty"),
        (choice, GOOD, {"options": ["2", " 2"]}, "has one twice"),
        (choice, GOOD, {"options": ["1"]}, "1 options: allowed are 2 to 26"),
        (choice, GOOD, {"options": [str(i) for i in range(27)]}, "27 options"),
        (choice, GOOD, {"options": ["1", ""]}, "empty or no text"),
        (choice, GOOD, {"options": ["1", 2]}, "empty or no text"),
        (choice, GOOD, {"options": "12"}, "options='12' is a str"),
        (choice, GOOD, {"question": None}, "question=None is a NoneType"),
        (choice, {**GOOD, "id": "a"}, {}, "the id 'choice-a' is there twice"),
        (mmlu_pro, PRO, {"answer_index": 0}, "answer='B' and answer_index=0 disagree"),
        (mmlu_pro, PRO, {"answer_index": "1"}, "answer_index='1' is a str"),
        (mmlu_pro, {**PRO, "question_id": 7}, {}, "the id 'mmlu_pro-7' is there twice"),
        (gpqa, GPQA, {"Correct Answer": " "}, "Correct Answer is empty"),
        (gpqa, {**GPQA, "Record ID": "r"}, {}, "the id 'gpqa_diamond-r' is there twice"),
    ],
)
def test_a_bad_row_is_named_by_its_line(
    task: Any, good: dict[str, Any], change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [good, {**good, **change}])) + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        task(str(path))
    assert message in str(caught.value)
    assert f"task.path: {path}:2: " in str(caught.value)
    path.write_text(json.dumps(good) + "\n", encoding="utf-8")
    assert len(task(str(path)).problems()) == 1


def test_a_benchmark_keeps_its_double_options(tmp_path: Path) -> None:
    """Published rows are as they are: the letter of the row alone is right."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**PRO, "options": ["2", "2"]}), encoding="utf-8")
    task = mmlu_pro(str(path))
    assert [task.grade(task.problems()[0], letter) for letter in "AB"] == [False, True]


def test_without_a_path_a_file_of_yours_is_asked_for() -> None:
    with pytest.raises(UserError, match="no home on the hub"):
        choice()
    with pytest.raises(UserError, match=r"task\.limit=0"):
        choice(str(SAMPLES / "choice.jsonl"), limit=0)


def test_a_question_unknown_to_the_task_may_have_any_letter() -> None:
    """A strategy's own question about a problem has an id of its own."""
    task = MultipleChoice(items(1))
    assert task.answer(says(Problem("q-0/compare", "?"), "Answer: Z")) == "Z"
