"""rows.jsonl on disk: one JSON line a question, there before the next question counts as done."""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import IO, Any

from ponder.errors import UserError
from ponder.runner import Row

ABOUT = "run.json"


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, a repeated question's last one only; a torn last line is dropped.

    Raises:
        UserError: a line other than the last is no JSON object; names file and line.
    """
    return list({row["problem_id"]: row for row in each_row(path)}.values())


def each_row(path: Path) -> Iterator[Row]:
    """All rows of a file, one at a time, repeats included; see `read_rows`."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                hash(row["problem_id"])
            except (ValueError, KeyError, TypeError) as error:
                if not line.endswith(b"\n"):
                    break
                raise UserError(
                    f"{path}:{number} is no row: {error}", "delete the line; its question will run again"
                ) from error
            yield row


def read_about(folder: Path, *needed: str) -> dict[str, Any]:
    """What the run.json of a run's folder holds.

    Args:
        folder: where rows.jsonl is.
        needed: keys within its configuration that must be there, such as "select.name".

    Raises:
        UserError: it is missing, or not what `ponder` writes.
    """
    path = folder / ABOUT
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        about["config"].keys()
        for key in needed:
            reduce(getitem, key.split("."), about["config"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is missing or unreadable ({error})", "it stands beside rows.jsonl in every run of ponder"
        ) from error
    return about


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes a run's run.json."""
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


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
        self._file.write(json.dumps(finite(row), ensure_ascii=False, allow_nan=False, default=str).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file and lets other runs open it."""
        self._file.close()


def finite(value: Any) -> Any:
    """The value as JSON can hold it, which knows no infinity: a row is never lost for a strange number."""
    if isinstance(value, float) and not math.isfinite(value):
        return math.copysign(1e30, value) if math.isinf(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value
