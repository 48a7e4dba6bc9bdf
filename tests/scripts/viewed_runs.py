"""Runs for the tests of ponder-view: written by hand, hostile ones, and one of the largest size promised."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HOSTILE = (
    "<script>alert(1)</script>",
    "</textarea><b>bold</b>",
    '<img src=x onerror="alert(2)">',
    "</script><script>alert(3)</script>",
    "\u2028\u2029 \u202e turned \u0000 nul",
    "half \ud800 of a pair",
    "<!-- ]]> &lt;amp; `${1+1}` '\"\\",
    "long " * 20000,
)
"""Texts that a model may write; each must stand on the page as it is."""


def trace(steps: Sequence[str], answer: str | None, correct: bool, **more: Any) -> dict[str, Any]:
    """A stored trace, finished and without scores unless said otherwise."""
    why = ["stop"] * (len(steps) - 1) + ["eos"]
    told = {"steps": list(steps), "why": why, "answer": answer, "correct": correct}
    return {**told, "scores": [], "score": None, "finished": True, **more}


def question(name: str, traces: Sequence[Mapping[str, Any]], *, prompt: str = "?", **more: Any) -> dict[str, Any]:
    """A row whose final population holds each trace once; argmax takes the first."""
    first = traces[0] if traces else {"answer": None, "correct": False}
    return {
        "problem_id": name,
        "prompt": prompt,
        "traces": list(traces),
        "population": [[i, 0.0] for i in range(len(traces))],
        "reports": [],
        "answers": {"argmax": {"answer": first["answer"], "correct": first["correct"]}},
        "select": "argmax",
        "cost": {"policy": {"new_tokens": 7, "verifier_tokens": 0, "verifier_calls": 0, "flops": 1.5e9}},
        "seconds": 1.0,
        "error": None,
        **more,
    }


def failed(name: str) -> dict[str, Any]:
    """A question that ended in an error."""
    return question(name, [], error={"type": "SamplerError", "message": "the <engine> is gone"})


def write(folder: Path, rows: Iterable[Mapping[str, Any]], search: str = "best_of_n", tail: str = "") -> Path:
    """The folder of a run with these rows."""
    folder.mkdir(parents=True)
    config = {"search": {"name": search}, "budget": {"n": 2}, "task": {"name": "toy"}, "verifier": {"name": "none"}}
    (folder / "run.json").write_text(json.dumps({"run_id": "r", "config": config, "questions": 1}))
    with (folder / "rows.jsonl").open("w") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
        file.write(tail)
    return folder


def large(folder: Path, questions: int = 2000, traces: int = 64, steps: int = 6) -> Path:
    """A run of many questions with many traces that share beginnings, and a report a step."""
    rng = random.Random(0)
    words = [f"Then we take {i} of it and add what is left of the {i % 7} others." for i in range(400)]

    def row(number: int) -> dict[str, Any]:
        paths = [[words[rng.randrange(3)]] for _ in range(traces)]
        for path in paths:
            path.extend(rng.choices(words, k=steps - 1))
        found = [trace(path, str(rng.randrange(9)), False, scores=[0.5] * steps, score=0.5) for path in paths]
        for one in found:
            one["correct"] = one["answer"] == "3"
        reports = [
            {"cost": {}, "seconds": 0.1 * depth, "population": [[i, depth, 0.0] for i in range(traces)]}
            for depth in range(1, steps + 1)
        ]
        return question(f"question-{number:04d}", found, prompt=f"How much is {number}?", reports=reports)

    return write(folder, map(row, range(questions)), "particle_filtering")
