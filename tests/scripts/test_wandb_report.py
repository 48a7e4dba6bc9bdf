"""The layout of a comparison in W&B: the library's real objects, made without a network, name what is really logged."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ponder.scripts.wandb_question import AXES
from ponder.scripts.wandb_report import main
from tests.scripts.command import ponder
from tests.scripts.test_wandb import GIVEN, logged, offline

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")  # wandb-workspaces' own
KINDS = ("report", "workspace")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account and no network."""
    import wandb

    def refused(*_: object, **__: object) -> None:
        raise ConnectionError("there is no network here")

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(wandb, "Api", refused)


def printed(capsys: pytest.CaptureFixture[str], *given: str) -> dict[str, Any]:
    """The layout that the command prints."""
    main([*given, "save=no"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a layout, however deep."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(inner)


def panels(layout: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The configurations of all charts of a kind."""
    return [part["config"] for part in parts(layout) if part.get("viewType") == kind]


@pytest.mark.parametrize("kind", KINDS)
def test_panels_show_accuracy_against_each_cost(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb_workspaces")
    layout = printed(capsys, f"kind={kind}", "group=arithmetic", "entity=us", "project=mine")
    lines = panels(layout, "Run History Line Plot")
    assert [chart["xAxis"] for chart in lines] == [f"anytime/{axis}" for axis in AXES]
    assert all(chart["metrics"] == ["anytime/accuracy"] for chart in lines)
    dots = panels(layout, "Scatter Plot")
    assert [chart["xAxis"] for chart in dots] == [f"summary:mean/{axis}" for axis in AXES]
    assert all(chart["yAxis"] == "summary:final/accuracy" for chart in dots)
    assert panels(layout, "Bar Chart")[0]["metrics"] == ["summary_metrics.final/accuracy"]
    titles = [chart["chartTitle"] for chart in (*lines, *dots)]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_are_those_of_a_group_by_search_and_n(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb_workspaces")
    for given, filters in (("group=arithmetic", [("group", "=", "arithmetic")]), ("group=", [])):
        layout = printed(capsys, f"kind={kind}", given)
        runsets = [part for part in parts(layout) if "grouping" in part and "runFeed" in part]
        assert len(runsets) == (3 if kind == "report" else 1)
        for runset in runsets:
            told = [(one["key"]["name"], one["op"], one["value"]) for one in runset["filters"]["filters"]]
            assert told == filters
            grouping = [(one["section"], one["name"]) for one in runset["grouping"]]
            assert grouping == [("config", "search.value.name"), ("config", "budget.value.n")]
            shown = [name for name, pinned in runset["runFeed"]["columnPinned"].items() if pinned]
            assert {"summary:final/accuracy", "summary:final/low", "summary:failed"} < set(shown)
        settings = [part["useRunsTableGroupingInPanels"] for part in parts(layout) if "smoothingWeight" in part]
        assert settings, "charts take the grouping of the runs"
        assert all(settings)


def test_every_metric_named_is_one_that_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb_workspaces")
    ponder(tmp_path, *GIVEN, env=offline()).well()
    (run,) = logged(tmp_path / "runs")
    history = {name for point in run.history for name in point}
    for kind in KINDS:
        layout = printed(capsys, f"kind={kind}")
        lines = panels(layout, "Run History Line Plot")
        drawn = {name for chart in lines for name in (chart["xAxis"], *chart["metrics"])}
        assert drawn <= history
        for name in drawn - {"anytime/accuracy"}:
            assert run.axes[name] == "", f"{name} is no axis of its own"
        bars = {name for chart in panels(layout, "Bar Chart") for name in chart["metrics"]}
        dots = {chart[axis] for chart in panels(layout, "Scatter Plot") for axis in ("xAxis", "yAxis")}
        columns = {name for part in parts(layout) for name in part.get("columnPinned", {})} - {"run:displayName"}
        named = {name.removeprefix("summary_metrics.").removeprefix("summary:") for name in bars | dots | columns}
        assert named
        assert named <= set(run.summary)
        keys = {one["name"] for part in parts(layout) for one in part.get("grouping", [])}
        for key in keys:
            first, value, last = key.split(".")
            assert value == "value"
            assert last in run.config[first]


@pytest.mark.parametrize("kind", KINDS)
def test_saving_needs_an_account_and_a_network(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb_workspaces")
    with pytest.raises(SystemExit) as end:
        main([f"kind={kind}", "group=arithmetic"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert f"the {kind} cannot be saved in W&B" in said
    assert "wandb login" in said
    assert "save=no" in said
    assert "Traceback" not in said


def test_what_is_saved_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wr = pytest.importorskip("wandb_workspaces.reports.v2")
    import wandb

    class Api:
        """Somebody's account."""

        default_entity = "us"

    saved = []
    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setattr(wr.Report, "save", lambda self: saved.append((self.entity, self.project)))
    monkeypatch.setattr(wr.Report, "url", "https://wandb.example/us/mine/reports/1")
    main(["project=mine"])
    assert saved == [("us", "mine")]
    assert capsys.readouterr().out == "saved https://wandb.example/us/mine/reports/1\n"


def test_a_missing_library_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(SystemExit) as end:
        main(["save=no"])
    assert end.value.code == 2
    assert "pip install 'ponder[reports]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("size=3", "unknown key 'size'"),
        ("arithmetic", "unknown key 'arithmetic'"),
        ("kind=poster", "allowed for kind: report, workspace"),
        ("save=maybe", "allowed for save: yes, no"),
        ("project=", "name the project"),
    ],
)
def test_a_mistake_is_one_message(given: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([given])
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_help_names_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    said = capsys.readouterr().out
    for key in ("project=", "entity=", "group=", "kind=", "save="):
        assert key in said
