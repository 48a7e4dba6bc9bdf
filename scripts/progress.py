"""Progress: how a run tells a person where it stands, live on a terminal and quiet elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ponder.scripts.metrics import wilson


class Progress:
    """A recorder that shows questions done, accuracy so far with its interval, and tokens.

    On a terminal a live line; elsewhere one line at the end.

    Args:
        path: the run's folder, named in the closing line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._right = self._done = self._failed = self._tokens = 0

    def start(self, run: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._line = self._bar.add_task(str(run["run_id"]), total=run["questions"], state="")
        self._bar.start()

    def row(self, row: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._done += 1
        self._right += row["answers"][row["select"]]["correct"]
        self._failed += row["error"] is not None
        self._tokens += sum(int(cost["new_tokens"]) for cost in row["cost"].values())
        self._bar.update(self._line, advance=1, state=self._state())

    def close(self) -> None:
        """See `ponder.protocols.Recorder`."""
        self._bar.stop()
        self._console.print(f"{self._path}: {self._done} questions, {self._state()}", markup=False)

    def _state(self) -> str:
        if not self._done:
            return "nothing done"
        low, high = wilson(self._right, self._done)
        failed = f", {self._failed} FAILED" if self._failed else ""
        return (
            f"accuracy {100 * self._right / self._done:.1f} % [{100 * low:.1f}, {100 * high:.1f}]{failed}, "
            f"{self._tokens} new tokens"
        )
