"""W&B, offline and with its real client: it holds what the rows hold, and a broken or slow one hurts no run."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.scripts.metrics import mean_interval, wilson
from ponder.scripts.wandb_figures import ANYTIME, FINAL, MEAN, RUNNING, SCALING, STEP, STOPS, TABLE, steps
from ponder.scripts.wandb_recorder import Journal, WandbRecorder
from tests.scripts.command import by_problem, environment, ponder, ponder_here, rows, runs

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")  # W&B's own

GIVEN = ("debug=scripted", "logger=wandb", "search=best_of_n", "budget.n=4", "task.limit=5")
BLOCK, HEADER, START = 1 << 15, 7, 7
COSTS = ("new_tokens", "generated_tokens", "verifier_tokens", "verifier_calls", "flops", "seconds")


def offline() -> dict[str, str]:
    """The environment of somebody without an account, whatever this machine's is."""
    return {key: value for key, value in environment().items() if not key.startswith("WANDB_")}


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


@dataclass
class Logged:
    """What one process's part of a W&B run holds."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None

    def having(self, name: str) -> list[dict[str, Any]]:
        """The points of the history that have a metric."""
        return [point for point in self.history if name in point]

    def table(self) -> list[dict[str, Any]]:
        """The lines of the newest table."""
        path = max(self.folder.rglob(f"{TABLE}*.table.json"), key=lambda path: path.stat().st_mtime_ns)
        content = json.loads(path.read_text(encoding="utf-8"))
        return [dict(zip(content["columns"], line, strict=True)) for line in content["data"]]


def logged(out: Path, run_id: str = "") -> list[Logged]:
    """The parts of a W&B run under `out`, oldest first."""
    folders = sorted((out / "wandb").glob(f"offline-run-*{run_id}"), key=lambda path: path.stat().st_mtime_ns)
    return [_logged(folder) for folder in folders]


def _logged(folder: Path) -> Logged:
    found = Logged(folder)
    (file,) = folder.glob("*.wandb")
    for record in records(file):
        if record.HasField("run"):
            found.run = record.run
            found.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if record.HasField("history"):
            items = record.history.item
            found.history.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items})
        if record.HasField("summary"):
            items = record.summary.update
            found.summary |= {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
        if record.HasField("metric"):
            found.axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        if record.HasField("artifact"):
            found.artifacts.append(record.artifact)
        if record.HasField("exit"):
            found.exit_code = record.exit.exit_code
    return found


def made_rows(search: str, select: str, questions: int = 7, n: int = 6, failing: Sequence[int] = ()) -> list[Any]:
    """Rows of a search with some right and some wrong answers, prefixes, cut-off traces, and weights without ties."""
    rng = np.random.default_rng(7)
    return [_made_row(rng, index, search, select, n, index in failing) for index in range(questions)]


def _made_row(rng: np.random.Generator, index: int, search: str, select: str, n: int, fails: bool) -> Any:
    row = {
        "run_id": f"made/{search}",
        "problem_id": f"q{index}",
        "prompt": f"{index} + 1?",
        "meta": {"level": index % 3},
        "select": select,
        "seconds": float(index + 1),
        "error": None,
        "traces": [],
        "population": [],
        "reports": [],
    }
    names = ("argmax", "sample", "majority", "weighted_vote")
    cost = _made_cost(rng, 100 * (index + 2), n)
    if fails:
        error = {"type": "SamplerError", "message": "the engine fell over"}
        answers = {name: {"answer": None, "correct": False} for name in names}
        return {**row, "answers": answers, "cost": {"policy": cost["policy"]}, "error": error}
    traces = []
    for _ in range(n):
        answer = [None, "1", "2", "3"][int(rng.choice(4, p=[0.1, 0.4, 0.3, 0.2]))]
        steps_ = [f"step {i}\n\n" for i in range(int(rng.integers(2, 5)))]
        finished = answer is not None and bool(rng.random() < 0.8)
        traces.append({"steps": steps_, "finished": finished, "answer": answer, "correct": answer == "1"})
    reports = []
    for share in (0.25, 0.5, 0.75):
        population = []
        for i in rng.choice(n, n).tolist():
            deepest = len(traces[i]["steps"])
            population.append([i, min(deepest, int(rng.integers(1, 6))), float(rng.normal())])
        early = {role: {name: int(count * share) for name, count in counts.items()} for role, counts in cost.items()}
        reports.append({"cost": early, "seconds": share * (index + 1), "population": population})
    population = [[i, float(rng.normal())] for i in range(n)]
    whole = [[i, len(traces[i]["steps"]), weight] for i, weight in population]
    chosen = {name: voted(traces, whole, name) for name in names}
    return {
        **row,
        "answers": {name: {"answer": answer, "correct": answer == "1"} for name, answer in chosen.items()},
        "cost": cost,
        "traces": traces,
        "population": population,
        "reports": reports,
    }


def _made_cost(rng: np.random.Generator, tokens: int, n: int) -> dict[str, dict[str, float]]:
    none = dict.fromkeys(("samples", "prompt_tokens", "cached_tokens", "new_tokens", "verifier_tokens"), 0)
    none |= {"verifier_cached_tokens": 0, "verifier_calls": 0, "flops": 0}
    return {
        "draft": {**none, "new_tokens": int(rng.integers(20, 90)), "flops": 1e6},
        "policy": {**none, "samples": n, "new_tokens": tokens, "prompt_tokens": 11, "flops": 2e9},
        "verifier": {**none, "verifier_tokens": int(rng.integers(50, 99)), "verifier_calls": n, "flops": 3e8},
    }


def voted(traces: Sequence[Mapping[str, Any]], population: Sequence[Sequence[Any]], select: str) -> str | None:
    """The answer that a selector gives of entries [trace, depth, weight], written anew from docs/selection.md."""
    whole = [(traces[i], weight) for i, depth, weight in population if depth == len(traces[i]["steps"])]
    able = [(trace, weight) for trace, weight in whole if trace["answer"] is not None]
    able = [one for one in able if one[0]["finished"]] or able
    if not able:
        return None
    if select == "argmax":
        return str(max(able, key=lambda one: one[1])[0]["answer"])
    tally: dict[str, tuple[float, float]] = {}
    for trace, weight in able:
        count, sum_ = tally.get(trace["answer"], (0.0, 0.0))
        tally[trace["answer"]] = (count + 1, sum_ + float(np.exp(weight)))
    return max(tally, key=lambda answer: tally[answer] if select == "majority" else tally[answer][::-1])


def spent(row: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]], seconds: float) -> dict[str, float]:
    """A cost on all axes."""
    total = {name: float(sum(cost[name] for cost in costs.values())) for name in COSTS[2:5]}
    new = {role: cost["new_tokens"] for role, cost in costs.items()}
    return {"new_tokens": new["policy"], "generated_tokens": sum(new.values()), **total, "seconds": seconds}


DRIVER = """
import asyncio, json, sys
from ponder.scripts.wandb_recorder import WandbRecorder

