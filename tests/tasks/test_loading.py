"""What is wrong with a file of rows is told with its line, whatever it is; nothing else than a UserError comes out."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks.loading import Fields, first, rows
from tests.scripts.command import environment

FIELDS: Fields = {"id": str, "question": str, "answer": (str, int)}
GOOD = {"id": "a", "question": "1 + 1?", "answer": "2"}


def line(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode() + b"\n"


def written(path: Path, content: bytes) -> str:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def test_rows_come_in_their_order_with_all_their_fields(tmp_path: Path) -> None:
    content = line(extra=[1, {"x": None}]) + b"\n" + line(id="b", answer=3) + line(id="c", question="\u00a7 \U0001f600")
    plain = rows(written(tmp_path / "rows.jsonl", content), FIELDS, id_field="id")
    assert [row["id"] for row in plain] == ["a", "b", "c"]
    assert plain[0]["extra"] == [1, {"x": None}]
    assert rows(written(tmp_path / "rows.jsonl.gz", content), FIELDS) == plain
    assert rows(written(tmp_path / "windows.jsonl", b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")), FIELDS) == plain


def test_parquet_is_read_as_jsonl_is(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    given = [GOOD, {**GOOD, "id": "b", "question": "2 + 2?"}]
    parquet.write_table(arrow.Table.from_pylist(given), tmp_path / "rows.parquet")
    assert rows(str(tmp_path / "rows.parquet"), FIELDS, id_field="id") == given
    parquet.write_table(arrow.Table.from_pylist([GOOD, GOOD]), tmp_path / "twice.parquet")
    with pytest.raises(UserError, match=r"twice\.parquet:2: id 'a' is that of line 1, too"):
        rows(str(tmp_path / "twice.parquet"), FIELDS, id_field="id")
    with pytest.raises(UserError, match=r"broken\.parquet cannot be read"):
        rows(written(tmp_path / "broken.parquet", b"PAR1 and no more"), FIELDS)


BAD = {
    "no json": (b'{"id": "b", ', "is no JSON"),
    "two values": (b"{} {}", "is no JSON"),
    "not utf-8": ('{"id": "b", "question": "\u00e9"}'.encode("latin-1"), "is no JSON: 'utf-8' codec"),
    "deeper than python goes": (b"[" * 100_000, "is no JSON"),
    "a number longer than python reads": (b'{"answer": ' + b"9" * 5000 + b"}", "is no JSON"),
    "a list": (b"[1]", "a list is no row"),
    "a null": (b"null", "a NoneType is no row"),
    "a missing field": (b'{"id": "b", "answer": "2"}', "no field 'question'; it has 'id', 'answer'"),
    "nothing": (b"{}", "no field 'id'; it has none"),
    "a wrong type": (line(id="b", question=5), "question=5 is a int, not str"),
    "a null field": (line(id="b", answer=None), "answer=None is a NoneType, not str or int"),
    "a bool is no int": (line(id="b", answer=True), "answer=True is a bool"),
    "an empty text": (line(id="b", question=" \n"), "question is empty"),
    "half a character": (line(id="b", question="\ud83d"), "question is no text: it has half a character"),
    "an id twice": (line(question="2 + 2?"), "id 'a' is that of line 1, too"),
    "what the task checks": (line(id="b", answer="-1"), "answer is below 0"),
}


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_with_its_file_and_line(tmp_path: Path, case: str, ending: str) -> None:
    bad, words = BAD[case]
    path = written(tmp_path / f"rows.{ending}", line() + b"\n" + bad.rstrip(b"\n") + b"\n" + line(id="z"))

    def check(row: dict[str, Any]) -> None:
        if row["answer"] == "-1":
            raise ValueError("answer is below 0")

    with pytest.raises(UserError) as told:
        rows(path, FIELDS, id_field="id", check=check, key="task.rows")
    assert str(told.value).startswith(f"task.rows: {path}:3")
    assert words in str(told.value)
    assert told.value.hint


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\n \n\n"):
        with pytest.raises(UserError, match=r"task\.path=.*rows\.jsonl has no rows"):
            rows(written(tmp_path / "rows.jsonl", content), FIELDS)


@pytest.mark.parametrize("damage", ["truncated", "no archive", "corrupt"])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: str) -> None:
    content = b"".join(line(id=str(i), question=f"{i * i} + {i}?") for i in range(500))
    whole = gzip.compress(content)
    (tmp_path / "rows.jsonl.gz").write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "no archive": content,
            "corrupt": whole[:60] + bytes(byte ^ 0xFF for byte in whole[60:90]) + whole[90:],
        }[damage]
    )
    with pytest.raises(UserError, match=r"rows\.jsonl\.gz"):
        rows(str(tmp_path / "rows.jsonl.gz"), FIELDS)


def test_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.jsonl", tmp_path):
        with pytest.raises(UserError, match=r"task\.path=.* is no file"):
            rows(str(path), FIELDS)
    with pytest.raises(UserError, match=r"task\.corpus=null, and this task has no home on the hub"):
        rows(None, FIELDS, key="task.corpus")


def test_the_hub_is_asked_by_name_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = ModuleType("datasets")
    asked = []

    def load_dataset(*names: str, split: str) -> list[dict[str, Any]]:
        asked.append((names, split))
        return [GOOD, {**GOOD, "id": "b", "answer": 1.5}] if len(asked) > 1 else [GOOD]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    assert rows(None, FIELDS, hub=("org/set", "main"), split="train") == [GOOD]
    with pytest.raises(UserError, match=r"task\.path: org/set, row 2: answer=1\.5 is a float"):
        rows(None, FIELDS, hub=("org/set",))
    assert asked == [(("org/set", "main"), "train"), (("org/set",), "test")]


def test_a_hub_that_cannot_be_reached_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = ModuleType("datasets")

    def load_dataset(*names: str, split: str) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    for _ in range(2):
        with pytest.raises(UserError, match=r"org/set could not be loaded: .*") as told:
            rows(None, FIELDS, hub=("org/set",))
        assert "task.path" in told.value.hint
        monkeypatch.setitem(sys.modules, "datasets", None)  # as if the package were missing


def test_the_real_package_says_that_there_is_no_hub(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    program = (
        "from ponder.tasks.loading import rows\nfrom ponder.errors import UserError\n"
        "try:\n    rows(None, {}, hub=('nobody/nothing',))\nexcept UserError as error:\n    print(error)"
    )
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**environment(), **offline}, capture_output=True, text=True, check=True
    )
    assert "nobody/nothing could not be loaded" in done.stdout


def test_a_limit_is_a_whole_number_from_1() -> None:
    assert [first(given) for given in (None, 1, 500)] == [None, 1, 500]
    for given in (0, -1, True, 1.5, "3"):
        with pytest.raises(UserError, match=r"task\.limit="):
            first(given)  # type: ignore[arg-type]
