"""A few rows for each task that reads a file: `samples/NAME.jsonl`, written by us in the benchmark's form."""

from __future__ import annotations

from pathlib import Path

from ponder.verifiers import execution

SAMPLES = Path(__file__).parent / "samples"
CONF = Path(__file__).parents[2] / "conf" / "task"


def overrides(task: str) -> list[str]:
    """What `task=NAME` needs here: the path of its rows, nothing if it makes its own.

    Where the kernel isolates no programs, ours and those of the benchmarks, which we trust, run without.
    """
    found = sorted(SAMPLES.glob(f"{task}.jsonl*"))
    extra = {"retrieval_qa": [f"task.retriever.corpus={SAMPLES / 'corpus.jsonl'}"]}
    rows = [f"task.path={found[0]}", *extra.get(task, [])] if found else []
    runs_programs = "${sandbox}" in (CONF / f"{task}.yaml").read_text(encoding="utf-8")
    return rows + (["sandbox=unsafe"] if runs_programs and execution._refusal() else [])
