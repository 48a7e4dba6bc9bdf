"""8,200 recorded programs for HumanEval (CodeGen-Mono-16B, 100 for each of 82 problems), graded by our sandbox."""

from __future__ import annotations

import gzip
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

from ponder.tasks.code import Exercise, Programs
from ponder.tasks.humaneval import CUT, humaneval
from ponder.types import Step, Trace
from ponder.verifiers.execution import Sandbox

DATA = Path(__file__).parents[3] / "shared" / "data" / "humaneval_codegen16b_n100.jsonl.gz"


@dataclass(frozen=True)
class Graded:
    """One sample: its problem, its place, our verdict and the recorded one."""

    problem: str
    place: int
    ours: bool
    recorded: bool


def pool() -> list[dict[str, Any]]:
    """The recorded rows."""
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def graded(some: int | None, seed: int = 0) -> tuple[list[Graded], float]:
    """Our verdicts on some samples, drawn by a seed, or on all; and the seconds of wall time that each took.

    The prompts are the recorded ones, which lack HumanEval's examples; the tests are HumanEval's, of the package.
    """
    rows = {row["problem_id"]: row for row in pool()}
    tests = humaneval(sandbox := Sandbox(seconds=3, wall_seconds=10)).exercises
    prompts = {id_: Exercise(id_, row["question"], tests[id_].tests, row["question"]) for id_, row in rows.items()}
    task = Programs(list(prompts.values()), sandbox, CUT)
    problems = {problem.id: problem for problem in task.problems()}
    chosen = [(id_, place) for id_, row in rows.items() for place in range(len(row["samples"]))]
    if some is not None:
        chosen = sorted(random.Random(seed).sample(chosen, some))

    def one(where: tuple[str, int]) -> Graded:
        id_, place = where
        sample = rows[id_]["samples"][place]
        answer = task.answer(Trace(problems[id_], (Step(sample["text"], why="eos"),)))
        return Graded(id_, place, task.grade(problems[id_], answer), sample["correct"])

    start = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(one, chosen))
    return found, (time.monotonic() - start) / len(found)


def differing(found: list[Graded]) -> dict[tuple[str, int], str]:
    """What we grade otherwise than recorded: "ours" or "recorded" is the one that says right."""
    return {(one.problem, one.place): "ours" if one.ours else "recorded" for one in found if one.ours != one.recorded}


def exact_pass_at_k(counts: list[tuple[int, int]], k: int) -> float:
    """Mean of 1 - C(n-c, k)/C(n, k) in exact fractions: independent of `ponder.scripts.metrics`."""
    return float(sum(1 - Fraction(comb(n - c, k), comb(n, k)) for n, c in counts) / len(counts))
