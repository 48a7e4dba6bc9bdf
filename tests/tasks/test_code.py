"""Programs out of replies, joined with their tests and run in the sandbox; HumanEval, MBPP and files of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks.code import code_tests, joined, program_of
from ponder.tasks.humaneval import CUT, humaneval
from ponder.tasks.mbpp import mbpp
from ponder.tasks.validation import validate
from ponder.types import Problem, Step, Trace
from ponder.verifiers import execution
from ponder.verifiers.execution import Ran, Sandbox
from tests.tasks.sample_rows import SAMPLES


class Counting:
    """A sandbox that counts what it runs."""

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner
        self.programs: list[str] = []

    def run(self, program: str, stdin: str = "") -> Ran:
        self.programs.append(program)
        ran: Ran = self.inner.run(program, stdin)
        return ran

    def passes(self, program: str) -> bool:
        self.programs.append(program)
        return self.inner is not None and bool(self.inner.passes(program))


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """The real one."""
    if refusal := execution._refusal():
        pytest.skip(f"this kernel isolates nothing: {refusal}")
    return Sandbox(seconds=5, wall_seconds=15)


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        ("```python\ndef f():\n    pass\n```", "def f():\n    pass"),
        ("Here it is:\n```py\na = 1\n```\nIt works.", "a = 1"),
        ("```\na = 1\n```", "a = 1"),
        ("```python\na = 1\n```\nBetter:\n```python\na = 2\n```", "a = 2"),
        ("```python\na = 1\n```\nand then ```b``` in a line", "a = 1"),
        ("  ```python\n  a = 1\n  ```", "  a = 1"),
        ("Cut off:\n```python\na = 1\nb =", "a = 1\nb ="),
        ("```python\na = 1\n```\n```python\nb = 1", "a = 1"),
        ("<think>```python\na = 0\n```</think>```python\na = 1\n```", "a = 1"),
        ("<think>```python\na = 0\n```", None),
        ("    return x + 1\n", "    return x + 1"),
        ("```python\n```", None),
        ("", None),
        (" \n ", None),
        ("```python title=x.py\na = '''```'''\n```", "a = '''```'''"),
    ],
)
def test_the_program_of_a_reply(reply: str, program: str | None) -> None:
    assert program_of(reply) == program


def test_a_completion_is_cut_where_it_goes_on_with_something_else() -> None:
    assert program_of("    return 1\n\n\ndef other():\n    pass", CUT) == "    return 1"
    assert program_of("    return 1\nprint(2)\nif x:\n    y", CUT) == "    return 1"
    assert program_of("```python\nx = 1\ndef f(): pass\n```", CUT) == "x = 1\ndef f(): pass"


@pytest.mark.parametrize(
    "text", ["```" * 100_000, "```python\n" * 50_000, "x" * 2_000_000, "\udcff```python\n\udcff\n```"]
)
def test_odd_replies_are_read_quickly(text: str) -> None:
    assert program_of(text) != ""


def test_imports_from_the_future_come_first() -> None:
    program = joined("import math", "from __future__ import annotations\ndef f(x: Later): return x", "assert f(1)")
    assert program.splitlines()[0] == "from __future__ import annotations"
    assert program.splitlines()[1] == "import math"
    compile(program, "program", "exec")


REPLIES = {
    "```python\ndef double(x):\n    return 2 * x\n```": True,
    "def double(x): return x + x": True,
    "from __future__ import annotations\ndef double(x: int) -> int: return x + x": True,
    "```python\ndouble = lambda x: 2 * x\nif __name__ == '__main__':\n    print(double(2))\n```": True,
    "```python\ndef double(x):\n    print('x' * 1000)\n    return 2 * x\n```": True,
    "```python\ndef double(x):\n    return x ** 2\n```": False,
    "```python\nimport sys\nsys.exit(0)\n```": False,
    "```python\nimport os\nos._exit(0)\n```": False,
    "```python\ndef double(x):\n    raise SystemExit\n```": False,
    "```python\nclass Equal:\n    def __eq__(self, other): return False\ndef double(x): return Equal()\n```": False,
    "def double(x:": False,
    "I cannot.": False,
    "\x00": False,
    "x = '\udcff'": False,
    "while True: pass": False,
}


@pytest.mark.parametrize("reply", REPLIES)
def test_what_passes(reply: str, sandbox: Sandbox) -> None:
    quick = Sandbox(seconds=1, wall_seconds=5)
    task = code_tests(str(SAMPLES / "code_tests.jsonl"), quick, limit=1)
    (problem,) = task.problems()
    assert task.grade(problem, task.answer(Trace(problem, (Step(reply, why="eos"),)))) is REPLIES[reply]


def test_programs_that_read_and_print(sandbox: Sandbox) -> None:
    task = code_tests(str(SAMPLES / "code_tests.jsonl"), sandbox)
    problem = task.problems()[1]
    assert task.grade(problem, "import sys\nprint(sum(int(line) for line in sys.stdin), '')")
    assert not task.grade(problem, "print(3)")
    assert not task.grade(problem, "import sys\nprint(sum(map(int, sys.stdin)))\nsys.exit(1)")
    assert not task.grade(problem, "print('Sum:')\nimport sys\nprint(sum(map(int, sys.stdin)))")


def test_a_program_is_run_once() -> None:
    counting = Counting()
    task = code_tests(str(SAMPLES / "code_tests.jsonl"), counting, limit=1)
    (problem,) = task.problems()
    for _ in range(3):
        assert not task.grade(problem, "x = 1")
    assert len(counting.programs) == 1
    assert not task.grade(problem, None)
    assert len(counting.programs) == 1


def test_humaneval_proves_all_its_solutions(sandbox: Sandbox) -> None:
    found = validate(humaneval(sandbox))
    assert (found.problems, found.proven) == (164, 164)


def test_humaneval_takes_functions_and_bodies(sandbox: Sandbox) -> None:
    task = humaneval(sandbox, limit=1)
    (problem,) = task.problems()
    assert problem.prompt.startswith("Read the following function signature")
    known = str(task.exercises[problem.id].solution)
    whole = f"```python\n{task.exercises[problem.id].setup}{known}```"
    for reply in (known, whole, f"Sure!\n{whole}\nDone."):
        assert task.grade(problem, task.answer(Trace(problem, (Step(reply, why="eos"),)))), reply
    assert not task.grade(problem, "    return True")
    base = humaneval(sandbox, limit=1, instruction="", cut=CUT)
    (bare,) = base.problems()
    assert bare.prompt == task.exercises[problem.id].setup
    assert base.grade(bare, base.answer(Trace(bare, (Step(f"{known}\n\ndef broken(:", why="eos"),))))


def test_humaneval_reads_a_file(tmp_path: Path) -> None:
    row = {
        "task_id": "mine/0",
        "prompt": "def f():\n",
        "entry_point": "f",
        "canonical_solution": "    return 1",
        "test": "assert f",
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert [problem.id for problem in humaneval(Counting(), str(path)).problems()] == ["mine/0"]


def test_mbpp_shows_its_tests() -> None:
    task = mbpp(Counting(), str(SAMPLES / "mbpp.jsonl"))
    first, _, third = task.problems()
    assert first.id == "mbpp-1"
    assert "here is your task: Write a function to find the larger of two numbers. Your code" in first.prompt
    assert "assert larger(1, 2) == 2" in first.prompt
    assert task.exercises[third.id].setup == "import math"
    assert "\r" not in str(task.solution(first))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tests": 3}, ":1: tests=3 is a int, not str or list"),
        ({"tests": []}, ":1: tests is a text, or a list"),
        ({"tests": [{"input": "1"}]}, ":1: tests is a text, or a list"),
        ({"tests": [{"input": "1", "output": 2}]}, ":1: tests is a text, or a list"),
        ({"setup": 1}, ":1: setup is a int"),
        ({"solution": []}, None),
        ({"meta": "x"}, ":1: meta is a str"),
        ({"prompt": ""}, ":1: prompt is empty"),
    ],
)
def test_rows_that_are_none(change: dict[str, Any], words: str | None, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": "a", "prompt": "p", "tests": "t", **change}) + "\n", encoding="utf-8")
    if words is None:
        assert len(code_tests(str(path), Counting()).problems()) == 1
        return
    with pytest.raises(UserError) as error:
        code_tests(str(path), Counting())
    assert f"{path}{words}" in str(error.value)


def test_mistakes() -> None:
    with pytest.raises(UserError, match="no home on the hub"):
        code_tests(None, Counting())
    with pytest.raises(UserError, match=r"task\.sandbox=None is no sandbox"):
        humaneval(None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"task\.limit=0"):
        humaneval(Counting(), limit=0)
    with pytest.raises(UserError, match=r"task\.variant='best'"):
        mbpp(Counting(), variant="best")  # type: ignore[arg-type]
    assert Problem("x", "y") not in humaneval(Counting()).problems()
