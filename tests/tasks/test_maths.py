r"""Mathematics with free answers: what is read of a solution, what equals the gold answer, each benchmark's rows."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from ponder.errors import UserError
from ponder.samplers.chat import ChatFormat
from ponder.tasks import equivalence
from ponder.tasks.aime import aime2024, aime2025
from ponder.tasks.amc23 import amc23
from ponder.tasks.math500 import math500
from ponder.tasks.maths import Item, Maths
from ponder.tasks.minerva import minerva
from ponder.tasks.numbers import number
from ponder.tasks.validation import validate
from ponder.types import Problem, Step, Trace

SHARED = Path(__file__).parents[3] / "shared" / "data"
SAMPLES = Path(__file__).parent / "samples"

pytestmark = pytest.mark.filterwarnings("default")  # of sympy and math-verify


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """Workers that read answers end with this file."""
    yield
    equivalence.close()


def real(name: str) -> str:
    """A benchmark's file."""
    if not (SHARED / name).exists():
        pytest.skip(f"shared/data/{name} is not beside the repository")
    return str(SHARED / name)


def one(gold: str, **options: Any) -> Maths:
    """A task of one problem."""
    return Maths((Item("p", "?", gold),), **options)


def graded(task: Any, text: str) -> bool:
    """Whether a solution of the first problem is right."""
    problem = next(iter(task.problems()))
    return bool(task.grade(problem, task.answer(Trace(problem, (Step(text, why="eos"),)))))


