"""Data sets of reasoning-gym: drawn alike each time, scored within limits, nothing evaluated outside the sandbox."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks import reasoning_gym as module
from ponder.tasks.reasoning_gym import EVALUATES, FORMS, INSTRUCTIONS, REFUSED, ReasoningGym
from ponder.tasks.validation import validate
from ponder.types import Problem, Step, Trace
from ponder.verifiers.execution import Sandbox

library = pytest.importorskip("reasoning_gym", reason="the extra `puzzles` is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # of the library

ROOT = Path(__file__).parents[2]
NAMES = sorted(set(library.factory.DATASETS) - set(REFUSED))
WITHOUT_GOLD = {"boxnet", "rush_hour"}
"""The library has no right answer to show for these."""


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return Sandbox(packages=True)
    except UserError as error:
        pytest.skip(str(error))


def says(text: str) -> Trace:
    return Trace(Problem("p", "?"), (Step(text, why="eos"),))


TEXTS = [
    "<answer>5</answer>",
    "<answer>\n 5 \n</answer> or <answer>6</answer>",
    "<answer>a <answer>b</answer>",
    "<answer>a</answer> b</answer>",
    "<answer>a</answer><answer>b",
    "</answer><answer>b",
    "<answer>a\n\nb</answer>",
    "\\boxed{5}",
    "5",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_answer_is_what_the_library_would_extract(text: str) -> None:
    assert ReasoningGym().answer(says(text)) == library.utils.extract_answer(text)


def test_thoughts_and_empty_tags_hold_no_answer() -> None:
    task = ReasoningGym()
    texts = ["<think><answer>5</answer>", "<think><answer>5</answer></think>", "<answer> </answer>"]
    assert [task.answer(says(text)) for text in texts] == [None] * 3
    start = time.monotonic()
    assert task.answer(says("<answer>" * 10**5)) is None
    assert task.answer(says("</answer>" * 10**5)) is None
    assert time.monotonic() - start < 3


def test_the_prompt_is_the_library_s() -> None:
    assert library.utils.SYSTEM_PROMPTS["default"] == INSTRUCTIONS
    task = ReasoningGym("leg_counting", limit=1)
    (problem,) = task.problems()
    entry = library.create_dataset("leg_counting", seed=0, size=2000)[0]
    assert problem.prompt == f"{INSTRUCTIONS}\n{entry['question']}"
    assert task.solution(problem) == f"<answer>{entry['answer']}</answer>"
    assert problem.meta["name"] == "leg_counting"
    assert problem.meta["category"] == "arithmetic"


def test_partial_credit_is_right_from_the_threshold() -> None:
    strict, lenient = ReasoningGym("basic_arithmetic", limit=1), ReasoningGym("basic_arithmetic", 1, threshold=0.5)
    (problem,) = strict.problems()
    gold = strict.answer(says(str(strict.solution(problem))))
    assert gold == "106475279601"
    assert strict.score(problem, gold) == 1
    assert strict.score(problem, gold + "0") == pytest.approx(12 / 13), "the share of the text that is right"
    assert [strict.grade(problem, one) for one in (gold, gold + "0", "7", None)] == [True, False, False, False]
    assert [lenient.grade(problem, one) for one in (gold, gold + "0", "7", None)] == [True, True, False, False]


def test_a_configuration_reaches_the_data_set() -> None:
    task = ReasoningGym("leg_counting", limit=3, config={"min_animals": 1, "max_animals": 1})
    assert all("," not in p.prompt.rpartition("if you have ")[2] for p in task.problems())


def test_a_generator_with_chance_of_its_own_draws_alike() -> None:
    """list_functions draws from the process's own source and by the hash seed, too."""
    assert list(ReasoningGym("list_functions", 4).problems())[:2] == list(ReasoningGym("list_functions", 2).problems())


def test_users_mistakes_are_named() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": "knight_knaves"}, "close to it: knights_knaves"),
        ({"config": {"people": 3}}, r"task\.config\.people is unknown to knights_knaves\n  allowed: n_people"),
        ({"config": {"n_people": -3}}, "is refused by knights_knaves"),
        ({"name": "countdown"}, r"task\.sandbox is null"),
        ({"name": "composite"}, "one by one"),
        ({"name": "game_of_life_halting"}, "takes any answer for right"),
        ({"limit": 0}, r"task\.limit=0"),
        ({"limit": 2001}, r"task\.limit=2001"),
        ({"seed": -1}, r"task\.seed=-1"),
        ({"threshold": 0}, r"task\.threshold=0"),
        ({"threshold": 1.01}, r"task\.threshold=1\.01"),
    ]
    for given, words in cases:
        with pytest.raises(UserError, match=words):
            list(ReasoningGym(**given).problems())


WORKER = """
import json, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    answer = asked.get("answer", "")
    if "hang" in answer:
        time.sleep(60)
    if "die" in answer:
        sys.exit()
    print(json.dumps({"ready": True, "score": 1.0, "question": "?", "gold": None, "meta": {}}), flush=True)
"""


def test_a_scorer_that_hangs_or_dies_scores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER, encoding="utf-8")
    monkeypatch.setattr(module, "WORKER", worker)
    task = ReasoningGym(limit=1)
    (problem,) = task.problems()
    assert task.solution(problem) is None
    monkeypatch.setattr(module, "LIMIT", 0.5)
    assert not task.grade(problem, "hang")
    monkeypatch.undo()
    monkeypatch.setattr(module, "WORKER", worker)
    with ThreadPoolExecutor(6) as threads:
        grades = list(threads.map(lambda answer: task.grade(problem, answer), ["a", "die", "b", "die too", "c"] * 3))
    assert grades == [True, False, True, False, True] * 3


