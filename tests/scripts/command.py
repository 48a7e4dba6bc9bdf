"""The command `ponder` as tests call it: in a process of its own, or quickly inside this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from ponder.scripts.run import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    def well(self) -> Done:
        """Itself, if it ended well."""
        assert self.code == 0, self.err
        return self

    def refused(self, *words: str) -> Done:
        """Itself, if it ended as a user's mistake does: exit code 2, and one message with these words."""
        assert self.code == 2, self.err
        assert "Traceback" not in self.out + self.err
        assert self.err.count("ponder: ") == 1
        for word in words:
            assert word in self.err
        return self


def environment(path: Path = ROOT) -> dict[str, str]:
    """The environment of a process that imports ponder from `path`."""
    return {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}


def arguments(*given: str) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "ponder.scripts.run", *given]


def ponder(folder: Path, *given: str, env: Mapping[str, str] | None = None) -> Done:
    """Runs `ponder` in a process of its own, in `folder`."""
    command = arguments(*given)
    done = subprocess.run(command, cwd=folder, env=env or environment(), capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def ponder_here(folder: Path, *given: str) -> Done:
    """Runs `ponder` in this process, in `folder`."""
    return here("ponder", main, folder, *given)


def here(name: str, command: Callable[[], None], folder: Path, *given: str) -> Done:
    """Runs a command in this process, in `folder`; modules of the folder are forgotten afterwards."""
    out, err, before = io.StringIO(), io.StringIO(), set(sys.modules)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(mock.patch.object(sys, "argv", [name, *given]))
        stack.enter_context(mock.patch.object(sys, "path", list(sys.path)))
        stack.enter_context(mock.patch.dict(os.environ))
        try:
            command()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    return Done(code, out.getvalue(), err.getvalue())


def runs(out: Path) -> list[Path]:
    """The folders of the runs under `out`."""
    return sorted(path.parent for path in out.rglob("rows.jsonl"))


def rows(run: Path) -> list[dict[str, Any]]:
    """All lines of a run's rows, repeats included."""
    return [json.loads(line) for line in (run / "rows.jsonl").read_text(encoding="utf-8").splitlines()]


def timeless(value: Any) -> Any:
    """A row, or a list of rows by problem, without what the clock and the commit decide."""
    if isinstance(value, dict):
        return {key: timeless(one) for key, one in value.items() if key not in ("seconds", "git_commit")}
    if isinstance(value, list):
        return [timeless(one) for one in value]
    return value


def by_problem(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Timeless rows by problem, the last one of each."""
    return {row["problem_id"]: timeless(row) for row in found}


def user_folder(folder: Path, group: str, name: str, code: str, yaml: str) -> Path:
    """A user's folder: NAME.py beside conf/GROUP/NAME.yaml."""
    (folder / "conf" / group).mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    (folder / "conf" / group / f"{name}.yaml").write_text(yaml, encoding="utf-8")
    return folder