def written(path: Path, *rows: Any) -> str:
    """A file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        (r"\frac{5}{6}", r"So it is $\boxed{\frac{5}{6}}$.", True),
        (r"\frac{5}{6}", r"\boxed{5/6}", True),
        (r"\frac{5}{6}", r"\boxed{\frac{10}{12}}", True),
        (r"\frac{5}{6}", r"First \boxed{1}, no, \boxed{\dfrac56}", True),
        (r"\frac{5}{6}", r"<think>\boxed{5/6}</think> It is \boxed{1}.", False),
        (r"\frac{5}{6}", r"<think>\boxed{1}</think> It is \boxed{5/6}.", True),
        (r"\frac{5}{6}", r"<think>\boxed{5/6}", False),
        (r"\frac{5}{6}", r"\boxed{6/5}", False),
        (r"\frac{5}{6}", r"\boxed{0.833333}", True),
        (r"\frac{5}{6}", r"\boxed{0.8333}", False),
        (r"\frac{5}{6}", "The answer is 5/6.", False),
        (r"\frac{5}{6}", r"\boxed{5/6 or 6/5}", False),
        ("50", r"\boxed{0.5}", False),
        ("50", r"\boxed{50\%}", True),
        ("[-3,3]", r"\boxed{[-3, 3]}", True),
        ("[-3,3]", r"\boxed{(-3,3)}", False),
        (r"\text{Evelyn}", r"\boxed{Evelyn}", True),
        ("11\\sqrt2", r"\boxed{11\sqrt{2}}", True),
        ("11\\sqrt2", r"\boxed{15.556349}", True),
        ("11\\sqrt2", r"\boxed{15.556}", False),
        ("1,000", r"\boxed{1000}", True),
        ("x^2+2x+1", r"\boxed{(x+1)^2}", True),
        ("x^2+2x+1", r"\boxed{(x-1)^2}", False),
    ],
)
def test_an_answer_is_right_if_it_is_in_the_box_and_equal(gold: str, text: str, right: bool) -> None:
    assert graded(one(gold), text) is right


def test_what_is_looser_is_an_option() -> None:
    said, last, tenth = "The answer is 12.", "12 and then 5, so we get 12", r"\boxed{0.12}"
    assert [graded(one("12"), text) for text in (said, last, tenth)] == [False] * 3
    assert [graded(one("12", stated=True), text) for text in (said, last, tenth)] == [True, False, False]
    assert [graded(one("12", last_number=True), text) for text in (said, last, tenth)] == [True, True, False]
    assert [graded(one("12", percent=True), text) for text in (said, last, tenth)] == [False, False, True]
    assert graded(one("12", percent=True), r"\boxed{1200}")
    assert not graded(one("12", percent=True), r"\boxed{120}")
    assert not graded(one("12", stated=True), r"The answer is 12, no: \boxed{13}")


def test_votes_group_by_the_answer() -> None:
    task = one("1")
    (problem,) = task.problems()

    def answers(*boxes: str) -> set[str | None]:
        return {task.answer(Trace(problem, (Step(rf"\boxed{{{box}}}", why="eos"),))) for box in boxes}

    assert answers("1/2", "0.5", r"\frac{1}{2}", r"\dfrac12", "0.50", r"$\frac{2}{4}$") == {r"\frac{1}{2}"}
    assert len(answers("0.333333", "1/3", "0.3333330")) == 2, "what is rounded is a vote of its own"
    assert answers("", "  ") == {None}


HOSTILE = [
    "\\boxed{" * 20_000,
    "\\boxed{" + "{" * 50_000,
    "\\boxed{" + "9" * 200_000 + "}",
    "\\boxed{9^{9^{9^{9}}}}",
    "\\boxed{\udcff\ud800}",
    "answer is " * 50_000,
    "<think>" * 50_000,
    "\\boxed{" + "\\frac{1}{" * 300 + "}" * 300 + "}",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20].encode("ascii", "replace").decode())
def test_hostile_solutions_are_wrong_and_soon_done(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equivalence, "LIMIT", 0.5)
    begin = time.monotonic()
    assert not graded(one("7", stated=True, last_number=True, tolerance=1e-4), text)
    assert time.monotonic() - begin < 30  # of which a busy machine takes most to start workers


def test_a_solution_of_the_data_set_is_taken_if_it_is_read_and_right() -> None:
    own = r"By symmetry $\boxed{3}$."
    for solution, given in [(own, own), (r"It is $\boxed{4}$.", r"\boxed{3}"), ("It is 3.", r"\boxed{3}")]:
        task = Maths((Item("p", "?", "3", solution=solution),))
        assert task.solution(next(task.problems())) == given
        assert validate(task).proven == 1


# The benchmarks.


def test_math500_on_all_its_rows() -> None:
    task = math500(real("math500.jsonl"))
    problems = list(task.problems())
    assert validate(task).proven == len(problems) == 500
    assert problems[0].id == "math500-precalculus-807"
    assert problems[0].meta == {"subject": "Precalculus", "level": 2}
    assert Counter(problem.meta["level"] for problem in problems) == {1: 43, 2: 90, 3: 105, 4: 128, 5: 134}
    rows = [json.loads(line) for line in (SHARED / "math500.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [problem.prompt for problem in problems] == [row["problem"] for row in rows]
    assert [task.solution(problem) for problem in problems] == [row["solution"] for row in rows], "none is misread"
    # Each problem's answer is wrong for the one before it, unless both are the same.
    golds = [row["answer"] for row in rows]
    same = [
        (gold, other)
        for problem, gold, other in zip(problems, golds, golds[1:] + golds[:1], strict=True)
        if task.grade(problem, equivalence.key(other))
    ]
    assert same == [("5", "x=5"), ("7", "7"), ("3", "3")]


@pytest.mark.parametrize(
    ("task", "name", "rows", "own"), [(aime2024, "aime2024.jsonl", 30, 29), (amc23, "amc23.jsonl", 40, 0)]
)
def test_contests_on_all_their_rows(task: Callable[..., Maths], name: str, rows: int, own: int) -> None:
    made = task(real(name))
    problems = list(made.problems())
    assert validate(made).proven == len(problems) == rows
    assert sum(not made.solution(problem).startswith(r"\boxed") for problem in problems) == own
    golds = [item.gold for item in made.items]
    assert not any(
        made.grade(problem, str(int(gold) + 1)) or made.grade(problem, f"{gold}.5")
        for problem, gold in zip(problems, golds, strict=True)
    )


def test_an_integer_of_aime_may_have_zeros_before_it(tmp_path: Path) -> None:
    row = {"id": 0, "problem": "?", "answer": "073", "year": "2025"}
    task = aime2025(written(tmp_path / "rows.jsonl", row))
    for box in ("73", "073", "73.0", r"\frac{146}{2}", r"73^\circ"):
        assert graded(task, rf"\boxed{{{box}}}"), box
    for box in ("730", "0.73", "7.3", "m+n", "73 or 74"):
        assert not graded(task, rf"\boxed{{{box}}}"), box
    for answer in ("1000", "-1", "7.5", "seven", "\u0667", 1000):
        with pytest.raises(UserError, match=r"rows\.jsonl:1: answer=.* is no integer from 0 to 999"):
            aime2024(written(tmp_path / "rows.jsonl", {**row, "answer": answer}))


@pytest.mark.parametrize(
    ("gold", "box", "right"),
    [
        ("4.5e33", r"4.5 \times 10^{33}", True),
        ("4.5e33", "4.5e33", True),
        ("4.5e33", "4.5E+33", True),
        ("4.5e33", r"4.5 \times 10^{32}", False),
        ("4.5e33", "4.5", False),
        ("2.19e6", "2190000", True),
        ("2.19e6", r"2.19 \times 10^6 \text{ m}", True),
        ("1.6e-19", r"1.6\times10^{-19}", True),
        ("1.6e-19", "0", False),
        ("1.6e-19", "1.7e-19", False),
        ("9.81", "9.8105", True),
        ("9.81", "9.82", False),
        ("-2", "2", False),
        (r"\sqrt{2 g h}", r"v=\sqrt{2gh}", True),
        (r"\sqrt{2 g h}", r"\sqrt{gh}", False),
        (r"\arcsin{(1.3 \sin \theta)}", r"\arcsin(1.3\sin\theta)", True),
    ],
)
def test_minerva_reads_powers_of_ten_and_allows_a_tolerance(tmp_path: Path, gold: str, box: str, right: bool) -> None:
    path = written(tmp_path / "rows.jsonl", {"question": "?", "answer": gold})
    assert graded(minerva(path), rf"\boxed{{{box}}}") is right


def test_minerva_has_its_tolerance_as_an_option(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", {"question": "?", "answer": "100"})
    assert [graded(minerva(path), rf"\boxed{{{box}}}") for box in ("100.01", "100.02", "99.99")] == [True, False, True]
    assert graded(minerva(path, tolerance=0.01), r"\boxed{101}")
    assert not graded(minerva(path, tolerance=0), r"\boxed{100.005}")
    for tolerance in (-0.1, 0.2, True, float("nan")):
        with pytest.raises(UserError, match=r"task\.tolerance="):
            minerva(path, tolerance=tolerance)
    rows = [{"problem": "?", "solution": r"It is $\boxed{4.5e33}$.", "type": "Astronomy"}, {"question": "?"}]
    (problem,) = minerva(written(tmp_path / "old.jsonl", rows[0])).problems()
    assert problem.meta == {"course": "Astronomy"}
    with pytest.raises(UserError, match=r"old\.jsonl:2: neither an answer nor a solution"):
        minerva(written(tmp_path / "old.jsonl", *rows))


@pytest.mark.parametrize(
    ("task", "hub", "split", "row"),
    [
        (math500, "HuggingFaceH4/MATH-500", "test", {"unique_id": "test/algebra/1.json", "subject": "A", "level": 1}),
        (aime2024, "HuggingFaceH4/aime_2024", "train", {"id": 60, "url": "u", "year": "2024", "solution": ""}),
        (aime2025, "yentinglin/aime_2025", "train", {"id": 0, "url": "u", "year": "2025"}),
        (amc23, "math-ai/amc23", "test", {"id": 0, "url": "https://x/2023_AMC_12B_Problems/Problem_1"}),
        (minerva, "math-ai/minervamath", "test", {}),
    ],
)
def test_rows_of_the_hub_and_of_files_are_read_alike(
    task: Callable[..., Maths],
    hub: str,
    split: str,
    row: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    given = [{**row, name: "?", "answer": "27"} for name in ("problem", "question")]
    datasets, asked = ModuleType("datasets"), []

    def load_dataset(name: str, split: str) -> list[dict[str, Any]]:
        asked.append((name, split))
        return given[:1] if task is math500 else given[1:]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    made, local = task(), task(written(tmp_path / "rows.jsonl", given[0]))
    assert asked == [(hub, split)]
    assert list(made.problems()) == list(local.problems())
    assert validate(made) == validate(local)
    if "AMC_12B" in str(row):
        assert next(made.problems()).meta == {"contest": "12B"}


@pytest.mark.parametrize("task", [math500, aime2024, aime2025, amc23, minerva], ids=lambda task: task.__name__)
def test_bad_rows_are_named_with_their_line(task: Callable[..., Maths], tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (SAMPLES / f"{task.__name__}.jsonl").read_text(encoding="utf-8").splitlines()]
    path = tmp_path / "rows.jsonl"
    for drop in (("problem", "question"), ("answer", "solution")):
        bad = {name: value for name, value in rows[1].items() if name not in drop}
        with pytest.raises(UserError, match=r"task\.path: .*rows\.jsonl:2: "):
            task(written(path, rows[0], bad))
    for name in ("problem", "question"):
        with pytest.raises(UserError, match=r"rows\.jsonl:2: "):
            task(written(path, rows[0], {**rows[1], "problem": " ", name: 5}))
    with pytest.raises(UserError, match=r"rows\.jsonl:1: its answer '  ?' is none|answer=|answer is empty"):
        task(written(path, {**rows[0], "answer": "  "}))
    if task is not minerva:
        with pytest.raises(UserError, match=r"rows\.jsonl:3: (unique_)?id .* is that of line 1, too"):
            task(written(path, rows[0], rows[1], rows[0]))
    with pytest.raises(UserError, match=r"task\.limit=0"):
        task(written(path, *rows), limit=0)


# Prompts.

QWEN = r"Please reason step by step, and put your final answer within \boxed{}."
LLAMA = r"""Solve the following math problem efficiently and clearly:

