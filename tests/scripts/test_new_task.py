"""A task of one's own, word for word as docs/new_task.md has it; and `ponder-check task=NAME`."""

from __future__ import annotations

import re
from pathlib import Path

from ponder.scripts import check
from tests.scripts.command import ROOT, Done, here, ponder_here, rows, runs, user_folder

PYTHON, YAML = re.findall(r"```(?:python|yaml)\n(.*?)```", (ROOT / "docs" / "new_task.md").read_text(), re.DOTALL)


def checked(folder: Path, *given: str) -> Done:
    """`ponder-check` with the task of the page, or what a test made of it."""
    return here("ponder-check", check.main, folder, "--config-dir", "conf", "task=sums", *given)


def test_the_page_runs(tmp_path: Path) -> None:
    user_folder(tmp_path, "task", "sums", PYTHON, YAML)
    done = checked(tmp_path).well()
    assert "task=sums: 10 of 10 gold answers are read and graded right" in done.out
    given = [
        "--config-dir",
        "conf",
        "task=sums",
        "sampler=scripted",
        "sampler.texts=['Answer: 6']",
        "verifier=constant",
    ]
    ponder_here(tmp_path, *given, "search=best_of_n", "budget.n=1").well()
    (run,) = runs(tmp_path)
    right = {row["problem_id"]: row["answers"]["argmax"]["correct"] for row in rows(run)}
    assert right == {f"sum-{i}": i == 3 for i in range(10)}


def test_a_gold_answer_that_is_graded_wrong(tmp_path: Path) -> None:
    user_folder(tmp_path, "task", "sums", PYTHON.replace("return answer ==", "return answer + '.' =="), YAML)
    done = checked(tmp_path)
    assert done.code == 2
    assert "sum-0: TypeError: unsupported operand" in done.err
    user_folder(tmp_path, "task", "sums", PYTHON.replace(r"Answer: (\d+)", r"Answer: (\d)"), YAML)
    done = checked(tmp_path)
    assert done.code == 2
    assert "ponder-check: Sums: sum-5: its own solution is read as '1' and graded wrong" in done.err
    assert "and 2 more" in done.err


def test_a_verifier_comes_first_and_a_task_needs_a_solution(tmp_path: Path) -> None:
    done = here("ponder-check", check.main, tmp_path, "verifier=constant", "task=arithmetic").well()
    assert "verifier=constant: Constant" in done.out
    assert "gold answers" not in done.out
    assert "task=arithmetic: 100 of 100" in here("ponder-check", check.main, tmp_path, "task=arithmetic").well().out
    mute = re.sub(r"    def solution.*\n", "", PYTHON)
    user_folder(tmp_path, "task", "sums", mute, YAML)
    done = checked(tmp_path)
    assert done.code == 2
    assert "Sums has no solution(problem)" in done.err
