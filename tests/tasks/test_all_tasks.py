"""The laws of every task in conf/task, a new one from its first day."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from ponder.scripts.composing import PACKAGE
from ponder.tasks import equivalence
from ponder.tasks.validation import validate
from ponder.types import Problem, Step, Trace
from tests.scripts.command import environment, ponder_here
from tests.tasks.sample_rows import overrides

CONF = Path(__file__).parents[2] / "conf" / "task"
TASKS = sorted(path.stem for path in CONF.glob("*.yaml"))
JUDGED = {"open_ended"}
"""Tasks that a model grades."""

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries that are imported


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """Workers that read answers end with this file."""
    yield
    equivalence.close()


@pytest.fixture(params=TASKS)
def name(request: pytest.FixtureRequest) -> str:
    """Each task in turn."""
    if request.param in ("reasoning_gym", "word_ladder"):
        pytest.importorskip("reasoning_gym", reason="the extra `puzzles` is not installed")
    return str(request.param)


def made(name: str, *given: str) -> Any:
    """A task as the command makes it, on its sample rows."""
    GlobalHydra.instance().clear()
    with initialize_config_module("ponder.conf", version_base="1.3", job_name="test"):
        config = compose("run", ["sampler=scripted", "verifier=constant", f"task={name}", *overrides(name), *given])
    return instantiate(config.task)


def test_it_reads_and_grades_its_gold_answers(name: str) -> None:
    found = validate(made(name))
    assert found.problems >= 3
    assert found.proven > 0 or name in JUDGED


def test_its_problems_are_the_same_each_time_and_keep_the_gold_to_themselves(name: str) -> None:
    task, again = made(name), made(name)
    problems = list(task.problems())
    assert problems == list(task.problems()) == list(again.problems())
    assert len({problem.id for problem in problems}) == len(problems)
    for problem in problems[:20]:
        assert problem.prompt.strip()
        json.dumps(dict(problem.meta))
        solution = task.solution(problem)
        assert solution is None or solution.strip() not in problem.prompt + json.dumps(dict(problem.meta))


def test_a_limit_keeps_the_first_problems(name: str) -> None:
    few, all_ = list(made(name, "task.limit=2").problems()), list(made(name).problems())
    assert few == all_[:2]


ODD = [
    "",
    " ",
    "no answer",
    "<think>",
    "<think></think>",
    "<think>\\boxed{1}",
    "\\boxed{",
    "\\boxed{}",
    "```python",
    "```python\n```",
    "Answer:",
    "()",
    "\x00\udcff",
    "答案是",
    "\\boxed{" * 50,
    "9" * 5000,
]


def test_odd_solutions_are_wrong_and_break_nothing(name: str) -> None:
    task = made(name, "task.limit=1")
    (problem,) = task.problems()
    for text in ODD:
        answer = task.answer(Trace(problem, (Step(text, why="eos"),)))
        assert answer is None or isinstance(answer, str), text
        if name not in JUDGED:
            assert not task.grade(problem, answer), text


def test_an_empty_trace_has_no_answer(name: str) -> None:
    task = made(name, "task.limit=1")
    (problem,) = task.problems()
    assert task.answer(Trace(problem)) is None


def test_a_run_of_three_questions(name: str, tmp_path: Path) -> None:
    """`ponder task=NAME sampler=scripted task.limit=3`; without a reward model, to be quick."""
    given = [
        f"task={name}",
        "sampler=scripted",
        "verifier=none",
        "search=self_consistency",
        "select=majority",
        "budget.n=2",
    ]
    done = ponder_here(tmp_path, *given, *overrides(name), "task.limit=3").well()
    assert ": 3 questions, accuracy" in done.err
    (rows,) = (tmp_path / "runs").glob("*/rows.jsonl")
    written = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    assert [row["error"] for row in written] == [None] * 3


def test_its_file_opens_with_a_real_row(name: str) -> None:
    """The docstring of the file shows what a row looks like: that is what one wants to see first."""
    target = next(line for line in (CONF / f"{name}.yaml").read_text().splitlines() if "_target_: ponder.tasks" in line)
    module = target.split("ponder.tasks.")[1].split(".")[0]
    text = (PACKAGE / "tasks" / f"{module}.py").read_text(encoding="utf-8")
    assert "row" in text.split('"""')[1]


def test_problems_do_not_depend_on_the_hash_seed(name: str) -> None:
    program = (
        "import sys; from tests.tasks.test_all_tasks import made; "
        "sys.stdout.write(repr([(p.id, p.prompt) for p in made(sys.argv[1]).problems()][:20]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, name],
            env={**environment(), "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_a_task_that_grades_nothing_right_is_seen() -> None:
    class Wrong:
        def problems(self):
            return [Problem("one", "1 + 1?")]

        def solution(self, problem):
            return "2"

        def answer(self, trace):
            return trace.text

        def grade(self, problem, answer):
            return answer == "3"

    with pytest.raises(Exception, match="one: its own solution is read as '2' and graded wrong"):
        validate(Wrong())
