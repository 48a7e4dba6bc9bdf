"""All 8,200 recorded programs for HumanEval, graded in the sandbox: verdicts and pass@k."""

from __future__ import annotations

import json
import sys

import pytest

from ponder.scripts.metrics import pass_at_k
from ponder.verifiers import execution
from tests.tasks.recorded_programs import DATA, differing, exact_pass_at_k, graded, pool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not DATA.exists(), reason="shared/data is not beside the repository"),
]


def test_all_programs_are_graded_as_recorded() -> None:
    if refusal := execution._refusal():
        pytest.skip(f"this kernel isolates nothing: {refusal}")
    found, seconds = graded(None)
    counts = [(100, sum(one.ours for one in found if one.problem == row["problem_id"])) for row in pool()]
    ours = {k: sum(pass_at_k(n, c, k) for n, c in counts) / len(counts) for k in (1, 10, 100)}
    recorded = [(100, sum(sample["correct"] for sample in row["samples"])) for row in pool()]
    report = {"samples": len(found), "ms": round(1000 * seconds, 1), "right": sum(c for _, c in counts), "pass@k": ours}
    sys.stdout.write(f"{json.dumps(report)} {differing(found)}\n")
    assert len(found) == 8200
    assert differing(found) == {}
    for k, value in ours.items():
        assert value == pytest.approx(exact_pass_at_k(counts, k), abs=1e-9)
        assert value == pytest.approx(exact_pass_at_k(recorded, k), abs=1e-9)
