"""A run in Weights & Biases: config, accuracy and costs as they come, rows as a table."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class WandbRecorder:
    """Logs to W&B, offline unless WANDB_MODE says otherwise. A failing W&B never hurts a run.

    A resumed run continues the same W&B run, and sees the rows of before once more.

    Args:
        project: the W&B project.
        group: what to group runs by; the task's name if None.
        tags: the run's tags.
        directory: where W&B keeps its files.
    """

    def __init__(
        self, project: str = "ponder", group: str | None = None, tags: Sequence[str] = (), directory: str = "."
    ) -> None:
        self._project = project
        self._group = group
        self._tags = list(tags)
        self._directory = directory
        self._run: Any = None
        self._rows: list[Mapping[str, Any]] = []

    def start(self, run: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._try(lambda: self._start(run))

    def row(self, row: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._rows.append(row)
        if self._run is not None:
            self._try(lambda: self._run.log(self._figures(row)))

    def close(self) -> None:
        """See `ponder.protocols.Recorder`."""
        if self._run is not None:
            self._try(self._close)

    def _start(self, run: Mapping[str, Any]) -> None:
        import wandb

        os.environ.setdefault("WANDB_SILENT", "true")
        Path(self._directory).mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=self._project,
            group=self._group or run["config"].get("task", {}).get("name"),
            name=run["run_id"],
            id=run["run_id"].replace("/", "-")[:128],
            resume="allow",
            tags=self._tags,
            dir=self._directory,
            config=dict(run["config"]),
            mode=mode,
            reinit="finish_previous",
        )
        self._run.define_metric("questions")
        self._run.define_metric("*", step_metric="questions")

    def _figures(self, row: Mapping[str, Any]) -> dict[str, float]:
        done = len(self._rows)
        figures: dict[str, float] = {"questions": done, "failed": sum(r["error"] is not None for r in self._rows)}
        for name in row["answers"]:
            figures[f"accuracy/{name}"] = sum(r["answers"][name]["correct"] for r in self._rows) / done
        for field in ("new_tokens", "prompt_tokens", "cached_tokens", "verifier_tokens", "verifier_calls", "flops"):
            figures[field] = sum(cost[field] for r in self._rows for cost in r["cost"].values())
        figures["seconds"] = sum(r["seconds"] for r in self._rows)
        return figures

    def _close(self) -> None:
        import wandb

        if self._rows:
            columns = ["problem_id", "prompt", "answer", "correct", "new_tokens", "verifier_tokens", "seconds", "error"]
            table = wandb.Table(columns=columns, data=[_cells(row) for row in self._rows])
            self._run.log({"questions": len(self._rows), "rows": table})
            self._run.summary.update(self._figures(self._rows[-1]))
        self._run.finish(exit_code=0)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self._run = None
            log.warning("W&B is left out of this run: %s: %s", type(error).__name__, error)


def _cells(row: Mapping[str, Any]) -> list[Any]:
    chosen = row["answers"][row["select"]]
    costs = row["cost"].values()
    return [
        row["problem_id"],
        row["prompt"],
        chosen["answer"],
        chosen["correct"],
        sum(cost["new_tokens"] for cost in costs),
        sum(cost["verifier_tokens"] for cost in costs),
        row["seconds"],
        row["error"]["message"] if row["error"] else None,
    ]