- For simple problems (2 steps or fewer):
Provide a concise solution with minimal explanation.

- For complex problems (3 steps or more):
Use this step-by-step format:

## Step 1: [Concise description]
[Brief explanation and calculations]

## Step 2: [Concise description]
[Brief explanation and calculations]

...

Regardless of the approach, always conclude with:

Therefore, the final answer is: $\boxed{answer}$. I hope it is correct.

Where [answer] is just the final number or expression that solves the problem."""


class Tokenizer:
    """Shows what reaches a chat template."""

    chat_template = "any"
    name_or_path = "any"

    def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        return json.dumps(messages)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(one) for one in text]


def reaches_the_chat(*given: str) -> list[dict[str, str]]:
    """The messages of a question "Is $1<2$ in {1, 2}?" under a command."""
    GlobalHydra.instance().clear()
    with initialize_config_module("ponder.conf", version_base="1.3", job_name="test"):
        config = compose("run", ["verifier=constant", "model=local", "model.path=x", *given])
    chat = ChatFormat(system=config.sampler.system, template=config.sampler.template)
    ids = chat.ids(Tokenizer(), Problem("p", "Is $1<2$ in {1, 2}?"))
    return json.loads("".join(map(chr, ids)))  # type: ignore[no-any-return]


MATHS = ("math500", "aime2024", "aime2025", "amc23", "minerva", "mgsm", "gsm8k")


def test_the_recipes_reach_the_chat_letter_by_letter() -> None:
    question = {"role": "user", "content": "Is $1<2$ in {1, 2}?"}
    for task in MATHS:
        assert reaches_the_chat(f"task={task}") == [{"role": "system", "content": QWEN}, question], task
    assert reaches_the_chat("task=math500", "prompt=llama_math") == [{"role": "system", "content": LLAMA}, question]
    assert reaches_the_chat("task=math500", "prompt=none") == [question]
    assert reaches_the_chat("task=arithmetic") == [question], "a recipe is a maths task's"
    assert reaches_the_chat("task=arithmetic", "prompt=qwen_math")[0]["content"] == QWEN
    assert reaches_the_chat("task=gsm8k", "model.system=Be brief.")[0]["content"] == "Be brief."


def test_smollm2_is_asked_in_the_users_message() -> None:
    messages = reaches_the_chat("experiment=smollm2_gsm8k", "model=smollm2")
    assert [message["role"] for message in messages] == ["user"]
    assert messages[0]["content"].startswith("Solve the problem step by step")


# Numbers with units.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", "18"),
        ("$1,000.50 a day", "1000.50"),
        (r"\$18", "18"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("\u22125", "-5"),
        (r"18\text{ dollars}", "18"),
        (r"\textbf{18}", "18"),
        (r"1{,}000 \text{ km/h}", "1000"),
        (r"12\,000", "12000"),
        ("18\u202f000\u00a0kg", "18000"),
        ("18\\%", "18"),
        ("1,00,000", "100000"),
        ("\uff11\uff18\u518a", "18"),
        ("\u09e7\u09ee", "18"),
        ("\u0e51\u0e58", "18"),
        ("\u0c67\u0c6e", "18"),
        (".5", "0.5"),
        ("10 or 12", None),
        ("3 + 4", None),
        ("2x", None),
        ("18-x", None),
        ("7/14", None),
        ("7:30", None),
        ("10 12", None),
        ("12,34", None),
        ("5 million", None),
        ("5k", None),
        ("8\u4e07", None),
        ("--5", None),
        ("eighteen", None),
        ("x = 18", None),
        ("", None),
        ("1" * 400, None),
        ("1 " * 100_000, None),
    ],
)
def test_a_number_is_read_with_its_unit_or_not_at_all(text: str, value: str | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.234", "1234"),
        ("1,234", "1234"),
        ("1.234,5", "1234.5"),
        ("1,234.5", "1234.5"),
        ("1.234.567", "1234567"),
        ("1 234,5", "1234.5"),
        ("12,5", "12.5"),
        ("12.5", "12.5"),
        ("0,500", "0.500"),
        ("12.345.67", None),
    ],
)
def test_a_comma_before_the_decimals(text: str, value: str | None) -> None:
    assert number(text, comma=True) == value
