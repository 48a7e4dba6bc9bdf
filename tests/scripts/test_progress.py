"""Progress: live on a terminal, one closing line elsewhere; speed, budget and time are of this process's rows."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ponder.scripts.metrics import wilson
from ponder.scripts.progress import Progress
from tests.scripts.command import arguments, environment, ponder, rows, runs

GIVEN = ("debug=scripted", "search=best_of_n", "budget.n=4", "task.limit=12")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Clock:
    """Seconds that rise when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def row(right: bool, error: str | None = None, **counts: float) -> dict[str, Any]:
    """A row as a recorder sees it: 10 new tokens of the policy, 4 of a judge, 6 tokens of a verifier."""
    spent = {"samples": 1, "new_tokens": 10, "prompt_tokens": 5, "verifier_tokens": 0, "flops": 2.0, **counts}
    judge = {"samples": 0, "new_tokens": 4, "prompt_tokens": 1, "verifier_tokens": 0, "flops": 1.0}
    verifier = {"samples": 0, "new_tokens": 0, "prompt_tokens": 0, "verifier_tokens": 6, "flops": 1.0}
    return {
        "select": "argmax",
        "answers": {"argmax": {"answer": "1", "correct": right}},
        "cost": {"policy": spent, "judge": judge, "verifier": verifier},
        "error": {"type": "SamplerError", "message": error} if error else None,
    }


def run(questions: int, **ceilings: float | None) -> dict[str, Any]:
    """What a recorder is told of a run."""
    return {"run_id": "arithmetic-n4", "questions": questions, "config": {"budget": {"n": 4, "run": ceilings}}}


class Shown:
    """Progress on a terminal in memory, and what stands there."""

    def __init__(self, width: int = 120) -> None:
        self.file, self.clock = io.StringIO(), Clock()
        console = Console(force_terminal=True, file=self.file, width=width, color_system=None, legacy_windows=False)
        self.progress = Progress(Path("runs/here"), console, self.clock)

    def lines(self) -> list[str]:
        """The live lines now."""
        console = Console(file=io.StringIO(), width=120, color_system=None)
        with console.capture() as capture:
            console.print(self.progress._view())
        return [line.strip() for line in capture.get().splitlines()]


def test_it_tells_accuracy_speed_budget_and_time() -> None:
    shown = Shown()
    shown.progress.start(run(10, new_tokens=200, flops=1000.0, samples=None))
    assert shown.lines()[0].endswith("0/10 arithmetic-n4")
    assert shown.lines()[1] == "nothing done, budget 100 % left"
    for right in (True, True, False, True):
        shown.progress.row(row(right))
    shown.clock.now += 8.0
    low, high = wilson(3, 4)
    accuracy = f"accuracy 75.0 % [{100 * low:.1f}, {100 * high:.1f}]"
    assert shown.lines()[0].endswith("4/10 arithmetic-n4")
    # 4 rows of 20 tokens in 8 s; 56 of 200 new tokens are the tightest ceiling; 6 more rows of 2 s.
    assert shown.lines()[1] == f"{accuracy}, 10 tokens/s, budget 72 % left, ETA 0:00:12"
    shown.progress.row(row(False, error="the engine fell over"))
    assert ", 1 FAILED, " in shown.lines()[1]
    shown.progress.close()
    drawn = shown.file.getvalue()
    assert "\x1b[?25l" in drawn, "nothing was shown live"
    live, _, last = drawn.rpartition("\x1b[2K")
    assert live.endswith("\x1b[?25h\r\x1b[1A\x1b[2K\x1b[1A"), "the two lines should be gone, and the cursor back"
    low, high = wilson(3, 5)
    closing = f"runs/here: 5 questions, accuracy 60.0 % [{100 * low:.1f}, {100 * high:.1f}], 1 FAILED, 70 new tokens\n"
    assert last == closing


def test_seconds_are_a_ceiling_too_and_nothing_is_left_below_none() -> None:
    shown = Shown()
    shown.progress.start(run(10, seconds=20.0, new_tokens=1000))
    shown.clock.now += 15.0
    assert shown.lines()[1] == "nothing done, budget 25 % left"
    shown.clock.now += 15.0
    assert shown.lines()[1] == "nothing done, budget 0 % left"
    shown.progress.close()


