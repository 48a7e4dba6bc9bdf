"""The command `ponder-import`: samples that somebody recorded, as a run that the commands for stored rows can read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ponder.errors import UserError
from ponder.runner import cost_fields
from ponder.scripts.command import arguments, command
from ponder.scripts.results import count, warn
from ponder.scripts.rows import RowFile, read_about, write_about
from ponder.search.select import SELECTORS
from ponder.tasks import equivalence, loading
from ponder.types import Cost, Population, Problem, Step, Trace

USAGE = """usage: ponder-import FILE... out=DIR

Makes a run of each file of recorded samples: DIR/NAME/rows.jsonl, for ponder-curves, ponder-view, ponder-rescore.

  FILE    jsonl (also .gz) or parquet, one question a line: problem_id, question, and samples, each with text and
          correct, and with pred (the final answer) and rm_score (a verifier's score; higher is better) where they are
          known; level, pool and model of a line are kept
  out=    where the runs go

Votes count pred where a sample has one, else what follows the last "Answer:", else the whole text.
"""
FIELDS: Mapping[str, type | tuple[type, ...]] = {"problem_id": (str, int), "question": str, "samples": list}
ANSWER = "Answer:"


def run_of(file: Path, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A recorded pool as what run.json and rows.jsonl hold.

    Args:
        file: the pool.
        name: the run's id.

    Raises:
        UserError: no such file, or a line that is no question; names the line.
    """
    pool = loading.rows(str(file), FIELDS, id_field="problem_id", check=_checked, key="FILE")
    scored = all("rm_score" in sample for row in pool for sample in row["samples"])
    search = "best_of_n" if scored else "self_consistency"
    models = sorted({str(s.get("model", row.get("model"))) for row in pool for s in row["samples"]})
    if len(models) > 1:
        warn(f"{file} holds samples of {len(models)} models: k of them are k of the models, not k tries of one")
    largest = max(len(row["samples"]) for row in pool)
    config = {
        "search": {"name": search},
        "task": {"name": str(pool[0].get("pool") or name)},
        "model": {"name": ", ".join(models)},
        "verifier": {"name": "rm_score" if scored else "none"},
        "budget": {"n": largest},
        "select": {"name": "weighted_vote" if scored else "majority"},
        "seed": 0,
        "imported_from": str(file),
    }
    stamp = {"run_id": name, "config_hash": name, "git_commit": None}
    rows = [stamp | _row(row, str(config["select"]["name"])) for row in pool]  # type: ignore[index]
    return {**stamp, "config": config, "questions": len(rows)}, rows


def _checked(row: Mapping[str, Any]) -> None:
    """Whether all samples of a line are such; a ValueError says which is not."""
    if not row["samples"]:
        raise ValueError("samples is empty")
    for i, sample in enumerate(row["samples"]):
        if not isinstance(sample, dict) or not isinstance(sample.get("text"), str):
            raise ValueError(f"samples[{i}] has no text")
        if not isinstance(sample.get("correct"), bool):
            raise ValueError(f"samples[{i}].correct={sample.get('correct')!r} is not true or false")
        score = sample.get("rm_score", 0.0)
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise ValueError(f"samples[{i}].rm_score={score!r} is no finite number")


def _row(row: Mapping[str, Any], select: str) -> dict[str, Any]:
    """A question of the pool as a stored row."""
    samples = row["samples"]
    problem = Problem(str(row["problem_id"]), row["question"])
    answers = [_answer(sample) for sample in samples]
    scores = [float(sample.get("rm_score", 0.0)) for sample in samples]
    traces = tuple(Trace(problem, (Step(sample["text"], (i,), why="eos"),)) for i, sample in enumerate(samples))
    given = dict(zip(traces, answers, strict=True))
    right = {answer: sample["correct"] for answer, sample in zip(answers, samples, strict=True)}
    population = Population(traces, np.array(scores))
    chosen = {
        name: selector(population, given.__getitem__, np.random.default_rng(0)) for name, selector in SELECTORS.items()
    }
    cost = cost_fields({"policy": Cost(samples=len(samples))})
    told = [_trace(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
    return {
        "seed": 0,
        "problem_id": problem.id,
        "prompt": problem.prompt,
        "meta": {"level": row["level"]} if row.get("level") is not None else {},
        "traces": told,
        "population": [[i, score] for i, score in enumerate(scores)],
        "reports": [],
        "answers": {name: {"answer": one, "correct": right.get(one, False)} for name, one in chosen.items()},
        "select": select,
        "cost": cost,
        "seconds": 0.0,
        "error": None,
    }


def _trace(sample: Mapping[str, Any], answer: str | None) -> dict[str, Any]:
    return {
        "steps": [sample["text"]],
        "why": ["eos"],
        "tokens": [],
        "logprobs": [],
        "score": sample.get("rm_score"),
        "scores": [],
        "unread": 0,
        "finished": True,
        "answer": answer,
        "correct": sample["correct"],
    } | ({"model": sample["model"]} if "model" in sample else {})


def _answer(sample: Mapping[str, Any]) -> str | None:
    """What the sample votes for."""
    if "pred" in sample:
        return None if sample["pred"] in (None, "") else equivalence.key(str(sample["pred"]))
    text: str = sample["text"]
    return text.rpartition(ANSWER)[2].strip() or None


def main(argv: Sequence[str] | None = None) -> None:
    """The console command `ponder-import`.

    Args:
        argv: arguments, the command's own if None.
    """
    command("ponder-import", USAGE, _import, argv)


def _import(argv: Sequence[str]) -> None:
    files, options = arguments("ponder-import", argv, {"out": ""}, {})
    if not options["out"]:
        raise UserError("no out given", "say where the runs shall go: ponder-import FILE out=DIR")
    for file in map(Path, files):
        name = file.name.removesuffix(".gz").rpartition(".")[0] or file.name
        about, rows = run_of(file, name)
        folder = Path(options["out"]) / name
        if (folder / "rows.jsonl").exists() and not _ours(folder, str(file)):
            raise UserError(f"{folder} holds another run", "name another folder: out=DIR")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "rows.jsonl").unlink(missing_ok=True)
            write_about(folder, about)
            stored = RowFile(folder / "rows.jsonl")
        except OSError as error:
            raise UserError(f"out={options['out']}: cannot be written ({error})", "name another folder") from error
        for row in rows:
            stored.append(row)
        stored.close()
        samples = count(sum(len(row["traces"]) for row in rows), "sample")
        print(f"{folder}: {count(len(rows), 'question')}, {samples}")
    equivalence.close()


def _ours(folder: Path, file: str) -> bool:
    """Whether a folder holds an earlier import of the file."""
    try:
        return bool(read_about(folder, "imported_from")["config"]["imported_from"] == file)
    except UserError:
        return False


if __name__ == "__main__":
    main()
