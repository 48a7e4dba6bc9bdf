"""Rows: whole or not there, stored once, and read back as they were written."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.context import Report
from ponder.errors import UserError
from ponder.runner import cost_fields
from ponder.scripts.records import search_fields
from ponder.scripts.rows import RowFile, read_rows
from ponder.types import Cost, Population, Problem, Score, Step, Trace

PROBLEM = Problem("p", "ask")


def row(problem: str, **more: Any) -> dict[str, Any]:
    return {"problem_id": problem, "error": None, **more}


def write(path: Path, *rows: dict[str, Any]) -> None:
    file = RowFile(path)
    for one in rows:
        file.append(one)
    file.close()


def trace(text: str, why: Any = "stop", closed: bool = False) -> Trace:
    """One step a character; `why` ends the last."""
    steps = [Step(c, (ord(c),), (-0.5,)) for c in text]
    if steps:
        steps[-1] = Step(text[-1], (ord(text[-1]),), (-0.5,), why)
    return Trace(PROBLEM, tuple(steps), closed)


def fields(population: Population, reports: Any = (), score: Any = lambda t: None) -> dict[str, Any]:
    """The row's fields, as they are read back from JSON."""
    found = search_fields(population, reports, score, lambda t: t.text or None, lambda given: given == "ab")
    plain: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    return plain


def report(*traces: Trace, weights: Any = None, cost: Cost | None = None, seconds: float = 0.0) -> Report:
    logs = np.zeros(len(traces)) if weights is None else np.array(weights, dtype=float)
    return Report({"policy": cost or Cost()}, seconds, Population(traces, logs))


# ---------------------------------------------------------------- files


def test_round_trip(tmp_path: Path) -> None:
    rows = [
        row("a", text='é\n\u2028 "quoted" \\boxed{1}', numbers=[0.1, -1e30, 3]),
        row("b", nested={"x": [None, True]}),
    ]
    write(tmp_path / "deep" / "rows.jsonl", *rows)
    assert read_rows(tmp_path / "deep" / "rows.jsonl") == rows
    assert len((tmp_path / "deep" / "rows.jsonl").read_bytes().splitlines()) == 2


def test_a_row_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.jsonl")
    file.append(row("a"))
    assert read_rows(tmp_path / "rows.jsonl") == [row("a")]
    file.close()


