"""A benchmark's rows, from the hub or from a file; what is wrong with a file is told by its line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.errors import UserError

Row = dict[str, Any]
Fields = Mapping[str, type | tuple[type, ...]]

_HALF = re.compile("[\ud800-\udfff]")
_ENDINGS = (".jsonl", ".jsonl.gz", ".json.gz", ".parquet")


def rows(
    path: str | None,
    fields: Fields,
    *,
    hub: Sequence[str] = (),
    split: str = "test",
    id_field: str | None = None,
    check: Callable[[Row], object] | None = None,
    key: str = "task.path",
) -> list[Row]:
    """The rows of a benchmark, each checked.

    Args:
        path: a file: jsonl, jsonl.gz or parquet; None loads from the hub.
        fields: what each row must have, by name: the type, or several.
        hub: arguments of `datasets.load_dataset`: the data set's name, and its configuration if it has several.
        split: the hub's split.
        id_field: a field that no two rows may share.
        check: called with each row; a ValueError says what else is wrong with it.
        key: how the user names the path.

    Returns:
        The rows in their order; at least one. Fields that were not asked for are kept.

    Raises:
        UserError: no file, no rows, or a row that is none; names the file and its line.
    """
    where = f"{'/'.join(hub)}, row " if path is None else f"{path}:"
    found = _from_hub(hub, split, key) if path is None else _from_file(Path(path), key)
    kept: list[Row] = []
    ids: dict[Any, int] = {}
    for number, row in found:
        try:
            _checked(row, fields)
            if id_field is not None and (first := ids.setdefault(row[id_field], number)) != number:
                raise ValueError(f"{id_field} {row[id_field]!r} is that of line {first}, too")
            if check is not None:
                check(row)
        except ValueError as error:
            raise UserError(f"{key}: {where}{number}: {error}", _needed(fields)) from error
        kept.append(row)
    if not kept:
        raise UserError(f"{key}={path} has no rows", f"allowed: one row a line; {_needed(fields)}")
    return kept


def _checked(row: Any, fields: Fields) -> None:
    if not isinstance(row, dict):
        raise ValueError(f"a {type(row).__name__} is no row")
    for name, kinds in fields.items():
        if name not in row:
            raise ValueError(f"no field {name!r}; it has {', '.join(map(repr, row)) or 'none'}")
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        value = row[name]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise ValueError(f"{name}={value!r} is a {type(value).__name__}, not {_or(kinds)}")
        if isinstance(value, str) and str in allowed and not value.strip():
            raise ValueError(f"{name} is empty")
        if isinstance(value, str) and _HALF.search(value):
            raise ValueError(f"{name} is no text: it has half a character, from \\ud800 to \\udfff")


def _from_file(path: Path, key: str) -> Iterator[tuple[int, Any]]:
    """Rows with their line numbers; blank lines at the end are none."""
    if not path.is_file():
        raise UserError(f"{key}={path} is no file", f"allowed: a file ({', '.join(_ENDINGS)}), or null for the hub")
    if path.suffix == ".parquet":
        yield from enumerate(_from_parquet(path, key), start=1)
        return
    read = gzip.open if path.suffix == ".gz" else open
    try:
        with read(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line.decode("utf-8-sig"))
                except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or a number beyond all limits
                    raise UserError(
                        f"{key}: {path}:{number} is no JSON: {error}", "one object a line, UTF-8"
                    ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{key}={path} cannot be read: {error}", f"allowed: {', '.join(_ENDINGS)}") from error


def _from_parquet(path: Path, key: str) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UserError(f"{key}={path} needs pyarrow", "pip install 'ponder[hub]', or give a jsonl file") from error
    try:
        return list(parquet.read_table(path).to_pylist())
    except (ArrowException, OSError) as error:
        raise UserError(f"{key}={path} cannot be read: {error}", f"allowed: {', '.join(_ENDINGS)}") from error


def _from_hub(hub: Sequence[str], split: str, key: str) -> Iterator[tuple[int, Any]]:
    if not hub:
        raise UserError(f"{key}=null, and this task has no home on the hub", f"give a file: {', '.join(_ENDINGS)}")
    try:
        from datasets import load_dataset

        data = load_dataset(*hub, split=split)
    except Exception as error:
        raise UserError(
            f"{key} is null, and {'/'.join(hub)} could not be loaded: {type(error).__name__}: {error}",
            f"pip install 'ponder[hub]' and allow the network, or set {key} to a file ({', '.join(_ENDINGS)})",
        ) from error
    yield from enumerate((dict(row) for row in data), start=1)


def first(limit: int | None, key: str = "task.limit") -> int | None:
    """A limit, if it is one: how many rows to keep, None for all.

    Raises:
        UserError: neither null nor a whole number from 1.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UserError(f"{key}={limit!r} is out of range", "allowed: a whole number from 1, or null for all")
    return limit


def _needed(fields: Fields) -> str:
    named = ", ".join(f"{name} ({_or(kinds)})" for name, kinds in fields.items())
    return f"each row needs {named}" if named else "mend the row, or leave it out"


def _or(kinds: type | tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