def test_rows_of_before_count_for_accuracy_alone() -> None:
    async def resumed() -> list[str]:
        shown.progress.start(run(10, new_tokens=1000))
        for _ in range(6):  # as the runner does: at once, before anything is awaited
            shown.progress.row(row(True, new_tokens=5000))
        await asyncio.sleep(0)
        before = shown.lines()
        shown.clock.now += 4.0
        shown.progress.row(row(False))
        return [*before, *shown.lines()]

    shown = Shown()
    lines = asyncio.run(resumed())
    shown.progress.close()
    assert lines[0].endswith("6/10 arithmetic-n4")
    assert lines[1].endswith("], budget 100 % left")
    assert lines[2].endswith("7/10 arithmetic-n4")
    assert lines[3].startswith("accuracy 85.7 %")
    assert lines[3].endswith(", 5 tokens/s, budget 99 % left, ETA 0:00:12")
    assert "7 questions" in shown.file.getvalue()
    assert f"{6 * 5004 + 14} new tokens" in shown.file.getvalue()


def test_rows_without_a_gold_answer_are_no_part_of_accuracy() -> None:
    shown = Shown()
    shown.progress.start(run(3))
    shown.progress.row({**row(False), "gold_known": False})
    assert shown.lines()[1].startswith("no gold answers")
    shown.progress.row(row(True))
    assert shown.lines()[1].startswith("accuracy 100.0 %")
    shown.progress.close()


def test_a_narrow_terminal_shows_the_figures_whole() -> None:
    shown = Shown(width=40)
    shown.progress.start(run(10, new_tokens=200))
    shown.progress.row(row(True))
    shown.clock.now += 1.0
    shown.progress._live.refresh()
    told = " ".join(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.file.getvalue()).split())
    shown.progress.close()
    for words in ("1/10", "accuracy 100.0 %", "20 tokens/s", "budget 93 % left", "ETA 0:00:09"):
        assert words in told


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CI"])
def test_a_log_gets_one_line_without_control_characters(variable: str, tmp_path: Path) -> None:
    done = ponder(tmp_path, *GIVEN, env={**environment(), variable: "1"}).well()
    assert not CONTROL.search(done.err)
    (line,) = done.err.splitlines()
    (folder,) = runs(tmp_path / "runs")
    stored = rows(folder)
    right = sum(one["answers"][one["select"]]["correct"] for one in stored)
    low, high = wilson(right, 12)
    new = sum(cost["new_tokens"] for one in stored for cost in one["cost"].values())
    told = f"12 questions, accuracy {100 * right / 12:.1f} % [{100 * low:.1f}, {100 * high:.1f}], {new} new tokens"
    assert line == f"{folder.relative_to(tmp_path)}: {told}"


def on_a_terminal(folder: Path, *given: str) -> str:
    """What the real command draws on a pseudo-terminal."""
    near, far = pty.openpty()
    command = subprocess.Popen(
        arguments(*given),
        cwd=folder,
        env={**environment(), "TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=far,
        stdout=far,
        stderr=far,
    )
    os.close(far)
    drawn = b""
    try:
        while piece := os.read(near, 65536):
            drawn += piece
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(near)
    assert command.wait(timeout=60) == 0, drawn.decode()
    return drawn.decode()


def test_the_command_is_live_on_a_terminal(tmp_path: Path) -> None:
    first = on_a_terminal(tmp_path, *GIVEN, "budget.run.new_tokens=1000000")
    assert "\x1b[?25l" in first
    assert "\x1b[?25h" in first
    (folder,) = runs(tmp_path / "runs")
    assert f"12/12 {folder.name}" in first
    assert re.search(r"\[[\d.]+, [\d.]+\], [\d,]+ tokens/s, budget 100 % left", first)
    last = first.rstrip().rpartition("\x1b[2K")[2]
    assert last.startswith(f"runs/{folder.name}: 12 questions, accuracy ")

    # Nothing is left to do: no speed, and the ceiling of this process is whole.
    again = on_a_terminal(tmp_path, *GIVEN, "budget.run.new_tokens=1000000")
    assert "tokens/s" not in again
    assert f"12/12 {folder.name}" in again
    assert again.rstrip().rpartition("\x1b[2K")[2] == last
