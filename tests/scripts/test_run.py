"""The command: mistakes are one message and exit code 2, runs resume, failures stay where they happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scripts.command import by_problem, ponder, ponder_here, rows, runs, user_folder
from tests.tasks.sample_rows import overrides

SCRIPTED = "debug=scripted"

FLAKY = '''\
from pathlib import Path
from ponder.samplers.scripted import Scripted


class Flaky(Scripted):
    """Fails on prompts that contain a word, as long as a file named broken is there."""

    def __init__(self, word):
        super().__init__(["\\\\boxed{1}"])
        self.word = word

    async def sample(self, trace, n, until, *, seed):
        if self.word in trace.problem.prompt and Path("broken").exists():
            raise RuntimeError("the engine fell over")
        return await super().sample(trace, n, until, seed=seed)
'''

WRONG = [
    ("budget.n=0", "budget.n=0", "from 1"),
    ("budget.n=many", "budget.n=many", "from 1"),
    ("budget.new_tokens=-1", "budget.new_tokens=-1", "above 0"),
    ("budget.run.seconds=-1", "budget.run.seconds=-1", "above 0"),
    ("search.foo=1", "search.foo", "ponder --help"),
    ("search.ess_threshold=x", "ess_threshold", "x"),
    ("seed=-1", "seed=-1", "from 0"),
    ("concurrency=0", "concurrency=0", "from 1"),
    ("step.max_steps=0", "step.max_steps=0", "from 1"),
    ("step.max_tokens=0", "step.max_tokens=0", "from 1"),
    ("task.level=9", "task.level=9", "1"),
    ("task.path=x", "task.path", "+KEY=VALUE"),
    ("sampler.order=sideways", "sampler.order", "listed, seed"),
]


@pytest.mark.parametrize(("given", "key", "allowed"), WRONG, ids=[given for given, *_ in WRONG])
def test_a_wrong_value_is_one_message(given: str, key: str, allowed: str, tmp_path: Path) -> None:
    ponder_here(tmp_path, SCRIPTED, given).refused(key, allowed)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", ["task=nope", "search=nope", "nope=1"])
def test_an_unknown_name_is_one_message(given: str, tmp_path: Path) -> None:
    done = ponder(tmp_path, given).refused(given.split("=")[0], "ponder --help")
    if given == "task=nope":
        assert "arithmetic" in done.err
        assert "gsm8k" in done.err
    assert not list(tmp_path.iterdir())


def test_a_wrong_dtype_is_refused_before_an_engine_starts(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    done = ponder(tmp_path, "sampler.dtype=int3").refused("sampler.dtype", "int3", "float32")
    assert "EngineCore" not in done.err
    assert not list(tmp_path.iterdir())


def test_a_missing_task_file_is_one_message(tmp_path: Path) -> None:
    ponder_here(tmp_path, SCRIPTED, "task=gsm8k", "task.path=nope.jsonl").refused("task.path=nope.jsonl", "jsonl")
    assert not list(tmp_path.iterdir())


def test_a_bad_task_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n{"question": "2 + 2?"}\n')
    ponder_here(tmp_path, SCRIPTED, "task=gsm8k", "task.path=bad.jsonl").refused("bad.jsonl:2", "answer")
    assert not (tmp_path / "runs").exists()


def test_a_strategy_without_the_verifier_it_needs(tmp_path: Path) -> None:
    ponder_here(tmp_path, SCRIPTED, "verifier=none", "search=best_of_n").refused("verifier")


def test_a_sweep_writes_a_run_each_and_resumes(tmp_path: Path) -> None:
    sweep = ("-m", "search=best_of_n,self_consistency", "seed=0,1", SCRIPTED)
    ponder(tmp_path, *sweep).well()
    found = runs(tmp_path / "runs")
    assert len(found) == 4
    before = {path: (path / "rows.jsonl").read_bytes() for path in found}
    assert all(len(rows(path)) == 3 for path in found)
    for path in found:
        about = json.loads((path / "run.json").read_text())
        assert about["questions"] == 3
        assert about["run_id"] == path.name
    again = ponder_here(tmp_path, *sweep).well()
    assert runs(tmp_path / "runs") == found
    assert {path: (path / "rows.jsonl").read_bytes() for path in found} == before
    assert again.err.count("3 questions") == 4


def test_same_seed_same_rows_in_two_folders(tmp_path: Path) -> None:
    for out, concurrency in (("one", 64), ("two", 1)):
        ponder_here(tmp_path, SCRIPTED, f"out={out}", f"concurrency={concurrency}").well()
    (one,), (two,) = runs(tmp_path / "one"), runs(tmp_path / "two")
    assert one.name == two.name
    assert by_problem(rows(one)) == by_problem(rows(two))
    ponder_here(tmp_path, SCRIPTED, "out=three", "seed=1").well()
    (three,) = runs(tmp_path / "three")
    assert by_problem(rows(three)) != by_problem(rows(one))


@pytest.mark.parametrize("search", ["best_of_n", "self_consistency", "particle_filtering"])
def test_a_ceiling_is_never_exceeded(search: str, tmp_path: Path) -> None:
    texts = "sampler.texts=['one\n\n two\n\n\\\\boxed{1}', 'three\n\n\\\\boxed{2}']"
    given = (SCRIPTED, f"search={search}", texts, "task.limit=5")
    ponder_here(tmp_path, *given, "budget.new_tokens=30").well()
    ponder_here(tmp_path, *given, "budget.run.new_tokens=60", "out=whole").well()
    (each,), (whole,) = runs(tmp_path / "runs"), runs(tmp_path / "whole")
    spent = [row["cost"].get("policy", {"new_tokens": 0})["new_tokens"] for row in rows(each)]
    assert len(spent) == 5
    assert all(0 < tokens <= 30 for tokens in spent)
    assert all(row["error"] is None for row in rows(each))
    assert sum(row["cost"].get("policy", {"new_tokens": 0})["new_tokens"] for row in rows(whole)) <= 60
    assert len(rows(whole)) == 5


def test_a_failed_question_is_a_row_and_is_tried_again(tmp_path: Path) -> None:
    user_folder(tmp_path, "sampler", "flaky", FLAKY, "_target_: flaky.Flaky\nword: '#two'\n")
    lines = [{"question": f"What is #{word}?", "answer": "#### 1"} for word in ("one", "two", "three", "four")]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "broken").touch()
    parts = ("sampler=flaky", "task=gsm8k", "task.path=questions.jsonl", "task.limit=4", "search=self_consistency")
    given = ("--config-dir", "conf", SCRIPTED, *parts, "budget.n=2")
    done = ponder_here(tmp_path, *given).well()
    assert "1 FAILED" in done.err
    (run,) = runs(tmp_path / "runs")
    first = by_problem(rows(run))
    assert len(first) == 4
    failed = first.pop("gsm8k-test-00001")
    assert failed["error"]["type"] == "SamplerError"
    assert "the engine fell over" in failed["error"]["message"]
    assert not any(answer["correct"] for answer in failed["answers"].values())
    assert all(row["error"] is None and row["answers"]["majority"]["correct"] for row in first.values())

    (tmp_path / "broken").unlink()
    done = ponder_here(tmp_path, *given).well()
    assert "FAILED" not in done.err
    assert len(rows(run)) == 5
    healed = by_problem(rows(run))
    assert len(healed) == 4
    assert healed["gsm8k-test-00001"]["error"] is None
    assert {key: row for key, row in healed.items() if key in first} == first


def test_equal_questions_differ_by_their_key_only(tmp_path: Path) -> None:
    """What changes rows gets a folder of its own; what only changes speed does not."""
    for given in ("seed=0", "concurrency=2", "logger=none", "search.ess_threshold=0.3"):
        ponder_here(tmp_path, SCRIPTED, given).well()
    assert len(runs(tmp_path / "runs")) == 2


def test_a_combination_that_cannot_be_does_not_cost_the_sweep_its_others(tmp_path: Path) -> None:
    given = ("search=beam_search", "budget.n=4,6,8", "search.width=4", "task.limit=2")
    done = ponder_here(tmp_path, "-m", "sampler=scripted", "verifier=constant", *given)
    assert done.code == 2
    assert "budget.n=6" in done.err
    assert "search.width=4 does not divide search.n=6" in done.err
    assert "1 of the sweep's combinations" in done.err
    assert sorted(json.loads((run / "run.json").read_text())["config"]["budget"]["n"] for run in runs(tmp_path)) == [
        4,
        8,
    ]


@pytest.mark.parametrize("search", ["gen_select", "universal_self_consistency"])
def test_a_model_that_follows_no_instructions_is_not_asked_in_words(search: str, tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    ponder_here(tmp_path, f"search={search}", "verifier=constant").refused(search, "model=embedded", "roles.judge")
    ponder_here(tmp_path, f"search={search}", "sampler=scripted", "verifier=constant", "task.limit=2").well()


def test_a_task_with_a_judge_refuses_a_model_that_cannot_judge(tmp_path: Path) -> None:
    given = ["task=open_ended", *overrides("open_ended"), "verifier=constant"]
    ponder_here(tmp_path, *given).refused("task=open_ended asks a model in words", "'task.judge.sampler=")
