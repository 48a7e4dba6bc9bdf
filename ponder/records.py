"""Rows: one JSON line a question, on disk before the next question counts as done."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ponder.context import Report
from ponder.errors import UserError
from ponder.types import Cost, Population, Score, Trace

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, a repeated question's last one only; a torn last line is dropped.

    Raises:
        UserError: a line other than the last is no JSON object; names file and line.
    """
    rows: dict[str, Row] = {}
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows[row["problem_id"]] = row
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise UserError(
                f"{path}:{number} is no row: {error}", "delete the line; its question will run again"
            ) from error
    return list(rows.values())


class RowFile:
    """rows.jsonl, open for one run: appends are flushed and fsynced, a torn tail is cut off.

    Raises:
        UserError: another process has the file open.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: IO[bytes] = path.open("ab+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"{path} is being written by another run", "wait for it, or set out=DIR to another folder"
            ) from error
        try:
            self._file.seek(0)
            whole = self._file.read()
            self._file.truncate(whole.rfind(b"\n") + 1)
            self.rows = read_rows(path)
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Row) -> None:
        """Writes a row; when this returns, the row survives a power cut."""
        self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file and lets other runs open it."""
        self._file.close()


def search_fields(
    population: Population,
    reports: Sequence[Report],
    score: Callable[[Trace], float | None],
    answer: Callable[[Trace], str | None],
    grade: Callable[[str | None], bool],
) -> Row:
    """What a row tells of a search: traces, final population, anytime points.

    Traces are stored once; a report speaks of a prefix as (trace, depth, log weight). Unfinished ones that no stored
    trace continues are stored as well, so that nothing that a report saw is lost.
    """
    seen = dict.fromkeys(population.traces)
    for report in reports:
        seen.update(dict.fromkeys(report.population.traces))
    # Longest first: a prefix of a trace that is stored already needs no place of its own.
    places: dict[tuple[object, ...], tuple[int, int]] = {}
    stored: list[Trace] = []
    for trace in sorted(seen, key=len, reverse=True):
        if trace.closed or _path(trace) not in places:
            for depth in range(len(trace) + 1):
                places.setdefault(_path(trace)[:depth], (len(stored), depth))
            places[_path(trace)] = (len(stored), len(trace)) if not trace.closed else places[_path(trace)]
            stored.append(trace)
    return {
        "traces": [_trace_fields(trace, score(trace), answer(trace), grade) for trace in stored],
        "population": [[places[_path(t)][0], w] for t, w in _weighted(population)],
        "reports": [
            {
                "cost": cost_fields(report.cost),
                "seconds": round(report.seconds, 4),
                "population": [[*places[_path(t)], w] for t, w in _weighted(report.population)],
            }
            for report in reports
        ],
    }


def cost_fields(spent: Mapping[str, Cost]) -> dict[str, dict[str, float]]:
    """Costs by role as plain numbers."""
    return {role: cost.asdict() for role, cost in sorted(spent.items())}


def _path(trace: Trace) -> tuple[object, ...]:
    return tuple((step.token_ids or step.text, step.why == "eos") for step in trace.steps)


def _weighted(population: Population) -> list[tuple[Trace, float]]:
    return [(t, max(float(w), -1e30)) for t, w in zip(population.traces, population.log_weights, strict=True)]


def _trace_fields(trace: Trace, score: float | None, answer: str | None, grade: Callable[[str | None], bool]) -> Row:
    return {
        "steps": [step.text for step in trace.steps],
        "why": [step.why for step in trace.steps],
        "tokens": [len(step.token_ids) for step in trace.steps],
        "logprobs": [round(sum(step.logprobs), 6) for step in trace.steps],
        "score": None if score is None else float(score),
        "scores": list(score.steps) if isinstance(score, Score) else [],
        "finished": trace.finished,
        "answer": answer,
        "correct": grade(answer),
    }
