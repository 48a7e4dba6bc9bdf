r"""A recorded pool through our own selection and grading: 50 problems of MATH, 8 samples each, with a reward's scores.

Every figure is computed twice: by `select.py`, `metrics.py` and `equivalence.py`, and by twenty lines of plain Python
on math-verify. In the weighted vote a sample weighs exp(reward): a softmax over its problem, whose constant cancels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.scripts.metrics import pass_at_k
from ponder.search.select import argmax, majority, weighted_vote
from ponder.tasks.equivalence import boxed, close, equal, key
from ponder.types import Population, Problem, Step, Trace

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "math_qwen_rm_n8.jsonl"
FIGURES = {"pass@8": 49 / 50, "best-of-8": 47 / 50, "majority": 48 / 50, "weighted vote": 47 / 50}
pytestmark = pytest.mark.filterwarnings("default")  # of math-verify and what it parses with


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    """The problems with their samples."""
    if not RECORDED.exists():
        pytest.skip("shared/data/math_qwen_rm_n8.jsonl is not beside the repository")
    yield [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    close()


def ours(pool: Any) -> dict[str, list[float]]:
    """What our selectors and our grader make of each problem."""
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    rng = np.random.default_rng(0)
    for row in pool:
        problem = Problem(str(row["problem_id"]), row["question"])
        traces = [Trace(problem, (Step(s["text"], (i,), why="eos"),)) for i, s in enumerate(row["samples"])]
        answers = {trace: key(s["pred"]) for trace, s in zip(traces, row["samples"], strict=True)}
        population = Population(tuple(traces), np.array([s["rm_score"] for s in row["samples"]]))
        right = sum(equal(row["gold"], answer) for answer in answers.values())
        found["pass@8"].append(pass_at_k(len(traces), right, 8))
        for name, select in [("best-of-8", argmax), ("majority", majority), ("weighted vote", weighted_vote)]:
            chosen = select(population, answers.__getitem__, rng)
            found[name].append(float(chosen is not None and equal(row["gold"], chosen)))
    return found


def independent(pool: Any) -> dict[str, list[float]]:
    """The same figures from math-verify and dictionaries alone."""
    from math_verify import parse, verify

    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    for row in pool:
        gold, groups = parse(f"${row['gold']}$"), list[dict[str, Any]]()
        for sample in row["samples"]:
            parsed = parse(f"${sample['pred']}$")
            group = next((g for g in groups if verify(g["answer"], parsed)), None)
            if group is None:
                groups.append(group := {"answer": parsed, "count": 0, "weight": 0.0, "best": -math.inf})
            group["count"] += 1
            group["weight"] += math.exp(sample["rm_score"])
            group["best"] = max(group["best"], sample["rm_score"])
        for group in groups:
            group["right"] = float(verify(gold, group["answer"]))
        found["pass@8"].append(max(group["right"] for group in groups))
        found["best-of-8"].append(max(groups, key=lambda g: g["best"])["right"])
        found["majority"].append(max(groups, key=lambda g: (g["count"], g["weight"]))["right"])
        found["weighted vote"].append(max(groups, key=lambda g: g["weight"])["right"])
    return found


def test_every_figure_is_what_twenty_lines_compute(pool: Any) -> None:
    mine, theirs = ours(pool), independent(pool)
    assert mine == theirs, "problem by problem"
    assert {name: np.mean(values) for name, values in mine.items()} == pytest.approx(FIGURES)


def test_grades_are_those_recorded(pool: Any) -> None:
    """Without exception: the slip known of the source (its problem 3, "4:30p..") is not among these 50."""
    graded = [
        (row["problem_id"], i, equal(row["gold"], s["pred"]), s["correct"])
        for row in pool
        for i, s in enumerate(row["samples"])
    ]
    assert len(graded) == 400
    assert sum(right for _, _, right, _ in graded) == 375
    assert [one for one in graded if one[2] != one[3]] == []


def test_the_problems_that_each_method_misses(pool: Any) -> None:
    """Problem 85 has no right sample; in 98 the majority is right and the reward misled."""
    mine = ours(pool)
    wrong = {
        name: [row["problem_id"] for row, v in zip(pool, values, strict=True) if not v] for name, values in mine.items()
    }
    rewarded = [28, 85, 98]
    assert wrong == {"pass@8": [85], "best-of-8": rewarded, "majority": [28, 85], "weighted vote": rewarded}


def test_the_recorded_answer_is_the_last_box(pool: Any) -> None:
    differing = [
        (row["problem_id"], s["pred"], boxed(s["text"]))
        for row in pool
        for s in row["samples"]
        if (found := boxed(s["text"])) is None or key(found) != key(s["pred"])
    ]
    assert differing == []
