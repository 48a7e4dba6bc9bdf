"""What strategies count themselves, and runs kept apart by any key of their configuration, in ponder-curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.scripts import curves
from ponder.scripts.notes import counts
from ponder.scripts.points import summarise
from ponder.scripts.results import load
from tests.scripts.test_curves import row, write


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """One search at two thresholds, two questions each; the last one was rejected from its start to its end."""
    for threshold, accepted in ((3, (4, 2)), (7, (1, 0))):
        search = {"name": "specreason", "threshold": threshold}
        rows = []
        for k, steps in enumerate(accepted):
            notes: dict[str, Any] = {"drafted steps": 4, "accepted steps": steps, "acceptance rate": steps / 4}
            if not steps:
                del notes["accepted steps"], notes["acceptance rate"]
            rows.append(row(f"p{k}", ["a"], [0.0], "majority", notes=notes, config_hash=str(threshold)))
        write(tmp_path / str(threshold), "specreason", 1, rows)
        about = json.loads((tmp_path / str(threshold) / "run.json").read_text())
        about["config"]["search"] = search
        (tmp_path / str(threshold) / "run.json").write_text(json.dumps(about))
    return tmp_path


def test_any_key_keeps_runs_apart(sweep: Path) -> None:
    apart = summarise([sweep], group="search.threshold")
    assert [p.method for p in apart] == ["threshold=3: specreason · majority", "threshold=7: specreason · majority"]
    assert {p.questions for p in apart} == {2}
    (one,) = {p.method for p in summarise([sweep], group="search.threshold.deeper.still")}
    assert one == "still=None: specreason · majority"


def test_counts_are_means_over_all_rows_and_rates_over_those_that_have_one(sweep: Path) -> None:
    low, high = counts(load([sweep], "search.threshold"))
    assert (low.method, low.n, low.rows) == ("threshold=3: specreason", 1, 2)
    assert low.notes == {"drafted steps": 4, "accepted steps": 3, "acceptance rate": 0.75}
    assert high.notes == {"drafted steps": 4, "accepted steps": 0.5, "acceptance rate": 0.25}


def test_the_command_prints_them(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves.main([str(sweep), "group=search.threshold"])
    shown = capsys.readouterr().out
    assert "what the searches counted, means per question" in shown
    assert "threshold=7: specreason" in shown
    curves.main([str(sweep), "group=search.threshold", "format=json"])
    assert [one["notes"]["drafted steps"] for one in json.loads(capsys.readouterr().out)["notes"]] == [4, 4]


def test_a_group_that_is_none(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        curves.main([str(sweep), "group=threshold"])
    assert "or a key of the configuration such as search.threshold" in capsys.readouterr().err