def test_the_library_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text('input(); print(\'{"missing": "No module"}\')', encoding="utf-8")
    monkeypatch.setattr(module, "WORKER", worker)
    with pytest.raises(UserError, match=r"pip install 'ponder\[puzzles\]'"):
        list(ReasoningGym().problems())


HOSTILE = ["", "\udcff", "9" * 10**6, "[" * 10**5, "nan", "inf", "1e999", "{}", "__import__('os').abort()", "1/0"]


def test_hostile_answers_are_wrong_and_workers_live() -> None:
    for name in ("leg_counting", "complex_arithmetic"):
        task = ReasoningGym(name, limit=1)
        (problem,) = task.problems()
        assert [answer[:9] for answer in HOSTILE if task.grade(problem, answer)] == [], name


def test_nothing_is_evaluated_in_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a data set were missing in EVALUATES: its scorer's eval is refused."""
    sign = tmp_path / "sign"
    harmful = f"[open({str(sign)!r}, 'w').close(), __import__('os').system('touch {sign}')]"
    monkeypatch.setattr(module, "EVALUATES", {})
    monkeypatch.setattr(module, "FORMS", {})
    for name in ("spiral_matrix", "countdown"):
        task = ReasoningGym(name, limit=1)
        (problem,) = task.problems()
        assert not task.grade(problem, harmful)
        assert not sign.exists()


def test_countdown_is_scored_in_the_sandbox(sandbox: Sandbox) -> None:
    task = ReasoningGym("countdown", limit=1, sandbox=sandbox)
    assert validate(task).proven == 1
    problem = next(task.problems())
    assert task.score(problem, "1 + 1") == 0.05
    assert not task.grade(problem, "print(1) or 24")
    with pytest.raises(UserError, match=r"sandbox\.packages=true"):
        list(ReasoningGym("countdown", limit=1, sandbox=Sandbox()).problems())


@pytest.mark.parametrize(
    ("name", "honest", "program"),
    [
        ("countdown", "(1 + 2.5) * 3 / 4 - 5", "print(1)"),
        ("simple_integration", "2*x**3/3 - sin(x)*exp(-x) + log(2*x) + C", "S(chr(49))"),
        ("intermediate_integration", "-x*cos(3*x)/3 + asin(x) + sqrt(x)", "x.__class__"),
        ("polynomial_multiplication", "-12*x**3*y + 4*z - 1", "getattr(x, y)"),
        ("n_queens", "[['Q', '_'], ['_', 'Q']]", "[print(1)]"),
        ("spiral_matrix", "[1, 2, -3]", "[exit()]"),
        ("string_insertion", "['A', 'B']", "exec('A')"),
        ("binary_matrix", "[[0, 1], [1, 2]]", "[[0].append]"),
        ("complex_arithmetic", "-3.0 + 4.5i", "nan+nani"),
    ],
)
def test_a_program_is_no_answer(name: str, honest: str, program: str) -> None:
    assert FORMS[name].fullmatch(honest)
    assert not FORMS[name].fullmatch(program)


def test_problems_are_the_same_under_any_hash_seed() -> None:
    program = (
        "from ponder.tasks.reasoning_gym import ReasoningGym as R\n"
        "if __name__ == '__main__': print([p.prompt for p in R('ransom_note', 20).problems()])"
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


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_proves_its_gold_answers(name: str, sandbox: Sandbox) -> None:
    task = ReasoningGym(name, limit=3, sandbox=sandbox)
    found = validate(task)
    assert (found.problems, found.proven) == (3, 0 if name in WITHOUT_GOLD else 3)
    again = ReasoningGym(name, limit=2, sandbox=sandbox)
    assert list(again.problems()) == list(task.problems())[:2]
    problem = next(task.problems())
    assert not task.grade(problem, "I do not know.")
    assert not any(task.grade(problem, answer) for answer in (HOSTILE[2:4] if name in EVALUATES else HOSTILE))


SURVEY = """
import sys
from reasoning_gym.factory import DATASETS, create_dataset
seen, watching = 0, False
def hook(event, arguments):
    global seen
    seen += watching and event in ("exec", "compile")
sys.addaudithook(hook)
for name in sorted(set(DATASETS) - {"composite"}):
    data = create_dataset(name, seed=0, size=3)
    entries, seen, watching = [data[i] for i in range(3)], 0, True
    for entry in entries:
        for answer in (entry["answer"], "1", "no", "[1, 2]", "1 + 1", "x", "['Q']", "[[0]]", "{}", "(1)", "'a'", "0x1"):
            try:
                data.score_answer(answer, entry)
            except Exception:
                pass
    watching = False
    if seen:
        print("evaluates", name, file=sys.stderr)  # standard output has what generators print
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_these_and_no_others_evaluate() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SURVEY], capture_output=True, text=True, check=True)
    assert re.findall("^evaluates (.*)$", done.stderr, re.MULTILINE) == sorted(EVALUATES)


class Unused:
    def run(self, program: str, stdin: str = "") -> Any:
        return SimpleNamespace(out="", ended="exited", code=0)

    def passes(self, program: str) -> bool:
        raise AssertionError("nothing is run")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(FORMS))
def test_gold_answers_have_the_form_of_answers(name: str) -> None:
    task = ReasoningGym(name, limit=200, sandbox=Unused())
    golds = [task.answer(says(str(task.solution(problem)))) for problem in task.problems()]
    assert [gold for gold in golds if not FORMS[name].fullmatch(gold or "@")] == []
