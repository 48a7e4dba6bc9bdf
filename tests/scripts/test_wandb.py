"""W&B, offline and with its real client: it holds what the rows hold, and a broken one hurts no run."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.command import by_problem, environment, ponder, ponder_here, rows, runs

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")  # W&B's own

GIVEN = ("debug=scripted", "logger=wandb", "search=best_of_n", "budget.n=4", "task.limit=5")
BLOCK, HEADER, START = 1 << 15, 7, 7


def offline() -> dict[str, str]:
    """The environment of somebody without an account, whatever this machine's is."""
    kept = {key: value for key, value in environment().items() if not key.startswith("WANDB_")}
    return {**kept, "WANDB_MODE": "offline"}


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format, blocks of 32 KiB, after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, piece = path.read_bytes(), START, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        piece += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield Record.FromString(piece)
            piece = b""


def logged(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]], Path]:
    """The configuration, the history and the files of the newest W&B run under `out`."""
    folder = sorted((out / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime_ns)[-1]
    (file,) = folder.glob("*.wandb")
    config: dict[str, Any] = {}
    history = []
    for record in records(file):
        if record.HasField("run"):
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if record.HasField("history"):
            items = record.history.item
            history.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items})
    return config, history, folder


def test_it_holds_what_the_rows_hold(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    ponder(tmp_path, *GIVEN, env=offline()).well()
    (run,) = runs(tmp_path / "runs")
    stored = rows(run)
    config, history, folder = logged(tmp_path / "runs")
    assert config["search"]["name"] == "best_of_n"
    assert config["budget"]["n"] == 4
    steps = [entry for entry in history if "accuracy/argmax" in entry]
    assert [entry["questions"] for entry in steps] == [1, 2, 3, 4, 5]
    for entry in steps:
        so_far = stored[: entry["questions"]]
        for name in stored[0]["answers"]:
            right = [row["answers"][name]["correct"] for row in so_far]
            assert entry[f"accuracy/{name}"] == pytest.approx(sum(right) / len(right))
        for count in ("new_tokens", "prompt_tokens", "verifier_calls", "flops"):
            assert entry[count] == sum(cost[count] for row in so_far for cost in row["cost"].values()), count
    assert steps[-1]["new_tokens"] > 0
    (table,) = folder.rglob("rows*.table.json")
    content = json.loads(table.read_text())
    cells = [dict(zip(content["columns"], line, strict=True)) for line in content["data"]]
    assert [cell["problem_id"] for cell in cells] == [row["problem_id"] for row in stored]
    assert [cell["answer"] for cell in cells] == [row["answers"][row["select"]]["answer"] for row in stored]

    # A resumed run that has nothing left to do shows the same figures once more.
    ponder(tmp_path, *GIVEN, env=offline()).well()
    assert rows(run) == stored
    again = [entry for entry in logged(tmp_path / "runs")[1] if "accuracy/argmax" in entry]
    assert again[-1]["new_tokens"] == steps[-1]["new_tokens"]
    assert again[-1]["accuracy/argmax"] == steps[-1]["accuracy/argmax"]


def test_a_folder_that_cannot_be_written_hurts_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = ponder(tmp_path, *GIVEN, "logger.directory=file/below", env=offline()).well()
    assert "W&B is left out" in done.err
    assert "Traceback" not in done.err
    (run,) = runs(tmp_path / "runs")
    assert len(rows(run)) == 5


@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_a_broken_client_hurts_no_run(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")

    class Run:
        """A W&B run of which one method fails."""

        def __init__(self) -> None:
            self.summary: dict[str, Any] = {}

        def __getattr__(self, name: str) -> Any:
            return fails if name == broken else lambda *_, **__: None

    def fails(*_: object, **__: object) -> None:
        raise ConnectionError("no route to W&B")

    monkeypatch.setattr(wandb, "init", fails if broken == "init" else lambda **_: Run())
    ponder_here(tmp_path, *GIVEN).well()
    ponder_here(tmp_path, *GIVEN, "logger=none", "out=plain").well()
    (run,), (plain,) = runs(tmp_path / "runs"), runs(tmp_path / "plain")
    assert by_problem(rows(run)) == by_problem(rows(plain))
    assert all(row["error"] is None for row in rows(run))
