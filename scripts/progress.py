"""Progress: how a run tells a person where it stands, live on a terminal and quiet elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ponder.scripts.metrics import wilson

REFRESH = 4  # times a second


class Progress:
    """A recorder that shows questions done, accuracy with its interval, speed, budget left, and the time still needed.

    On a terminal two live lines; elsewhere, and in the end, one closing line. Rows that an earlier process left count
    for accuracy, but not for speed, budget and time: those are of this process.

    Args:
        path: the run's folder, named in the closing line.
        console: where to; the process's standard error if None.
        clock: seconds that only rise.
    """

    def __init__(self, path: Path, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        # What is no terminal gets no control characters, whatever FORCE_COLOR says: a log keeps them for ever.
        terminal = getattr(sys.stderr, "isatty", lambda: False)()
        self._console = console or Console(
            file=sys.stderr, force_terminal=terminal, force_interactive=None if terminal else False, highlight=False
        )
        self._clock = clock
        self._name, self._total, self._ceilings = "", 0, dict[str, float]()
        self._right = self._graded = self._done = self._failed = self._tokens = 0
        self._fresh, self._spent, self._began, self._here = 0, defaultdict[str, float](float), clock(), True
        self._live = Live(get_renderable=self._view, console=self._console, refresh_per_second=REFRESH, transient=True)

    def start(self, run: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._name, self._total = str(run["run_id"]), run["questions"]
        ceilings = (run["config"].get("budget") or {}).get("run") or {}
        self._ceilings = {name: ceiling for name, ceiling in ceilings.items() if ceiling}
        self._began = self._clock()
        try:  # rows of before are told before the event loop gets to anything else
            asyncio.get_running_loop().call_soon(self._begin)
            self._here = False
        except RuntimeError:
            self._begin()
        if self._console.is_interactive:
            self._live.start()

    def row(self, row: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._done += 1
        self._failed += row["error"] is not None
        if row.get("gold_known", True):
            self._graded += 1
            self._right += row["answers"][row["select"]]["correct"]
        self._tokens += sum(int(cost["new_tokens"]) for cost in row["cost"].values())
        if self._here:
            self._fresh += 1
            for cost in row["cost"].values():
                for name, count in cost.items():
                    self._spent[name] += count

    def close(self) -> None:
        """See `ponder.protocols.Recorder`."""
        self._live.stop()
        told = f"{self._accuracy()}, {self._tokens} new tokens" if self._done else "nothing done"
        self._console.print(
            f"{self._path}: {self._done} questions, {told}", markup=False, highlight=False, soft_wrap=True
        )

    def _begin(self) -> None:
        self._began, self._here = self._clock(), True

    def _view(self) -> Group:
        """The two lines."""
        first = Table.grid(padding=(0, 1))
        first.add_column(no_wrap=True)
        first.add_column(no_wrap=True)
        first.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=max(self._total, 1), completed=self._done, width=20)
        first.add_row(bar, f"{self._done}/{self._total}", Text(self._name))
        return Group(first, Text(self._state()))

    def _state(self) -> str:
        """Accuracy, speed, budget left and time still needed, as far as they are known."""
        said = [self._accuracy()] if self._done else ["nothing done"]
        elapsed = self._clock() - self._began
        if self._fresh and elapsed > 0:
            said.append(f"{(self._spent['new_tokens'] + self._spent['verifier_tokens']) / elapsed:,.0f} tokens/s")
        if self._ceilings:
            spent = {**self._spent, "seconds": elapsed}
            left = min(1 - spent.get(name, 0) / ceiling for name, ceiling in self._ceilings.items())
            said.append(f"budget {100 * max(left, 0.0):.0f} % left")
        if self._fresh and self._done < self._total:
            needed = elapsed / self._fresh * (self._total - self._done)
            said.append(f"ETA {timedelta(seconds=round(needed))}")
        return ", ".join(said)

    def _accuracy(self) -> str:
        failed = f", {self._failed} FAILED" if self._failed else ""
        if not self._graded:
            return f"no gold answers{failed}"
        low, high = wilson(self._right, self._graded)
        return f"accuracy {100 * self._right / self._graded:.1f} % [{100 * low:.1f}, {100 * high:.1f}]{failed}"
