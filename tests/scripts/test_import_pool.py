"""ponder-import: recorded pools become runs, and the curves of these runs are what plain arithmetic gives."""

from __future__ import annotations

import gzip
import json
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import pytest

from ponder.scripts import curves, import_pool
from tests.scripts.command import rows

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.filterwarnings("default")  # of math-verify and what it parses with


def written(path: Path, *questions: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in questions))
    return path


def pool(name: Any, *samples: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"pool": "toy", "model": "m", "problem_id": name, "question": "?", "samples": list(samples), **more}


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What ponder-curves says of the only pool in a folder, as JSON."""
    capsys.readouterr()
    curves.main([str(folder), "format=json", "x=n"])
    (found,) = json.loads(capsys.readouterr().out)["pools"]
    return dict(found)


def test_rows_of_a_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples: list[dict[str, Any]] = [
        {"text": "so Answer: 3 ", "correct": False},
        {"text": "no mark", "correct": False},
        {"text": "x", "pred": "1/2", "correct": True},
        {"text": "y", "pred": "0.5", "correct": True},
        {"text": "z", "pred": None, "correct": False},
    ]
    file = written(tmp_path / "toy.jsonl", pool(7, *samples, level=2))
    import_pool.main([str(file), f"out={tmp_path / 'runs'}"])
    assert capsys.readouterr().out == f"{tmp_path / 'runs' / 'toy'}: 1 question, 5 samples\n"
    (row,) = rows(tmp_path / "runs" / "toy")
    answers = [trace["answer"] for trace in row["traces"]]
    assert answers[:2] == ["3", "no mark"]
    assert answers[2] == answers[3] != None  # noqa: E711
    assert answers[4] is None
    assert (row["problem_id"], row["meta"], row["select"]) == ("7", {"level": 2}, "majority")
    assert row["answers"]["majority"] == {"answer": answers[2], "correct": True}
    found = told(tmp_path / "runs", capsys)
    assert found["pass_at"] == pytest.approx({"1": 2 / 5, "2": 1 - 3 / 10, "4": 1.0, "5": 1.0})
    assert "best_at" not in found


def test_scores_make_it_best_of_n(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [{"text": str(i), "correct": i == 2, "rm_score": score} for i, score in enumerate([0.1, 0.2, 3.0])]
    import_pool.main([str(written(tmp_path / "toy.jsonl", pool("a", *samples))), f"out={tmp_path / 'runs'}"])
    found = told(tmp_path / "runs", capsys)
    assert found["best_at"] == pytest.approx({"1": 1 / 3, "2": 2 / 3, "3": 1.0})
    assert found["weighted_at"] == pytest.approx({"1": 1 / 3, "2": 2 / 3, "3": 1.0})


def test_again_it_writes_the_same_and_never_over_another_run(tmp_path: Path) -> None:
    file = written(tmp_path / "toy.jsonl", pool("a", {"text": "x", "correct": True}))
    for _ in range(2):
        import_pool.main([str(file), f"out={tmp_path / 'runs'}"])
    assert len(rows(tmp_path / "runs" / "toy")) == 1
    (tmp_path / "runs" / "toy" / "run.json").write_text('{"config": {}}')
    with pytest.raises(SystemExit) as stopped:
        import_pool.main([str(file), f"out={tmp_path / 'runs'}"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('{"problem_id": 1, "question": "?", "samples": []}', "samples is empty"),
        ('{"problem_id": 1, "question": "?", "samples": [{"text": "x"}]}', "samples[0].correct=None"),
        ('{"problem_id": 1, "question": "?", "samples": [{"text": 5, "correct": true}]}', "samples[0] has no text"),
        (
            '{"problem_id": 1, "question": "?", "samples": [{"text": "x", "correct": true, "rm_score": "high"}]}',
            "rm_score",
        ),
        ('{"problem_id": 1, "samples": []}', "question"),
        ("{broken", "toy.jsonl:2"),
        ('{"problem_id": "a", "question": "?", "samples": [{"text": "x", "correct": true}]}', "'a'"),
    ],
)
def test_a_bad_line_is_named(line: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = pool("a", {"text": "x", "correct": True})
    (tmp_path / "toy.jsonl").write_text(f"{json.dumps(good)}\n{line}\n")
    with pytest.raises(SystemExit) as stopped:
        import_pool.main([str(tmp_path / "toy.jsonl"), f"out={tmp_path / 'runs'}"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "toy.jsonl:2" in message
    assert word in message
    assert not (tmp_path / "runs").exists()


def test_other_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given, word in (([], "no folder"), (["x.jsonl"], "no out given"), (["x.jsonl", "out=y"], "x.jsonl")):
        with pytest.raises(SystemExit) as stopped:
            import_pool.main(given)
        assert stopped.value.code == 2
        assert word in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["game24_gpt4_cot_n100.jsonl", "humaneval_codegen16b_n100.jsonl.gz", "gsm8k_gpt3_solutions.jsonl.gz"]
)
def test_recorded_pools(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pass@k to 1e-9 against whole fractions, the shared pools being there."""
    file = DATA / name
    if not file.exists():
        pytest.skip(f"shared/data/{name} is not beside the repository")
    import_pool.main([str(file), f"out={tmp_path}"])
    found = told(tmp_path, capsys)
    with (gzip.open if name.endswith(".gz") else open)(file, "rt", encoding="utf-8") as lines:
        counts = [(len(one["samples"]), sum(s["correct"] for s in one["samples"])) for one in map(json.loads, lines)]
    assert found["questions"] == len(counts)
    n = counts[0][0]
    for k in (1, 10, 100) if n == 100 else (1, 2, 4):
        exact = sum(1 - Fraction(comb(n - c, k), comb(n, k)) for n, c in counts) / len(counts)
        assert found["pass_at"][str(k)] == pytest.approx(float(exact), abs=1e-9)
    assert found["majority_at"]["1"] == pytest.approx(found["pass_at"]["1"])
    assert "best_at" not in found
    law = found["coverage_law"]
    for letter in ("a", "b"):
        low, high = law[f"{letter}_interval"]
        assert low <= law[letter] <= high < 0
    curves.main([str(tmp_path), "x=n"])
    assert "log coverage = a k^b, a = " in capsys.readouterr().out


def test_a_scored_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = DATA / "math_qwen_rm_n8.jsonl"
    if not file.exists():
        pytest.skip("shared/data/math_qwen_rm_n8.jsonl is not beside the repository")
    import_pool.main([str(file), f"out={tmp_path}"])
    found = told(tmp_path, capsys)
    assert found["pass_at"]["8"] == pytest.approx(49 / 50)
    assert found["best_at"]["8"] == pytest.approx(47 / 50)
    assert found["weighted_at"]["8"] == pytest.approx(47 / 50)
