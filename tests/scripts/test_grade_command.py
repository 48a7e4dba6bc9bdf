"""ponder-grade: rows in, the same rows with a verdict out, in their order."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ponder.scripts.grade import main
from ponder.tasks import equivalence
from ponder.tasks.equivalence import close
from tests.scripts.command import Done, environment, here

ROWS = [
    {"gold": "1/2", "pred": r"\frac{1}{2}", "id": "a"},
    {"gold": "2", "pred": "It is 2"},
    {"gold": "2", "pred": r"So \boxed{2}.", "note": {"any": ["thing"]}},
    {"gold": "50", "pred": "0.5"},
    {"gold": "B", "pred": "the answer is B", "options": {"match_types": ["NativeLetters"]}},
    {"gold": "2", "pred": "I got 1, so 2", "options": {"match_types": ["expr"]}},
]


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """Workers end with this file."""
    yield
    close()


def grade(folder: Path, *given: str) -> Done:
    """Runs the command."""
    return here("ponder-grade", partial(main, given), folder)


def written(folder: Path, *rows: Any, name: str = "pairs.jsonl") -> Path:
    """A file of rows."""
    path = folder / name
    lines = (
        row if isinstance(row, bytes) else (row if isinstance(row, str) else json.dumps(row)).encode() for row in rows
    )
    written_ = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(written_) if name.endswith(".gz") else written_)
    return path


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_rows_come_back_in_order_with_a_verdict(name: str, tmp_path: Path) -> None:
    written(tmp_path, *ROWS, name=name)
    out = [json.loads(line) for line in grade(tmp_path, name).well().out.splitlines()]
    assert [{key: row[key] for key in row if key != "equivalent"} for row in out] == ROWS
    assert [row["equivalent"] for row in out] == [True, False, True, False, True, True]


def test_what_is_loose_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path, *ROWS[:4])
    done = grade(tmp_path, "pairs.jsonl", "last_number=true", "percent=true").well()
    assert [json.loads(line)["equivalent"] for line in done.out.splitlines()] == [True] * 4


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.BytesIO(b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode() + b"\n\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines, encoding="utf-8"))
    assert json.loads(grade(tmp_path, "-").well().out)["equivalent"] is True


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "pairs.jsonl:2: Expecting property name"),
        ("[" * 100_000, "pairs.jsonl:2: maximum recursion depth exceeded"),
        (b"\xff", "pairs.jsonl:2: 'utf-8' codec can't decode byte 0xff"),
        ({"gold": "1"}, "pairs.jsonl:2: gold and pred are texts"),
        ({"gold": "1", "pred": 2}, "pairs.jsonl:2: gold and pred are texts"),
        ([1], "pairs.jsonl:2: gold and pred are texts"),
        ({"gold": "1", "pred": "1", "options": []}, "pairs.jsonl:2: options=[] is no object"),
        ({"gold": "1", "pred": "1", "options": {"x": 1}}, "pairs.jsonl:2: option 'x' is unknown; allowed: stated"),
    ],
)
def test_a_bad_row_is_told_before_any_is_graded(row: Any, words: str, tmp_path: Path) -> None:
    written(tmp_path, ROWS[0], row)
    done = grade(tmp_path, "pairs.jsonl")
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_hostile_rows_take_their_limit_and_the_others_are_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(equivalence, "LIMIT", 1.0)
    odd = ["9^{9^{9^{9}}} + x", "9" * 1_000_000, r"\frac{" * 10_000, r"\boxed{" * 1_000, "\ud800", "\x00", ""]
    written(tmp_path, *({"gold": "2", "pred": pred} for pred in odd), {"gold": "1/2", "pred": "0.5"})
    out = [json.loads(line) for line in grade(tmp_path, "pairs.jsonl").well().out.splitlines()]
    assert [row["pred"] for row in out] == [*odd, "0.5"]
    assert [row["equivalent"] for row in out] == [False] * len(odd) + [True]


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    written(tmp_path, *({"gold": str(i), "pred": str(i), "long": "x" * 1000} for i in range(1000)))
    with subprocess.Popen(
        [sys.executable, "-m", "ponder.scripts.grade", "pairs.jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    ) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        assert json.loads(done.stdout.readline())["equivalent"] is True
        done.stdout.close()
        assert (done.wait(60), done.stderr.read()) == (0, "")


def test_mistakes(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b"{}")[:10])
    for given, words in [
        (["nope.jsonl"], "nope.jsonl is no file"),
        (["pairs.jsonl"], "pairs.jsonl has no rows"),
        (["torn.jsonl.gz"], "torn.jsonl.gz cannot be read"),
        (["pairs.jsonl", "percent=maybe"], "percent=maybe: unknown value"),
        (["pairs.jsonl", "tolerance=1"], "unknown key 'tolerance'"),
        (["pairs.jsonl", "-"], "2 files given"),
    ]:
        done = grade(tmp_path, *given)
        assert done.code == 2
        assert words in done.err
    assert "ponder-grade FILE" in grade(tmp_path, "--help").well().out