@pytest.mark.parametrize("kept", range(1, len(json.dumps(row("b", x=12))) + 1))
def test_a_torn_last_line_is_dropped_and_cut_off(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "rows.jsonl"
    write(path, row("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + json.dumps(row("b", x=12)).encode()[:kept])
    file = RowFile(path)
    assert file.rows == [row("a")]
    assert path.read_bytes() == whole
    file.append(row("c"))
    file.close()
    assert read_rows(path) == [row("a"), row("c")]


def test_reading_drops_a_torn_line_without_writing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"problem_id": "a"}\n{"problem_id": "b", "te')
    before = path.read_bytes()
    assert read_rows(path) == [{"problem_id": "a"}]
    assert path.read_bytes() == before


def test_a_line_torn_within_a_character_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"problem_id": "a"}\n{"problem_id": "é'.encode()[:-1])
    assert read_rows(path) == [{"problem_id": "a"}]


@pytest.mark.parametrize("bad", ['{"problem_id": ', "17", '["a"]', '{"id": "a"}', "nonsense"])
def test_a_bad_line_in_the_middle_names_file_and_line(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"problem_id": "a"}}\n\n{bad}\n{{"problem_id": "b"}}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:3 is no row") as caught:
        read_rows(path)
    assert "delete the line" in caught.value.hint
    with pytest.raises(UserError, match=r"rows\.jsonl:3"):
        RowFile(path)
    assert path.read_text().count("\n") == 4


def test_a_bad_last_line_that_was_written_whole_is_no_tear(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"problem_id": "a"}\nnonsense\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2"):
        read_rows(path)


def test_the_last_row_of_a_repeated_question_wins(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    failed = {"problem_id": "a", "error": {"type": "SamplerError"}}
    write(path, failed, row("b"), row("a", again=True))
    assert sorted(read_rows(path), key=lambda r: r["problem_id"]) == [row("a", again=True), row("b")]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl")
    assert read_rows(tmp_path / "rows.jsonl") == []


def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    file = RowFile(path)
    file.append(row("a"))
    with pytest.raises(UserError, match="is being written by another run"):
        RowFile(path)
    code = "import sys, pathlib; from ponder.scripts.rows import RowFile; RowFile(pathlib.Path(sys.argv[1]))"
    other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert other.returncode != 0
    assert "is being written by another run" in other.stderr
    assert read_rows(path) == [row("a")]
    file.close()
    RowFile(path).close()


# ---------------------------------------------------------------- what a row tells


def test_a_trace_is_told_whole() -> None:
    ended = trace("ab", "eos")
    found = fields(Population.equal([ended]), score=lambda t: Score(0.25, [0.5, 0.25]))
    assert found == {
        "traces": [
            {
                "steps": ["a", "b"],
                "why": ["stop", "eos"],
                "tokens": [1, 1],
                "logprobs": [-0.5, -0.5],
                "score": 0.25,
                "scores": [0.5, 0.25],
                "unread": 0,
                "finished": True,
                "answer": "ab",
                "correct": True,
            }
        ],
        "population": [[0, 0.0]],
        "reports": [],
    }


def test_scores_are_plain_numbers_or_missing() -> None:
    (unknown,) = fields(Population.equal([trace("a")]))["traces"]
    assert (unknown["score"], unknown["scores"], unknown["correct"]) == (None, [], False)
    (known,) = fields(Population.equal([trace("a")]), score=lambda t: np.float32(0.5))["traces"]
    assert known["score"] == 0.5


def test_each_trace_is_stored_once() -> None:
    a, b = trace("ab", "eos"), trace("cd", "eos")
    found = fields(Population((a, b, a), np.log([1.0, 2.0, 3.0])), [report(a, a, b), report(b)])
    assert sorted("".join(t["steps"]) for t in found["traces"]) == ["ab", "cd"]
    texts = ["".join(t["steps"]) for t in found["traces"]]
    assert [texts[place] for place, _ in found["population"]] == ["ab", "cd", "ab"]
    assert [w for _, w in found["population"]] == pytest.approx(np.log([1.0, 2.0, 3.0]).tolist())


def told(found: dict[str, Any], point: int) -> list[str]:
    """The texts that a stored report speaks of."""
    return ["".join(found["traces"][i]["steps"][:depth]) for i, depth, _ in found["reports"][point]["population"]]


def test_reports_speak_of_prefixes_of_stored_traces() -> None:
    final = [trace("abc", "eos"), trace("abd", "eos")]
    reports = [report(trace("a"), trace("a")), report(trace("ab"), trace("ab")), report(*final)]
    found = fields(Population.equal(final), reports)
    assert len(found["traces"]) == 2
    assert [told(found, i) for i in range(3)] == [["a", "a"], ["ab", "ab"], ["abc", "abd"]]


def test_unfinished_traces_of_reports_are_stored_where_nothing_continues_them() -> None:
    found = fields(
        Population.equal([trace("abc", "eos")]),
        [report(trace("a"), trace("x")), report(trace("ab"), trace("xyz")), report(trace(""), trace("q"))],
    )
    assert sorted("".join(t["steps"]) for t in found["traces"]) == ["abc", "q", "xyz"]
    assert [told(found, i) for i in range(3)] == [["a", "x"], ["ab", "xyz"], ["", "q"]]
    assert [t["finished"] for t in found["traces"] if t["steps"] != ["a", "b", "c"]] == [False, False]


def test_a_final_trace_that_another_continues_is_stored_itself() -> None:
    """Selectors read answers from the population's traces; a prefix has its own answer."""
    short, long = trace("ab"), trace("abc", "eos")
    found = fields(Population((short, long), np.log([3.0, 1.0])), [report(long)])
    texts = ["".join(found["traces"][place]["steps"]) for place, _ in found["population"]]
    assert texts == ["ab", "abc"]
    assert told(found, 0) == ["abc"]


def test_a_closed_trace_is_stored_itself_though_another_goes_on() -> None:
    closed, long = trace("ab", closed=True), trace("abc", "eos")
    found = fields(Population.equal([closed, long]), [report(closed, long)])
    assert ["".join(found["traces"][i]["steps"]) for i, _ in found["population"]] == ["ab", "abc"]
    assert told(found, 0) == ["ab", "abc"]


def test_finished_and_unfinished_of_the_same_tokens_are_two() -> None:
    found = fields(Population.equal([trace("ab", "eos")]), [report(trace("ab"))])
    assert sorted(t["finished"] for t in found["traces"]) == [False, True]


def test_reports_tell_cost_time_and_weights() -> None:
    cost = Cost(samples=2, new_tokens=7)
    found = fields(Population.equal([trace("a")]), [report(trace("a"), weights=[-1.5], cost=cost, seconds=1.23456)])
    (point,) = found["reports"]
    assert point["cost"] == {"policy": cost.asdict()}
    assert point["seconds"] == 1.2346
    assert point["population"] == [[0, 1, -1.5]]


@pytest.mark.parametrize("weight", [-math.inf, math.inf, math.nan])
def test_weights_that_json_cannot_hold_stay_in_order(weight: float) -> None:
    a, b = trace("a", "eos"), trace("b", "eos")
    found = fields(Population((a, b), np.array([weight, 0.0])), [report(a, b, weights=[weight, 0.0])])
    stored, plain = (w for _, w in found["population"])
    assert plain == 0.0
    assert math.isfinite(stored)
    assert (stored > 1e9) if weight == math.inf else (stored < -1e9)
    assert found["reports"][0]["population"][0][2] == stored


def test_an_empty_population_has_a_row() -> None:
    assert fields(Population.equal([])) == {"traces": [], "population": [], "reports": []}


def test_costs_by_role_are_sorted_plain_numbers() -> None:
    found = cost_fields({"verifier": Cost(verifier_calls=2), "policy": Cost(new_tokens=3, flops=1.5)})
    assert list(found) == ["policy", "verifier"]
    assert found["policy"]["new_tokens"] == 3
    assert found["verifier"]["verifier_calls"] == 2


def test_a_strange_value_costs_no_row(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.jsonl")
    file.append({"problem_id": "a", "scores": [math.nan, -math.inf], "meta": {"path": tmp_path}})
    file.close()
    assert read_rows(tmp_path / "rows.jsonl") == [
        {"problem_id": "a", "scores": [None, -1e30], "meta": {"path": str(tmp_path)}}
    ]
