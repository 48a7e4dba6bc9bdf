"""ProcessBench's rows, their draw, and the solutions as traces."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks.processbench import ProcessBench

DATA = Path(__file__).parents[3] / "shared" / "data" / "processbench.jsonl.gz"


def written(path: Path, rows: list[Any]) -> str:
    """A file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def row(id_: str, label: int = -1, steps: tuple[str, ...] = ("one", "two")) -> dict[str, Any]:
    """A row of the hub, which has no split."""
    return {"id": id_, "problem": f"problem {id_}", "steps": list(steps), "label": label, "generator": "me"}


def test_a_solution_is_a_finished_trace_of_its_steps(tmp_path: Path) -> None:
    task = ProcessBench(written(tmp_path / "rows.jsonl", [row("math-7", 2, ("a", "b\n\nc", "d"))]))
    (problem,) = task.problems()
    trace = task.trace(problem)
    assert (problem.id, problem.prompt) == ("math-7", "problem math-7")
    assert problem.meta == {"split": "math", "generator": "me"}, "never the label, which verifiers must not see"
    assert [step.text for step in trace.steps] == ["a\n\n", "b\n\nc\n\n", "d"]
    assert [step.why for step in trace.steps] == ["stop", "stop", "eos"]
    assert trace.finished
    assert task.label("math-7") == 2
    assert task.answer(trace) is None
    assert task.grade(problem, None) is False


def test_a_limit_draws_the_same_number_of_each_split(tmp_path: Path) -> None:
    rows = [row(f"{split}-{i}") for split, n in [("gsm8k", 40), ("math", 30), ("omnimath", 3)] for i in range(n)]
    path = written(tmp_path / "rows.jsonl", rows)

    def ids(limit: int | None, seed: int = 0) -> list[str]:
        return [problem.id for problem in ProcessBench(path, limit, seed).problems()]

    def splits(limit: int) -> dict[str, int]:
        return dict(Counter(id_.split("-")[0] for id_ in ids(limit)))

    assert ids(None) == [one["id"] for one in rows]
    assert splits(9) == {"gsm8k": 3, "math": 3, "omnimath": 3}
    assert splits(23) == {"gsm8k": 10, "math": 10, "omnimath": 3}
    assert len(ids(10)) == 10
    assert ids(99) == ids(None)
    assert ids(9) == ids(9) != ids(9, seed=1)
    assert set(ids(9)) < set(ids(23)) < set(ids(70))
    assert ids(23) == [id_ for id_ in ids(None) if id_ in set(ids(23))], "in the order of the data"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "rows.jsonl:2"),
        ("[]", "rows.jsonl:2"),
        (json.dumps({"id": "a-1", "steps": ["x"], "label": 0}), "problem"),
        (json.dumps(row("a-1", label=2)), "label=2"),
        (json.dumps(row("a-1", label=-2)), "label=-2"),
        (json.dumps({**row("a-1"), "label": None}), "label=None"),
        (json.dumps(row("a-1", steps=())), "steps are texts"),
        (json.dumps({**row("a-1"), "steps": [1]}), "steps are texts"),
        (json.dumps(row("gsm8k-0")), "rows.jsonl:2: id .gsm8k-0. is that of line 1"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row("gsm8k-0")) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=words):
        list(ProcessBench(str(path)).problems())


def test_users_mistakes_are_named(tmp_path: Path) -> None:
    for limit in (0, -1, True):
        with pytest.raises(UserError, match=f"limit={limit}"):
            ProcessBench(limit=limit)
    with pytest.raises(UserError, match="path=nowhere is no file"):
        list(ProcessBench("nowhere").problems())
    empty = written(tmp_path / "empty.jsonl", [])
    with pytest.raises(UserError, match="no rows"):
        list(ProcessBench(empty).problems())


def test_the_hub_is_asked_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = ModuleType("datasets")
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    asked = []

    def load_dataset(name: str, split: str) -> list[dict[str, Any]]:
        asked.append((name, split))
        return [row(f"{split}-0")]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset, raising=False)
    splits = ["gsm8k", "math", "olympiadbench", "omnimath"]
    assert [problem.meta["split"] for problem in ProcessBench().problems()] == splits
    assert asked == [("Qwen/ProcessBench", split) for split in splits]

    def fails(name: str, split: str) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", fails)
    with pytest.raises(UserError, match="set path to a file"):
        list(ProcessBench().problems())


@pytest.mark.skipif(not DATA.exists(), reason="shared/data/processbench.jsonl.gz is not beside the repository")
def test_the_real_rows_are_all_there() -> None:
    task = ProcessBench(str(DATA))
    problems = list(task.problems())
    kinds = Counter((problem.meta["split"], task.label(problem.id) >= 0) for problem in problems)
    counts = {split: (kinds[split, True], kinds[split, False]) for split in dict.fromkeys(s for s, _ in kinds)}
    assert counts == {"gsm8k": (207, 193), "math": (594, 406), "olympiadbench": (661, 339), "omnimath": (759, 241)}
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for problem, one in zip(problems, rows, strict=True):
        assert [step.text.removesuffix("\n\n") for step in task.trace(problem).steps] == one["steps"]
