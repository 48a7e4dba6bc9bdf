"""ponder-view without a browser: what it writes, what it keeps safe, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.scripts import view
from tests.scripts.viewed_runs import HOSTILE, failed, question, trace, write


def stored(file: Path, name: str) -> Any:
    """What a data file hands to the page, and that it is one call and nothing else."""
    text = file.read_text(encoding="ascii").strip()
    assert text.startswith(f"ponder.{name}(")
    assert text.endswith(");")
    return json.loads(f"[{text[len(f'ponder.{name}(') : -2]}]")


def index(out: Path) -> Any:
    return stored(out / "data" / "index.js", "index")[0]["runs"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [
        question("one", [trace(["a", "b"], "1", True)]),
        failed("two"),
        question("one", [trace(["a", "c"], "2", False)]),
    ]
    return write(tmp_path / "run", rows, tail='{"problem_id": "thr')


def test_the_last_row_of_a_question_counts_and_a_torn_line_does_not(run: Path) -> None:
    view.main([str(run)])
    (told,) = index(run / "view")
    assert [(q["id"], q["right"], q["failed"]) for q in told["questions"]] == [
        ("two", False, True),
        ("one", False, False),
    ]
    number, place, data = stored(run / "view" / "data" / "r0" / "q000001.js", "question")
    assert (number, place, data["traces"][0]["steps"]) == (0, 1, ["a", "c"])


def test_the_page_names_its_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view.main([str(run)])
    assert capsys.readouterr().out.strip() == str(run / "view" / "index.html")
    (told,) = index(run / "view")
    assert (told["name"], told["search"], told["n"]) == ("run", "best_of_n", 2)
    for file in ("page.js", "page.css"):
        assert (run / "view" / file).stat().st_size > 1000


def test_no_text_of_a_model_can_end_its_script(tmp_path: Path) -> None:
    rows = [question(text[:200], [trace([text, text], text, True)], prompt=text) for text in HOSTILE]
    view.main([str(write(tmp_path / "run", rows)), f"out={tmp_path / 'page'}"])
    files = sorted((tmp_path / "page" / "data").rglob("*.js"))
    assert len(files) == len(HOSTILE) + 1
    for file in files:
        assert not set(file.read_text(encoding="ascii")) & set("<>&")
    found = [stored(file, "question")[2]["traces"][0]["steps"][0] for file in files[1:]]
    assert found == list(HOSTILE)


def test_ids_never_become_paths(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "a/b", "..", "é" * 300, "con\n", " "]
    view.main([str(write(tmp_path / "run", [question(name, []) for name in names])), f"out={tmp_path / 'page'}"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "run"]
    assert sorted(p.name for p in (tmp_path / "page" / "data" / "r0").iterdir()) == [f"q{i:06d}.js" for i in range(6)]
    assert [q["id"] for q in index(tmp_path / "page")[0]["questions"]] == names


def test_numbers_that_json_does_not_know(tmp_path: Path) -> None:
    row = question("q", [trace(["a"], "1", True, score=float("nan"), scores=[float("inf")])])
    row["population"] = [[0, float("-inf")]]
    view.main([str(write(tmp_path / "run", [row])), f"out={tmp_path / 'page'}"])
    data = stored(tmp_path / "page" / "data" / "r0" / "q000000.js", "question")[2]
    assert (data["population"], data["traces"][0]["score"], data["traces"][0]["scores"]) == ([[0, -1e30]], None, [1e30])


def test_a_second_call_refreshes_and_removes_only_what_it_wrote(run: Path) -> None:
    view.main([str(run)])
    out = run / "view"
    (out / "data" / "r0" / "mine.js").write_text("mine")
    (out / "data" / "r0" / "q000008.js").write_text("mine too, though it is named as a question's file")
    (out / "data" / "r0" / "q000009.js").write_text("ponder.question(0,9,{});")
    first = {path: path.read_bytes() for path in sorted(out.rglob("*.js")) if path.name != "q000009.js"}
    view.main([str(run)])
    assert {path: path.read_bytes() for path in sorted(out.rglob("*.js"))} == first


def test_a_run_that_is_gone_leaves_no_folder(run: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [question("one", [])])
    view.main([str(run), str(other), f"out={tmp_path / 'page'}"])
    assert sorted(path.name for path in (tmp_path / "page" / "data").iterdir()) == ["index.js", "r0", "r1"]
    view.main([str(run), f"out={tmp_path / 'page'}"])
    assert sorted(path.name for path in (tmp_path / "page" / "data").iterdir()) == ["index.js", "r0"]


@pytest.mark.parametrize("name", ["index.html", "page.js", "page.css", "data"])
def test_a_page_of_somebody_else_is_not_overwritten(run: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (run / name).write_text("my homepage")
    refused(capsys, [str(run), f"out={run}"], "a page that is not ours", name)
    assert (run / name).read_text() == "my homepage"


def test_runs_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    folders = [write(tmp_path / part / "run", [question("q", [])]) for part in ("a", "b")]
    other = write(tmp_path / "other", [question("q", [])])
    view.main([*map(str, [*folders, other]), f"out={tmp_path / 'page'}"])
    assert [told["name"] for told in index(tmp_path / "page")] == [*map(str, folders), "other"]


def test_what_an_imported_row_lacks_is_empty(tmp_path: Path) -> None:
    bare = {"problem_id": 7, "gold_known": False, "traces": [{"answer": "1", "steps": None}], "reports": [{"cost": {}}]}
    view.main([str(write(tmp_path / "run", [bare])), f"out={tmp_path / 'page'}"])
    (told,) = index(tmp_path / "page")[0]["questions"]
    assert told == {"id": "7", "prompt": "", "graded": False, "right": False, "failed": False, "tokens": 0}
    data = stored(tmp_path / "page" / "data" / "r0" / "q000000.js", "question")[2]
    empty: dict[str, Any] = {"steps": [], "why": [], "scores": [], "score": None, "finished": None, "correct": None}
    assert (data["traces"], data["reports"]) == ([empty | {"answer": "1"}], [{"population": []}])


def refused(capsys: pytest.CaptureFixture[str], given: list[str], *words: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        view.main(given)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_mistakes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, [], "no folder given")
    refused(capsys, [str(tmp_path / "nowhere")], "nowhere holds no run")
    refused(capsys, [str(tmp_path)], "no rows.jsonl")
    refused(capsys, [str(run), "to=here"], "unknown key 'to'", "allowed keys: out")
    (run / "file").touch()
    refused(capsys, [str(run), f"out={run / 'file' / 'below'}"], "cannot write the page")
    (run / "rows.jsonl").write_text("{broken\n{}\n")
    refused(capsys, [str(run)], "rows.jsonl:1 is no row")
    (run / "run.json").write_text("[]")
    refused(capsys, [str(run)], "run.json is missing or unreadable")


def test_nothing_is_written_for_a_wrong_second_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, [str(run), str(tmp_path / "nowhere"), f"out={tmp_path / 'page'}"], "nowhere holds no run")
    assert not (tmp_path / "page").exists()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    view.main(["--help"])
    assert "usage: ponder-view RUN" in capsys.readouterr().out
