"""A run that is killed goes on where it stood, and its rows are those of a run that never was."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from ponder.scripts.rows import RowFile
from tests.scripts.command import arguments, by_problem, environment, ponder, ponder_here, rows, runs, user_folder

QUESTIONS = 20

SLOW = '''\
import asyncio
from pathlib import Path
from ponder.samplers.scripted import Scripted


class Slow(Scripted):
    """Writes down what it was asked, thinks for a while, and answers."""

    async def sample(self, trace, n, until, *, seed):
        with Path("asked.txt").open("a") as asked:
            asked.write(trace.problem.prompt + "\\n")
        await asyncio.sleep(0.15)
        return await super().sample(trace, n, until, seed=seed)
'''

SLOW_YAML = """\
_target_: slow.Slow
texts: ["seven\\n\\n\\\\boxed{7}", "eight\\n\\n\\\\boxed{8}", "nine\\n\\n\\\\boxed{9}"]
order: seed
"""


def command(search: str, *more: str) -> list[str]:
    given = ["--config-dir", "conf", "debug=scripted", "sampler=slow", f"search={search}", "budget.n=4"]
    return [*given, f"task.limit={QUESTIONS}", "concurrency=2", *more]


def lines(folder: Path) -> int:
    """How many rows are there by now."""
    found = runs(folder / "runs")
    return (found[0] / "rows.jsonl").read_bytes().count(b"\n") if found else 0


@pytest.mark.parametrize("search", ["best_of_n", "particle_filtering"])
def test_killed_and_run_again_equals_uninterrupted(search: str, tmp_path: Path) -> None:
    user_folder(tmp_path, "sampler", "slow", SLOW, SLOW_YAML)
    running = subprocess.Popen(arguments(*command(search)), cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while lines(tmp_path) < 5:
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        running.kill()
        running.wait()

    (run,) = runs(tmp_path / "runs")
    writing = RowFile(run / "rows.jsonl")
    try:
        assert not ponder_here(tmp_path, *command(search)).refused("rows.jsonl", "another run", "out=DIR").out
    finally:
        writing.close()
    kept = rows(run)
    assert 5 <= len(kept) < QUESTIONS
    with (run / "rows.jsonl").open("ab") as file:
        file.write(b'{"problem_id": "torn", "traces": [{"ste')
    (tmp_path / "asked.txt").unlink()
    ponder_here(tmp_path, *command(search)).well()
    resumed = rows(run)
    assert resumed[: len(kept)] == kept
    assert len(resumed) == QUESTIONS
    asked = set((tmp_path / "asked.txt").read_text().splitlines())
    assert asked == {row["prompt"] for row in resumed[len(kept) :]}

    ponder_here(tmp_path, *command(search, "out=whole", "concurrency=20")).well()
    (whole,) = runs(tmp_path / "whole")
    assert whole.name == run.name
    assert by_problem(rows(whole)) == by_problem(resumed)


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    ponder_here(tmp_path, "debug=scripted").well()
    (run,) = runs(tmp_path / "runs")
    file = run / "rows.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'{"run_id"', b'["run_id"', 1))
    ponder(tmp_path, "debug=scripted").refused("rows.jsonl:1", "delete the line")
    file.write_bytes(whole)
    ponder_here(tmp_path, "debug=scripted").well()
    assert file.read_bytes() == whole