told = json.load(sys.stdin)

async def main():
    recorder = WandbRecorder(**told["given"])
    recorder.start(told["run"])
    for row in told["old"]:
        recorder.row(row)
    for row in told["new"]:
        await asyncio.sleep(0)
        recorder.row(row)
    recorder.close()

asyncio.run(main())
"""


def recorded(out: Path, found: Sequence[Any], old: Sequence[Any], new: Sequence[Any], search: str, n: int = 6) -> None:
    """One process's recorder on rows, as the runner tells it; rows.jsonl and run.json stand there as they do then."""
    config = {
        "out": str(out),
        "search": {"name": search},
        "task": {"name": "sums"},
        "budget": {"n": n},
        "verifier": {"name": "none"},
        "model": {"name": "tiny"},
        "seed": 3,
    }
    run = {"run_id": f"made-{search}", "config": config, "questions": len(found)}
    folder = out / f"made-{search}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in new)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    told = json.dumps({"given": {"directory": str(out)}, "run": run, "old": [*old], "new": [*new]})
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=told, env=offline(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def check_running(point: Mapping[str, Any], so_far: Sequence[Mapping[str, Any]]) -> None:
    """Holds running figures against the rows."""
    assert point[STEP] == len(so_far)
    assert point["failed"] == sum(row["error"] is not None for row in so_far)
    assert point["seconds"] == pytest.approx(sum(row["seconds"] for row in so_far))
    for name in so_far[0]["answers"]:
        right = [row["answers"][name]["correct"] for row in so_far]
        assert point[f"accuracy/{name}"] == pytest.approx(sum(right) / len(right))
    for count in RUNNING[1:-1]:
        assert point[count] == pytest.approx(sum(cost[count] for row in so_far for cost in row["cost"].values())), count


def check_anytime(points: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
    """Holds an anytime curve against the reports of rows, by stopping each question at each budget."""
    ends = [row["cost"]["policy"]["new_tokens"] for row in found]
    firsts = [row["reports"][0]["cost"]["policy"]["new_tokens"] for row in found if row["reports"]]
    budgets = np.geomspace(min(ends + firsts), max(ends), STOPS)
    assert len(points) == STOPS
    for point, budget in zip(points, budgets, strict=True):
        right, bills = [], []
        for row in found:
            ways = [(dict.fromkeys(COSTS, 0.0), False)]
            for report in row["reports"]:
                answer = voted(row["traces"], report["population"], row["select"])
                ways.append((spent(row, report["cost"], report["seconds"]), answer == "1"))
            ways.append((spent(row, row["cost"], row["seconds"]), row["answers"][row["select"]]["correct"]))
            right.append([is_right for bill, is_right in ways if bill["new_tokens"] <= budget + 1e-6][-1])
            tokens = [bill["new_tokens"] for bill, _ in ways]
            bills.append({name: np.interp(budget, tokens, [bill[name] for bill, _ in ways]) for name in COSTS})
        low, high = wilson(sum(right), len(right))
        assert point["anytime/accuracy"] == pytest.approx(sum(right) / len(right))
        assert (point["anytime/low"], point["anytime/high"]) == pytest.approx((low, high))
        for name in COSTS:
            assert point[f"anytime/{name}"] == pytest.approx(np.mean([bill[name] for bill in bills])), name


def check_summary(summary: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> None:
    """Holds a summary against the rows."""
    check_running(summary, found)
    for name in found[0]["answers"]:
        right = sum(row["answers"][name]["correct"] for row in found)
        expected = (right / len(found), *wilson(right, len(found)))
        assert [summary[f"final/{name}/{value}"] for value in ("accuracy", "low", "high")] == pytest.approx([*expected])
        if name == found[0]["select"]:
            assert [summary[value] for value in FINAL] == pytest.approx([*expected])
    bills = [spent(row, row["cost"], row["seconds"]) for row in found]
    for name, metric in zip(COSTS, MEAN, strict=True):
        assert summary[metric] == pytest.approx(np.mean([bill[name] for bill in bills])), name


def check_table(lines: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
    """Holds the table against the rows."""
    roles = {role for row in found for role in row["cost"]}
    assert [line["problem_id"] for line in lines] == [row["problem_id"] for row in found]
    for line, row in zip(lines, found, strict=True):
        chosen = row["answers"][row["select"]]
        assert (line["prompt"], line["answer"], line["right"]) == (row["prompt"], chosen["answer"], chosen["correct"])
        assert line["seconds"] == row["seconds"]
        assert line["error"] == (row["error"]["message"] if row["error"] else None)
        assert line.get("level") == (str(row["meta"]["level"]) if "level" in row["meta"] else None)
        for role in roles:
            for name in ("new_tokens", "verifier_tokens", "flops"):
                assert line[f"{role}/{name}"] == row["cost"].get(role, {}).get(name, 0)


def test_it_holds_what_the_rows_hold(tmp_path: Path) -> None:
    ponder(tmp_path, *GIVEN, env=offline()).well()
    (run,) = runs(tmp_path / "runs")
    stored = rows(run)
    (part,) = logged(tmp_path / "runs")
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert {key: value for key, value in part.config.items() if key != "_wandb"} == about["config"]
    assert (part.run.run_id, part.run.display_name, part.run.project) == (run.name, run.name, "ponder")
    assert (part.run.run_group, part.run.job_type, part.exit_code) == ("arithmetic", "best_of_n", 0)
    tags = ["search=best_of_n", "verifier=constant", "model=embedded", "n=4", "seed=0"]
    assert sorted(part.run.tags) == sorted(tags)

    points = part.having("accuracy/argmax")
    assert [point[STEP] for point in points] == [1, 2, 3, 4, 5]
    for point in points:
        check_running(point, stored[: point[STEP]])
    assert points[-1]["new_tokens"] > 0
    check_table(part.table(), stored)
    check_summary(part.summary, stored)
    assert [point["scaling/n"] for point in part.having("scaling/n")] == [1, 2, 3, 4]
    assert [set(point) >= set(ANYTIME) for point in part.having("anytime/accuracy")] == [True] * 4

    (artifact,) = [one for one in part.artifacts if one.type == "rows"]
    assert artifact.name == f"rows-{run.name}"
    files = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert sorted(files) == ["rows.jsonl", "run.json"]
    for name, kept in files.items():
        assert kept.read_bytes() == (run / name).read_bytes()
        assert (tmp_path / "runs" / "wandb") in kept.parents, "nothing should lie in the home folder"


@pytest.mark.parametrize("select", ["argmax", "majority", "weighted_vote"])
def test_the_anytime_curve_stops_each_question_at_each_budget(select: str, tmp_path: Path) -> None:
    found = made_rows("particle_filtering", select, questions=12, failing=[4])
    recorded(tmp_path, found, [], found, "particle_filtering")
    (part,) = logged(tmp_path)
    points = part.having("anytime/accuracy")
    check_anytime(points, found)
    assert len({point["anytime/accuracy"] for point in points}) > 3, "the curve should rise and fall"
    assert not part.having("scaling/n")
    check_table(part.table(), found)
    check_summary(part.summary, found)
    for point in part.having("failed"):
        check_running(point, found[: point[STEP]])


def test_every_axis_can_be_chosen(tmp_path: Path) -> None:
    found = made_rows("best_of_n", "weighted_vote", questions=2)
    recorded(tmp_path, found, [], found, "best_of_n")
    (part,) = logged(tmp_path)
    assert part.axes == {name: axis or "" for name, axis in steps().items()}
    for name in COSTS:
        assert part.axes[f"anytime/{name}"] == ""
    for name in ("accuracy", "low", "high"):
        assert part.axes[f"anytime/{name}"] == "anytime/new_tokens"
        assert part.axes[f"scaling/{name}"] == "scaling/n"
    assert all(part.axes[name] == STEP for name in ("accuracy/*", *RUNNING))
    told = {name for point in part.history for name in point if not name.startswith(("_", f"{TABLE}/"))}
    assert told - {STEP} == {
        *RUNNING,
        *ANYTIME,
        *SCALING,
        *(f"accuracy/{name}" for name in found[0]["answers"]),
    }


@pytest.mark.parametrize("select", ["argmax", "weighted_vote"])
def test_independent_samples_give_a_curve_over_n(select: str, tmp_path: Path) -> None:
    found = made_rows("best_of_n", select, failing=[2])
    recorded(tmp_path, found, [], found, "best_of_n")
    (part,) = logged(tmp_path)
    points = {point["scaling/n"]: point for point in part.having("scaling/n")}
    assert sorted(points) == [1, 2, 3, 4, 6]
    for k, point in points.items():
        values, covered, tokens = {}, [], []
        for row in found:
            entries = [[i, len(row["traces"][i]["steps"]), weight] for i, weight in row["population"]]
            subsets = [list(subset) for subset in combinations(entries, int(k))] or [[]]
            right = [voted(row["traces"], subset, select) == "1" for subset in subsets]
            values[row["problem_id"]] = [sum(right) / len(right)]
            hit = [any(row["traces"][i]["correct"] for i, _, _ in subset) for subset in subsets]
            covered.append(sum(hit) / len(hit))
            tokens.append(row["cost"]["policy"]["new_tokens"] * k / 6)
        mean, (low, high) = mean_interval(values)
        expected = {"accuracy": mean, "low": low, "high": high, "coverage": np.mean(covered)}
        for name, value in {**expected, "new_tokens": np.mean(tokens)}.items():
            assert point[f"scaling/{name}"] == pytest.approx(value), (k, name)
    drawn = [{name: point[name.replace("anytime", "scaling")] for name in ANYTIME} for point in points.values()]
    assert [{name: point[name] for name in ANYTIME} for point in part.having("anytime/accuracy")] == drawn


def test_a_resumed_run_goes_on_without_doubling(tmp_path: Path) -> None:
    found = made_rows("particle_filtering", "weighted_vote", questions=8)
    recorded(tmp_path, found, [], found[:5], "particle_filtering")
    recorded(tmp_path, found, found[:5], found[5:], "particle_filtering")
    recorded(tmp_path, found, found, [], "particle_filtering")
    first, second, third = parts = logged(tmp_path)
    assert len({part.run.run_id for part in parts}) == 1
    assert [part.exit_code for part in parts] == [1, 0, 0]

    # What an interrupted run was worth on its way is not known: its curve comes when it is complete, once.
    assert not first.having("anytime/accuracy")
    check_anytime(second.having("anytime/accuracy"), found)
    assert [point[STEP] for part in parts for point in part.having("failed")] == [1, 2, 3, 4, 5, 6, 7, 8]
    for part in parts:
        for point in part.having("failed"):
            check_running(point, found[: point[STEP]])
    check_table(first.table(), found[:5])
    check_summary(first.summary, found[:5])
    check_table(second.table(), found)
    check_summary(second.summary, found)

    # Nothing new: no history, the same summary, the same files.
    assert third.history == []
    check_summary(third.summary, found)
    digests = [[one.digest for one in part.artifacts if one.type == "rows"] for part in parts]
    assert digests[2] == digests[1] != digests[0]


def test_a_failed_question_that_is_tried_again_is_told_of_anew(tmp_path: Path) -> None:
    well = made_rows("particle_filtering", "majority")
    failed = made_rows("particle_filtering", "majority", failing=[1])[1]
    before = [well[0], failed, *well[2:]]
    recorded(tmp_path, well, [], before, "particle_filtering")
    rest = [well[0], *well[2:]]
    recorded(tmp_path, well, rest, [well[1]], "particle_filtering")
    first, second = logged(tmp_path)
    check_anytime(first.having("anytime/accuracy"), before)
    assert [point["failed"] for point in first.having("failed")] == [0, 1, 1, 1, 1, 1, 1]
    (point,) = second.having("failed")
    check_running(point, [*rest, well[1]])
    check_anytime(second.having("anytime/accuracy"), [*rest, well[1]])
    check_summary(second.summary, well)


def test_a_kill_while_the_journal_is_written_leaves_the_one_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "run.json", ["ponder", None, "offline"], questions=3)
    journal.write()
    journal.questions = 4
    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(ConnectionError):
        journal.write()
    assert Journal.read(journal.path, journal.place).questions == 3
    assert Journal.read(journal.path, ["ponder", "us", "online"]).questions == 0


def test_a_run_that_began_without_it_is_told_whole(tmp_path: Path) -> None:
    plain = [given for given in GIVEN if given != "logger=wandb"]
    ponder(tmp_path, *plain, env=offline()).well()
    ponder(tmp_path, *GIVEN, env=offline()).well()
    (run,) = runs(tmp_path / "runs")
    (part,) = logged(tmp_path / "runs")
    assert [point[STEP] for point in part.having("failed")] == [1, 2, 3, 4, 5]
    check_summary(part.summary, rows(run))


def test_a_sweep_is_one_group(tmp_path: Path) -> None:
    sweep = ("-m", "debug=scripted", "logger=wandb", "search=best_of_n,astar", "budget.n=2,4", "task.limit=3")
    done = ponder(tmp_path, *sweep, env=offline()).well()
    assert "W&B" not in done.err
    found = {run.name: rows(run) for run in runs(tmp_path / "runs")}
    parts = logged(tmp_path / "runs")
    assert sorted(part.run.run_id for part in parts) == sorted(found)
    assert len(found) == 4
    for part in parts:
        assert part.run.run_group == "arithmetic"
        assert part.run.job_type == part.config["search"]["name"]
        assert f"n={part.config['budget']['n']}" in part.run.tags
        check_summary(part.summary, found[part.run.run_id])
        check_table(part.table(), found[part.run.run_id])


def test_a_folder_that_cannot_be_written_hurts_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = ponder(tmp_path, *GIVEN, "logger.directory=file/below", env=offline()).well()
    assert done.err.count("W&B is left out") == 1
    assert "Traceback" not in done.err
    (run,) = runs(tmp_path / "runs")
    assert len(rows(run)) == 5


class Client:
    """A W&B run that fails, or waits, in one of its methods."""

    def __init__(self, method: str, fault: Any) -> None:
        self.summary: dict[str, Any] = {}
        self._method, self._fault = method, fault

    def __getattr__(self, name: str) -> Any:
        return self._fault if name == self._method else lambda *_, **__: None


def broken(*_: object, **__: object) -> None:
    """What a method of a broken client does."""
    raise ConnectionError("no route to W&B")


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of W&B."""
    return [message for message in caplog.messages if "W&B" in message]


def same_as_without(folder: Path) -> None:
    """Holds the rows of a run with a client against those without any."""
    ponder_here(folder, *GIVEN, "logger=none", "out=plain").well()
    (run,), (plain,) = runs(folder / "runs"), runs(folder / "plain")
    assert by_problem(rows(run)) == by_problem(rows(plain))
    assert len(rows(run)) == 5
    assert all(row["error"] is None for row in rows(run))


@pytest.mark.parametrize("method", ["init", "define_metric", "log", "log_artifact", "finish"])
def test_a_broken_client_hurts_no_run(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "init", broken if method == "init" else lambda **_: Client(method, broken))
    ponder_here(tmp_path, *GIVEN).well()
    assert warned(caplog) == ["W&B is left out of this run: ConnectionError: no route to W&B"]
    same_as_without(tmp_path)


@pytest.mark.parametrize("method", ["init", "log", "finish"])
def test_a_slow_client_hurts_no_run(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    over = threading.Event()

    def waits(*_: object, **__: object) -> None:
        over.wait(600)

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "init", waits if method == "init" else lambda **_: Client(method, waits))
    try:
        began = time.monotonic()
        ponder_here(tmp_path, *GIVEN, "logger.patience=0.5").well()
        assert time.monotonic() - began < 20
        assert warned(caplog) == ["W&B is left behind: it had not ended after 0.5 s (logger.patience)"]
        same_as_without(tmp_path)
    finally:
        over.set()


def test_rows_do_not_wait_for_a_slow_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    over = threading.Event()
    monkeypatch.setattr(wandb, "init", lambda **_: over.wait(600))
    recorder = WandbRecorder(directory=str(tmp_path), patience=0.1)
    began = time.monotonic()
    recorder.start({"run_id": "slow", "config": {"search": {"name": "astar"}}, "questions": 1000})
    for row in made_rows("astar", "majority") * 100:
        recorder.row(row)
    told = time.monotonic() - began
    recorder.close()
    over.set()
    assert told < 1


def test_a_server_that_never_answers_hurts_no_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:  # takes connections, and says nothing
        where = {"WANDB_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}", "WANDB_API_KEY": "a" * 40}
        began = time.monotonic()
        done = ponder(tmp_path, *GIVEN, "logger.patience=2", env={**offline(), **where, "WANDB_MODE": "online"}).well()
        assert time.monotonic() - began < 60
    assert done.err.count("W&B is left") == 1
    assert "Traceback" not in done.err
    (run,) = runs(tmp_path / "runs")
    assert len(rows(run)) == 5


@pytest.mark.parametrize(
    ("variable", "given", "mode"),
    [
        (None, (), "offline"),
        ("online", (), "online"),
        ("dryrun", (), "offline"),
        ("online", ("logger.mode=disabled",), "disabled"),
    ],
)
def test_mode_and_the_users_own_group(
    variable: str | None, given: tuple[str, ...], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    told: dict[str, Any] = {}

    def init(**given: Any) -> Client:
        told.update(given)
        return Client("none", None)

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    own = ("logger.group=paper", "logger.job_type=baseline", "logger.tags=[a,b]", "logger.entity=us")
    ponder_here(tmp_path, *GIVEN, *own, *given).well()
    assert told["mode"] == mode
    assert (told["group"], told["job_type"], told["tags"], told["entity"]) == ("paper", "baseline", ["a", "b"], "us")
    assert told["resume"] == "allow"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("logger.patience=0", ("logger.patience=0", "above 0")),
        ("logger.patience=-3", ("logger.patience=-3", "above 0")),
        ("logger.patience=soon", ("logger.patience=soon", "above 0")),
        ("logger.mode=perhaps", ("logger.mode=perhaps", "online, offline, disabled")),
        ("logger.tags=baseline", ("logger.tags=baseline", "no list")),
    ],
)
def test_a_mistake_is_told_before_anything_starts(given: str, words: tuple[str, ...], tmp_path: Path) -> None:
    ponder_here(tmp_path, *GIVEN, given).refused(*words)
    assert not (tmp_path / "runs").exists()


def test_an_unknown_mode_in_the_environment_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "perhaps")
    with pytest.raises(UserError, match="WANDB_MODE=perhaps"):
        WandbRecorder()
