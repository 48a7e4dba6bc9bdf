"""Expected values of another implementation, lighteval's: pass@k, avg@k, maj@k and G-pass@k are ours.

What is right is decided here as lighteval's suites decide it (equal texts, letters, maths); the metric is ours.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.scripts.metrics import g_pass_at_k, mean_g_pass_at_k, pass_at_k
from ponder.search.select import majority
from ponder.tasks.equivalence import close, equal
from ponder.types import Population, Problem, Step, Trace

FIXTURES = Path(__file__).parents[3] / "shared" / "data" / "metric_fixtures.jsonl"
ROWS = [json.loads(line) for line in FIXTURES.read_text(encoding="utf-8").splitlines()] if FIXTURES.exists() else []
LEFT_OUT = {
    "recall_at_k": "ranks choices by likelihood: no samples, no grading",
}
NOT_READ = {"G Pass At K Math - Mixed Correct and Incorrect", "G Pass At K Math - High K Value"}
"""Their gold answer, a bare expression with letters, is none that upstream's extraction can read: all is wrong."""
pytestmark = pytest.mark.skipif(not ROWS, reason="shared/data/metric_fixtures.jsonl is not beside the repository")


@pytest.fixture(scope="module", autouse=True)
def workers() -> Any:
    """Workers that compare maths end with this file."""
    yield
    close()


def golds(row: Any) -> list[str]:
    """The right answers; a suite of letters names the option's letter, avg@k takes the first alone."""
    index, choices = row["doc"]["gold_index"], row["doc"]["choices"]
    places = index if isinstance(index, list) else [index]
    places = places[:1] if row["suite"] == "avg_at_k" else places
    lettered = row["suite"] in ("pass_at_k_letters", "gpqa_instruct_pass_at_k")
    return ["ABCDEFGHIJ"[i] if lettered else choices[i] for i in places]


def right(row: Any, text: str) -> bool:
    """Whether a response is right by the suite's own convention."""
    if row["name"] in NOT_READ:
        return False
    if row["suite"].startswith("gpqa"):  # the last letter that stands alone
        return re.findall(r"\b[A-J]\b", text)[-1:] == golds(row)
    if row["suite"].endswith(("_math", "_latex")):
        return any(equal(gold, text.strip()) for gold in golds(row))
    return text.strip() in golds(row)


def ours(row: Any) -> dict[str, float]:
    """Our values, in the order of lighteval's."""
    texts, given = row["model_response"]["text"], row["metric_params"]
    k, kind = given["k"], row["metric_class"]
    verdicts = [right(row, text) for text in texts]
    if kind.startswith("avg_at_k"):
        values = [pass_at_k(k, sum(verdicts[:k]), 1)]
    elif kind == "maj_at_k":
        problem = Problem("q", "?")
        traces = tuple(Trace(problem, (Step(text, (i,), why="eos"),)) for i, text in enumerate(texts[:k]))
        chosen = majority(Population(traces, np.zeros(k)), lambda trace: trace.text, np.random.default_rng(0))
        values = [float(chosen in golds(row))]
    else:
        n, c = given["n"], sum(verdicts[: given["n"]])
        values = [pass_at_k(n, c, k)]
        if kind.startswith("g_pass_at_k"):
            values = [g_pass_at_k(n, c, k, limit) for limit in given["thresholds"]] + [mean_g_pass_at_k(n, c, k)]
    return dict(zip(row["expected_output"], values, strict=True))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['suite']}-{row['name']}")
def test_values_are_those_expected(row: Any) -> None:
    if row["suite"] in LEFT_OUT:
        pytest.skip(LEFT_OUT[row["suite"]])
    assert ours(row) == pytest.approx(row["expected_output"], abs=row["tolerance"])


def test_most_fixtures_are_compared() -> None:
    counts = Counter(row["suite"] for row in ROWS)
    assert sum(counts.values()) == 61
    assert sum(counts[suite] for suite in LEFT_OUT) == 3
