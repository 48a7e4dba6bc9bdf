"""rows.jsonl on disk: one JSON line a question, there before the next question counts as done."""

from __future__ import annotations

import fcntl
import json
import math
import os
from pathlib import Path
from typing import IO, Any

from ponder.errors import UserError
from ponder.runner import Row


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
        self._file.write(json.dumps(_finite(row), ensure_ascii=False, allow_nan=False, default=str).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file and lets other runs open it."""
        self._file.close()


def _finite(value: Any) -> Any:
    """The value as JSON can hold it, which knows no infinity: a row is never lost for a strange number."""
    if isinstance(value, float) and not math.isfinite(value):
        return math.copysign(1e30, value) if math.isinf(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
