"""The draft and the reviser through the command: who wrote what, and second thoughts in real rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ponder.tasks.arithmetic import Arithmetic, settled
from ponder.types import Problem, Step, Trace
from tests.scripts.command import ponder, rows, runs

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("default")]  # of vLLM


def test_the_draft_writes_what_the_judge_lets_pass(tmp_path: Path) -> None:
    given = ("experiment=specreason", "task.limit=20", "seed=0", "out=runs")
    ponder(tmp_path, "-m", *given, "search.threshold=0,7").well()
    alone, judged = sorted((rows(run) for run in runs(tmp_path / "runs")), key=lambda of: sum(map(policy_tokens, of)))
    assert all(row["notes"]["acceptance rate"] == row["notes"]["saved token rate"] == 1 for row in alone)
    assert all(set(row["cost"]) == {"draft"} for row in alone)  # nobody judged, nobody mended
    for row in judged:
        notes, cost = row["notes"], row["cost"]
        kept = sum(sum(trace["tokens"]) for trace in row["traces"])
        assert notes["accepted tokens"] + notes["policy tokens"] == kept
        assert cost["draft"]["new_tokens"] == notes["accepted tokens"] + notes["rejected tokens"]
        assert cost.get("policy", {}).get("new_tokens", 0) == notes["policy tokens"]
        assert cost["verifier"]["verifier_calls"] == notes["drafted steps"]
    assert 0 < sum(row["notes"]["acceptance rate"] for row in judged) / 20 < 1


def policy_tokens(row: dict[str, dict[str, float]]) -> float:
    """What the policy wrote."""
    return row["notes"]["policy tokens"]


@pytest.mark.parametrize("name", ["budget_forcing", "sequential_feedback"])
def test_second_thoughts(tmp_path: Path, name: str) -> None:
    size = ("search.extensions=2",) if name == "budget_forcing" else ("budget.n=3",)
    ponder(tmp_path, f"experiment={name}", "task.limit=20", "out=runs", *size).well()
    (run,) = runs(tmp_path / "runs")
    asked, task = 0, Arithmetic(limit=20)
    for row in rows(run):
        assert row["error"] is None
        problem = Problem(row["problem_id"], row["prompt"])
        for stored in row["traces"]:
            text = "".join(stored["steps"])
            questions = text.count("\n\n?")
            assert questions == 2 if name == "budget_forcing" else questions <= 2
            trace = Trace(problem, (Step(text, why="eos"),))
            assert task.answer(settled(trace)) == stored["answer"]
            asked += questions
    assert asked > 10
