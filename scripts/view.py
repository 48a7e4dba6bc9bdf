"""The command `ponder-view`: a local page that shows the search of each question, from stored rows."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ponder.errors import UserError
from ponder.scripts.command import arguments, command
from ponder.scripts.results import named
from ponder.scripts.rows import each_row, finite, read_about

USAGE = """usage: ponder-view RUN... [out=DIR]

Writes a page that shows each question's search: tree of steps, genealogy of particles, scores, votes, cost.
It needs no server and asks for nothing from outside; open DIR/index.html in a browser. Several runs are compared.

  RUN     the folder of a run (rows.jsonl and run.json)
  out=    where the page goes (default: RUN/view)
"""
PAGE = Path(__file__).parent / "viewer"
FILES = {"page.html": "index.html", "page.css": "page.css", "page.js": "page.js"}
OURS = "<!-- written by ponder-view -->"
QUESTION = re.compile(r"r\d+/q\d{6,}\.js")
CALL = b"ponder.question("  # what each question's file opens with
SNIPPET = 120  # characters of a prompt in the list


def write(runs: Sequence[Path], out: Path) -> Path:
    """Writes the page of some runs.

    One row at a time is in memory: the index holds what the list shows, and each question has a file of its own.

    Args:
        runs: folders of runs.
        out: where the page goes, made if missing.

    Returns:
        The page's file.

    Raises:
        UserError: a folder that holds no run, or out cannot be written to or holds something else.
    """
    page = out / FILES["page.html"]
    names = [run.resolve().name for run in runs]
    try:
        _free(out)
        out.mkdir(parents=True, exist_ok=True)
        for source, target in FILES.items():  # the page first: it says whose folder this is, should the call be killed
            shutil.copyfile(PAGE / source, out / target)
        written, index = set[Path](), []
        for number, run in enumerate(runs):
            name = names[number] if names.count(names[number]) == 1 else str(run)
            index.append({"name": name} | _run(run, number, out / "data", written))
        _script(out / "data" / "index.js", f"ponder.index({_json({'runs': index})});")
        _sweep(out / "data", written)
    except OSError as error:
        raise UserError(
            f"out={out}: cannot write the page ({error})", "name a folder that can be written to"
        ) from error
    return page


def _free(out: Path) -> None:
    """Raises a UserError where the folder holds what an earlier call did not write."""
    page = out / FILES["page.html"]
    ours = page.is_file() and OURS in page.read_text(encoding="utf-8", errors="replace")
    taken = [name for name in (*FILES.values(), "data") if (out / name).exists()]
    if taken and not ours:
        raise UserError(f"out={out} holds a page that is not ours ({taken[0]})", "name another folder: out=DIR")


def _sweep(data: Path, written: Collection[Path]) -> None:
    """Removes the questions that an earlier call wrote and this one did not; a user's own files stay."""
    for stale in set(data.glob("r*/q*.js")) - set(written):
        if QUESTION.fullmatch(stale.relative_to(data).as_posix()):
            with stale.open("rb") as file:
                ours = file.read(len(CALL)) == CALL
            if ours:
                stale.unlink()
    for folder in data.glob("r*"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _run(run: Path, number: int, data: Path, written: set[Path]) -> dict[str, Any]:
    """What the index tells of a run, but its name; writes the files of its questions."""
    config = _about(run)["config"]
    questions: list[dict[str, Any]] = []
    for place, row in enumerate(_last_rows(run / "rows.jsonl")):
        row = {"traces": [], "population": [], "reports": [], "answers": {}, "cost": {}, "error": None, **row}
        file = data / f"r{number}" / f"q{place:06d}.js"
        _script(file, f"{CALL.decode()}{number},{place},{_json(_shown(row))});")
        written.add(file)
        chosen = row["answers"].get(row.get("select"), {})
        questions.append(
            {
                "id": str(row["problem_id"]),
                "prompt": str(row.get("prompt", ""))[:SNIPPET],
                "graded": row.get("gold_known") is not False,
                "right": bool(chosen.get("correct")),
                "failed": row["error"] is not None,
                "tokens": sum(cost.get("new_tokens", 0) for cost in row["cost"].values()),
            }
        )
    parts = {part: named(config, part, otherwise="-") for part in ("search", "verifier", "model", "task")}
    return {**parts, "n": (config.get("budget") or {}).get("n"), "questions": questions}


def _about(run: Path) -> Mapping[str, Any]:
    if not (run / "rows.jsonl").is_file():
        raise UserError(f"{run} holds no run: there is no rows.jsonl", "give the folder of a run, as in runs/NAME")
    return read_about(run)


def _last_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Each question's last row, read twice so that one is in memory at a time."""
    last = {row["problem_id"]: place for place, row in enumerate(each_row(path))}
    yield from (row for place, row in enumerate(each_row(path)) if last.get(row["problem_id"]) == place)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs of a row; what an imported trace lacks is empty."""
    lists, values = ("steps", "why", "scores"), ("score", "finished", "answer", "correct")
    fields = ("prompt", "gold_known", "answers", "select", "cost", "grading", "seconds", "error", "population")
    return {field: row.get(field) for field in fields} | {
        "traces": [
            {name: trace.get(name) or [] for name in lists} | {name: trace.get(name) for name in values}
            for trace in row["traces"]
        ],
        "reports": [{"population": report.get("population") or []} for report in row["reports"]],
    }


def _json(value: Any) -> str:
    """JSON that is safe inside a script: ASCII, without <, > and &."""
    dumped = partial(json.dumps, allow_nan=False, separators=(",", ":"))
    try:
        text = dumped(value)
    except ValueError:  # an infinite weight: rare, and looking for it takes longer than all the rest
        text = dumped(finite(value))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="ascii")


def main(argv: Sequence[str] | None = None) -> None:
    """The console command `ponder-view`.

    Args:
        argv: arguments, the command's own if None.
    """
    command("ponder-view", USAGE, _view, argv)


def _view(argv: Sequence[str]) -> None:
    runs, options = arguments("ponder-view", argv, {"out": ""}, {})
    out = Path(options["out"]) if options["out"] else Path(runs[0]) / "view"
    for run in map(Path, runs):
        _about(run)  # before anything is written
    print(write([*map(Path, runs)], out))


if __name__ == "__main__":
    main()
