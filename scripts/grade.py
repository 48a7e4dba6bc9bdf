"""The command `ponder-grade`: of each pair of a right answer and a prediction, whether they are equal."""

from __future__ import annotations

import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponder.errors import UserError
from ponder.scripts.command import arguments, command
from ponder.tasks import equivalence
from ponder.tasks.grading import Options, equivalent

USAGE = """\
ponder-grade FILE [KEY=VALUE ...]: is each prediction equal to the right answer?

FILE holds one JSON object a line (also .gz; - for standard input) with `gold` and `pred`, perhaps `options`. Each is
printed again in order, with `equivalent` added. Strict: a bare answer, or the last box of a reply, compared whole.

  ponder-grade pairs.jsonl
  ponder-grade pairs.jsonl last_number=true > graded.jsonl

KEYS, for rows without options

  stated=true        without a box, "the answer is X" or "#### X" is read
  last_number=true   without these, the last number is
  percent=true       an answer and its hundredfold are equal

`options` of a row may also have match_types, precision, strict, allow_set_relation_comp, language (whole replies, as
Math-Verify and lighteval read them), symmetric and normalisation: docs/grading.md.

EXIT CODES  0 done, 1 an error of ponder, 2 a mistake in the command or the file
"""
FLAGS = ("stated", "last_number", "percent")


@dataclass(frozen=True)
class Pair:
    """One row, with how it is compared."""

    row: Mapping[str, Any]
    options: Options

    def graded(self) -> dict[str, Any]:
        """The row with `equivalent` added."""
        return {**self.row, "equivalent": equivalent(self.row["gold"], self.row["pred"], self.options)}


def pairs(lines: Iterable[bytes], name: str, default: Options) -> list[Pair]:
    """The rows of a file, all checked before one is compared.

    Raises:
        UserError: a line that is no such row; names file and line.
    """
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig"))
            if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("gold", "pred")):
                raise ValueError("gold and pred are texts")
            options = row.get("options")
            if not isinstance(options, (dict, type(None))):
                raise ValueError(f"options={options!r} is no object")
            found.append(Pair(row, Options.of(options) if options else default))
        except (ValueError, RecursionError, UserError) as error:
            what = f"{error.message}; {error.hint}" if isinstance(error, UserError) else str(error)
            raise UserError(f"{name}:{number}: {what}", "each line is an object with gold and pred") from error
    if not found:
        raise UserError(f"{name} has no rows", "each line is an object with gold and pred")
    return found


def graded(found: Sequence[Pair]) -> Iterator[dict[str, Any]]:
    """Each row with its verdict, in order, compared side by side in the workers."""
    threads = ThreadPoolExecutor(equivalence.WORKERS)
    try:
        yield from threads.map(Pair.graded, found)
    finally:
        threads.shutdown(cancel_futures=True)


def _work(argv: Sequence[str]) -> None:
    choices = dict.fromkeys(FLAGS, ("true", "false"))
    files, given = arguments("ponder-grade", argv, dict.fromkeys(FLAGS, "false"), choices)
    if len(files) != 1:
        raise UserError(f"{len(files)} files given", "name one: ponder-grade FILE")
    default = Options.of({name: given[name] == "true" for name in FLAGS})
    found = pairs(_lines(files[0]), files[0], default)
    try:
        for row in graded(found):
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` perhaps, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lines(name: str) -> list[bytes]:
    if name == "-":
        return sys.stdin.buffer.readlines()
    if not Path(name).is_file():
        raise UserError(f"{name} is no file", "allowed: a jsonl file (also .gz), or - for standard input")
    try:
        with (gzip.open if name.endswith(".gz") else open)(name, "rb") as lines:
            return list(lines)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name} cannot be read: {error}", "allowed: jsonl, or gzip of it") from error


def main(argv: Sequence[str] | None = None) -> None:
    """The console command `ponder-grade`."""
    command("ponder-grade", USAGE, _work, argv)


if __name__ == "__main__":
    main()
