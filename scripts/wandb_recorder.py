"""A run in Weights & Biases: config, figures as they come, curves, a table, the rows. docs/wandb.md says what is where.

All of W&B happens in a thread of its own, fed by a queue: what is broken or slow there never reaches the run.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ponder.errors import UserError
from ponder.scripts.results import named
from ponder.scripts.wandb_figures import STEP, TABLE, Figures, Tally, steps
from ponder.scripts.wandb_question import question

log = logging.getLogger(__name__)
MODES = ("online", "offline", "disabled")
FILES = ("rows.jsonl", "run.json")


class WandbRecorder:
    """Logs to W&B, offline unless told otherwise. A failing or slow W&B never hurts a run.

    The same command again continues the same W&B run. Its history goes on where it ended, and the table, the curves
    and the summary are as of all rows.

    Args:
        project: the W&B project.
        entity: the user or team that it belongs to; W&B's default if None.
        group: what runs are compared with; the task's name if None.
        job_type: the search's name if None.
        tags: the run's tags; search, verifier, model, N and seed if None.
        mode: online, offline or disabled; if None, what the variable WANDB_MODE says, and offline without it.
        patience: how many seconds a finished run waits for W&B.
        directory: where W&B keeps its files.

    Raises:
        UserError: an unknown mode, a patience that is no number above 0, or tags that are no list.
    """

    def __init__(
        self,
        project: str = "ponder",
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] | None = None,
        mode: str | None = None,
        patience: float = 60.0,
        directory: str = ".",
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, (int, float)) or not 0 < patience < float("inf"):
            raise UserError(f"logger.patience={patience} is out of range", "allowed: a number of seconds above 0")
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags or ()):
            raise UserError(f"logger.tags={tags} is no list of words", "as in 'logger.tags=[baseline,paper]'")
        told = "WANDB_MODE" if mode is None else "logger.mode"
        mode = (os.environ.get("WANDB_MODE") or "offline") if mode is None else mode
        mode = {"dryrun": "offline", "run": "online"}.get(mode, mode)  # W&B's older names
        if mode not in MODES:
            raise UserError(f"{told}={mode} is unknown", f"allowed: {', '.join(MODES)}")
        self._given: dict[str, Any] = {"project": project, "entity": entity, "group": group, "job_type": job_type}
        self._given["tags"] = None if tags is None else list(tags)
        self._mode, self._patience, self._directory = mode, float(patience), Path(directory)
        self._queue: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._left = False

    def start(self, run: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._thread = threading.Thread(target=self._work, args=(run,), name="wandb", daemon=True)
        self._thread.start()

    def row(self, row: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        if self._thread and self._thread.is_alive():  # one that gave up takes no rows
            self._queue.put(row)

    def close(self) -> None:
        """See `ponder.protocols.Recorder`."""
        if self._thread:
            self._queue.put(None)
            self._thread.join(self._patience)
            self._left = self._thread.is_alive()
            if self._left:
                log.warning("W&B is left behind: it had not ended after %g s (logger.patience)", self._patience)

    def _work(self, run: Mapping[str, Any]) -> None:
        try:
            session = Session(run, self._given, self._mode, self._patience, self._directory)
            while (row := self._queue.get()) is not None:
                session.row(row)
            session.close()
        except Exception as error:
            if not self._left:
                log.warning("W&B is left out of this run: %s: %s", type(error).__name__, error)


@dataclass
class Journal:
    """What a W&B run was told by the processes that worked on it, so that none tells it twice.

    Attributes:
        path: its file, beside W&B's.
        place: project, entity and mode; elsewhere nothing was told.
        questions: how many finished questions the history has.
        figures: the last of these.
        curves: a digest of the curves that the history has.
        table: a digest of the table that the history has.
    """

    path: Path
    place: Sequence[str | None]
    questions: int = 0
    figures: Figures = field(default_factory=dict)
    curves: str = ""
    table: str = ""

    @classmethod
    def read(cls, path: Path, place: Sequence[str | None]) -> Journal:
        """The journal in a file; a new one where that is missing, torn, or of another place."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["place"] == list(place):
                return cls(**{**stored, "path": path})
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return cls(path, list(place))

    def write(self) -> None:
        """Keeps it; whoever is killed here leaves the one of before."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({**asdict(self), "path": None}), encoding="utf-8")
        new.replace(self.path)


class Session:
    """One process's part of a W&B run; all of it runs in the recorder's thread.

    Args:
        run: what `Recorder.start` is told.
        given: project, entity, group, job type and tags; None for what the run's configuration says.
        mode: one of `MODES`.
        patience: how many seconds W&B may take to begin and to end.
        directory: where W&B keeps its files.
    """

    def __init__(
        self, run: Mapping[str, Any], given: Mapping[str, Any], mode: str, patience: float, directory: Path
    ) -> None:
        directory = directory.resolve()
        (directory / "wandb").mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault(
            "WANDB_DATA_DIR", str(directory / "wandb")
        )  # where artifacts wait, not in the home folder
        import wandb

        config = run["config"]
        self._search, self._n = named(config, "search", ""), int((config.get("budget") or {}).get("n") or 1)
        self._questions, self._tally = max(run["questions"], 1), Tally()
        self._id = re.sub(r"[^\w.-]", "-", run["run_id"])[-128:]
        out = config.get("out")
        self._folders = [directory / run["run_id"], *([Path(out) / run["run_id"]] if out else [])]
        place = [given["project"], given["entity"], mode]
        self._journal = Journal.read(directory / "wandb" / f"{self._id}.json", place)
        limits = {"init_timeout": patience, "finish_timeout": patience}
        known = {name: limit for name, limit in limits.items() if hasattr(wandb.Settings(), name)}
        self._run: Any = wandb.init(
            **{**defaults(config), **{key: value for key, value in given.items() if value is not None}},
            name=run["run_id"],
            id=self._id,
            resume="allow",
            dir=str(directory),
            config=dict(config),
            mode=mode,  # type: ignore[arg-type]
            reinit="create_new",  # a run of a sweep that was left behind is let be
            settings=wandb.Settings(console="off", silent=True, **known),
        )
        for name, axis in steps().items():
            self._run.define_metric(name, step_metric=axis)

    def row(self, row: Mapping[str, Any]) -> None:
        """Takes a row in, and logs the figures so far unless an earlier process has."""
        self._tally.add(question(row, self._search, self._n, self._questions))
        if len(self._tally.questions) > self._journal.questions:
            self._log_figures(self._tally.running())

    def close(self) -> None:
        """Logs what can be told at the end, and ends the W&B run; as failed if questions are missing."""
        import wandb

        tally, complete = self._tally, len(self._tally.questions) >= self._questions
        if tally.questions:
            if tally.running() != self._journal.figures:  # a question that had failed was tried again
                self._log_figures(tally.running())
            columns, lines = tally.table()
            table = wandb.Table(columns=columns, data=lines)
            if (known := _digest([columns, lines])) != self._journal.table:
                self._run.log({STEP: len(lines), TABLE: table})
                self._journal.table = known
            curves = [tally.anytime(), tally.scaling()] if complete else []  # a later curve would not replace one
            if complete and (known := _digest(curves)) != self._journal.curves:
                for point in chain(*curves):
                    self._run.log(point)
                self._journal.curves = known
            self._journal.write()
            # The summary is whole in itself: W&B may not have that of an earlier process at hand.
            ends = {name: value for curve in curves for point in curve[-1:] for name, value in point.items()}
            self._run.summary.update({**ends, **tally.summary(), TABLE: table})
            self._log_files()
        self._run.finish(exit_code=0 if complete else 1)

    def _log_figures(self, figures: Figures) -> None:
        self._run.log(figures)
        self._journal.questions, self._journal.figures = len(self._tally.questions), figures
        self._journal.write()

    def _log_files(self) -> None:
        """The rows themselves, so that curves can be drawn anew."""
        import wandb

        folder = next((one for one in self._folders if (one / FILES[0]).exists()), None)
        if folder:
            artifact = wandb.Artifact(f"rows-{self._id}"[:128], type="rows")
            for name in FILES:
                artifact.add_file(str(folder / name), name=name)
            self._run.log_artifact(artifact)


def defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Group, job type and tags of a run, as its configuration says."""
    parts = {part: named(config, part, "") for part in ("search", "verifier", "model")}
    values = {**parts, "n": (config.get("budget") or {}).get("n"), "seed": config.get("seed")}
    tags = [f"{key}={value}"[:64] for key, value in values.items() if value not in (None, "")]
    if config.get("rescored_from"):
        tags.append("rescored")
    return {"group": named(config, "task", "") or None, "job_type": parts["search"] or None, "tags": tags}


def _digest(value: Any) -> str:
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()
