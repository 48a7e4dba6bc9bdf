"""ponder-rescore: stored rows under another verifier are a run, and nothing but the weights is new."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from ponder.errors import UserError
from ponder.scripts import check, curves, points, rescore
from tests.scripts.command import Done, by_problem, environment, ponder_here, rows, runs, user_folder

TEXTS = ["I add them up.\n\n\\boxed{1}", "Adding.\n\n\\boxed{2}", "aeiou aeiou\n\n\\boxed{2}", "I give up"]
QUESTIONS = 6

SAMPLER = '''\
from ponder.samplers.scripted import Scripted


class Flaky(Scripted):
    """Fails on prompts that contain a word."""

    def __init__(self, texts, word, model=None):
        super().__init__(texts, "seed")
        self.word = word
        self.model = model

    async def sample(self, trace, n, until, *, seed):
        if self.word in trace.problem.prompt:
            raise RuntimeError("the engine fell over")
        return await super().sample(trace, n, until, seed=seed)
'''

VOWELS = """\
class Vowels:
    range = (0.0, 1.0)

    def __init__(self, bonus=0.0):
        self.bonus = bonus

    def score(self, traces):
        return [min(1.0, sum(c in "aeiou" for c in t.text) / max(1, len(t.text)) + self.bonus) for t in traces]
"""

OTHERS = {
    "picky": """\
class Picky:
    def score(self, traces):
        if any("What is #4?" == t.problem.prompt for t in traces):
            raise ValueError("I do not like this one")
        return [0.5 for t in traces]
""",
    "logits": """\
class Logits:
    def score(self, traces):
        return [10.0 * t.text.count("e") - 5.0 for t in traces]
""",
    "together": """\
class Together:
    async def compare(self, traces):
        longest = max(len(t.text) for t in traces)
        return [len(t.text) / longest for t in traces]
""",
    "probed": """\
class Probed:
    needs_logprobs = True

    def score(self, traces):
        return [0.5 for t in traces]
""",
    "sleepy": '''\
import asyncio
from pathlib import Path


class Sleepy:
    """Writes down what it was asked, thinks for a while, and answers."""

    async def score(self, traces):
        for trace in traces:
            with Path("scored.txt").open("a") as scored:
                scored.write(trace.problem.prompt + "\\n")
        await asyncio.sleep(0.1)
        return [len(t.text) % 7 / 7 + 0.01 for t in traces]
''',
}

JUDGED = """\
class Judged:
    def __init__(self, judge):
        self.judge = judge

    def score(self, traces):
        return [1 / len(self.judge.texts) for t in traces]
"""


def here(main: Callable[[], None], folder: Path, *given: str) -> Done:
    """Runs a command that Hydra composes in this process, in `folder`."""
    with mock.patch("tests.scripts.command.main", main):
        return ponder_here(folder, *given)


def rescored(folder: Path, *given: str) -> Done:
    """Runs `ponder-rescore` with the user's parts."""
    return here(rescore.main, folder, "--config-dir", "conf", *given)


def refused(done: Done, *words: str) -> None:
    """A user's mistake: exit code 2, and one message with these words."""
    assert done.code == 2, done.err
    assert "Traceback" not in done.out + done.err
    assert "Error executing" not in done.err
    assert done.err.startswith("ponder-")
    for word in words:
        assert word in done.err, done.err


def made(folder: Path) -> Path:
    """A folder with a user's parts and questions whose answers are 1 and 2 in turn."""
    user_folder(folder, "sampler", "flaky", SAMPLER, f"_target_: flaky.Flaky\ntexts: {json.dumps(TEXTS)}\nword: '#0'\n")
    user_folder(folder, "verifier", "vowels", VOWELS, "_target_: vowels.Vowels\nbonus: 0.1\n")
    user_folder(folder, "verifier", "judged", JUDGED, "_target_: judged.Judged\njudge: ${sampler}\n")
    for name, code in OTHERS.items():
        user_folder(folder, "verifier", name, code, f"_target_: {name}.{name.title()}\n")
    lines = [{"question": f"What is #{i}?", "answer": f"#### {1 + i % 2}"} for i in range(QUESTIONS)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def stored(folder: Path, search: str, *more: str) -> Path:
    """A run of Flaky, which fails on one question."""
    given = ("--config-dir", "conf", "sampler=flaky", "task=gsm8k", "task.path=questions.jsonl", f"search={search}")
    ponder_here(folder, *given, "budget.n=6", "verifier=length", "verifier.target=20", *more).well()
    return next(run for run in runs(folder) if search in run.name and "rescored" not in run.name)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a run of best-of-N and one of particle filtering; tests write elsewhere."""
    folder = made(tmp_path_factory.mktemp("work"))
    for search in ("best_of_n", "particle_filtering"):
        stored(folder, search, "seed=3")
    return folder


def of(work: Path, search: str) -> Path:
    """The stored run of a search."""
    return next((work / "runs").glob(f"*{search}*"))


def vowels(text: str, bonus: float) -> float:
    return min(1.0, sum(c in "aeiou" for c in text) / max(1, len(text)) + bonus)


@pytest.mark.parametrize("search", ["best_of_n", "particle_filtering"])
def test_only_scores_weights_and_answers_are_new(search: str, work: Path, tmp_path: Path) -> None:
    run = of(work, search)
    rescored(work, f"run={run}", "verifier=vowels", "verifier.bonus=0.2", f"out={tmp_path}", "select=argmax").well()
    (new,) = runs(tmp_path)
    assert new.name.startswith(f"{run.name}-rescored-vowels-")
    old, about = by_problem(rows(run)), json.loads((new / "run.json").read_text())
    for row in by_problem(rows(new)).values():
        before = old[row["problem_id"]]
        assert {key: row[key] for key in ("seed", "prompt", "meta")} == {
            k: before[k] for k in ("seed", "prompt", "meta")
        }
        assert row.keys() == before.keys()
        assert row["run_id"] == new.name == about["run_id"]
        if before["error"]:
            continue
        assert row["error"] is None
        kept = ("steps", "why", "tokens", "logprobs", "finished", "answer", "correct")
        by_text = {"".join(trace["steps"]): trace for trace in before["traces"]}
        for trace in row["traces"]:
            assert {key: trace[key] for key in kept} == {key: by_text["".join(trace["steps"])][key] for key in kept}
            assert trace["score"] == pytest.approx(vowels("".join(trace["steps"]), 0.2))
        weighed = [(row["traces"][i], weight) for i, weight in row["population"]]
        assert [trace["steps"] for trace, _ in weighed] == [
            before["traces"][i]["steps"] for i, _ in before["population"]
        ]
        for trace, weight in weighed:
            assert weight == pytest.approx(math.log(min(trace["score"], 1 - 1e-7)))
        answered = [(weight, trace["answer"]) for trace, weight in weighed if trace["answer"]]
        assert row["answers"]["argmax"]["answer"] == max(answered, key=lambda one: one[0])[1]
        right = "1" if int(row["prompt"][-2]) % 2 == 0 else "2"
        assert all(one["correct"] == (one["answer"] == right) for one in row["answers"].values())
        assert row["select"] == "argmax"
        assert row["cost"]["policy"] == before["cost"]["policy"]
        assert row["cost"]["verifier"]["verifier_calls"] == len(row["traces"])
    config, first = about["config"], json.loads((run / "run.json").read_text())["config"]
    assert config["verifier"] == {"_target_": "vowels.Vowels", "bonus": 0.2, "name": "vowels"}
    assert config["rescored_from"] == run.name
    assert config["select"]["name"] == "argmax"
    same = config.keys() - {"verifier", "select", "weight", "rescored_from"}
    assert {key: config[key] for key in same} == {key: first[key] for key in same}
    assert about["questions"] == QUESTIONS


def test_the_same_verifier_gives_the_same_answers(work: Path, tmp_path: Path) -> None:
    run = of(work, "best_of_n")
    rescored(work, f"run={run}", "verifier=length", "verifier.target=20", f"out={tmp_path}").well()
    (new,) = runs(tmp_path)
    old = by_problem(rows(run))
    for row in by_problem(rows(new)).values():
        before = old[row["problem_id"]]
        assert row["select"] == before["select"]
        for select in ("argmax", "weighted_vote", "majority"):
            assert row["answers"][select] == before["answers"][select]
        assert row["population"] == before["population"]
        assert row["traces"] == before["traces"]
        assert row["cost"] == before["cost"]


def test_a_failed_question_stays_failed(work: Path, tmp_path: Path) -> None:
    run = of(work, "best_of_n")
    done = rescored(work, f"run={run}", "verifier=vowels", f"out={tmp_path}").well()
    assert f"{QUESTIONS} questions" in done.err
    assert "1 FAILED" in done.err
    (new,) = runs(tmp_path)
    ((failed, before),) = [
        (row, by_problem(rows(run))[id_]) for id_, row in by_problem(rows(new)).items() if row["error"]
    ]
    assert failed["error"] == before["error"]
    assert "the engine fell over" in failed["error"]["message"]
    assert not any(one["correct"] for one in failed["answers"].values())


def test_a_verifier_that_fails_on_one_question_costs_that_one(work: Path, tmp_path: Path) -> None:
    rescored(work, f"run={of(work, 'best_of_n')}", "verifier=picky", f"out={tmp_path}").well()
    (new,) = runs(tmp_path)
    failed = {row["prompt"]: row["error"] for row in rows(new) if row["error"]}
    assert set(failed) == {"What is #0?", "What is #4?"}
    assert failed["What is #4?"]["type"] == "VerifierError"
    assert "Picky.score raised ValueError: I do not like this one" in failed["What is #4?"]["message"]


def test_a_folder_of_runs_gets_a_sibling_each_and_again_nothing(tmp_path: Path) -> None:
    made(tmp_path)
    for search in ("best_of_n", "self_consistency"):
        stored(tmp_path, search, "sampler.word=nothing", "task.limit=3")
    first = runs(tmp_path / "runs")
    rescored(tmp_path, "run=runs", "verifier=vowels").well()
    new = [run for run in runs(tmp_path / "runs") if run not in first]
    assert sorted(run.name.partition("-rescored-")[0] for run in new) == [run.name for run in first]
    before = {run: (run / "rows.jsonl").read_bytes() for run in new}
    rescored(tmp_path, "run=runs", "verifier=vowels", "concurrency=1").well()
    assert {run: (run / "rows.jsonl").read_bytes() for run in runs(tmp_path / "runs") if run not in first} == before
    rescored(tmp_path, f"run={new[0]}", "verifier=constant").well()  # named itself, a re-scored run is a run, too
    assert len(runs(tmp_path / "runs")) == 5


def test_curves_keep_verifiers_apart(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = of(work, "best_of_n")
    rescored(work, f"run={run}", "verifier=vowels", f"out={tmp_path}").well()
    capsys.readouterr()
    curves.main([str(run), str(tmp_path), "group=verifier", f"out={tmp_path / 'figure'}"])
    shown = capsys.readouterr()
    for method in ("length: best_of_n · argmax", "vowels: best_of_n · argmax"):
        assert method in shown.out
    assert "N=6: vowels: best_of_n · argmax - length: best_of_n · argmax = " in shown.out
    assert f"{QUESTIONS} questions)" in shown.out
    assert "pools" not in shown.err
    points.summarise([run, tmp_path])
    assert "group=verifier" in capsys.readouterr().err


def test_scores_outside_the_unit_interval_need_another_weight(work: Path, tmp_path: Path) -> None:
    given = (f"run={of(work, 'best_of_n')}", "verifier=logits")
    rescored(work, *given, f"out={tmp_path / 'one'}").well()
    (one,) = runs(tmp_path / "one")
    messages = [row["error"]["message"] for row in rows(one) if row["prompt"] != "What is #0?"]
    assert all("set weight.path=ponder.search.weights.exponential" in message for message in messages)
    rescored(work, *given, "weight.path=ponder.search.weights.exponential", f"out={tmp_path / 'two'}").well()
    (two,) = runs(tmp_path / "two")
    assert two.name != one.name
    for row in rows(two):
        assert row["prompt"] == "What is #0?" or row["error"] is None
        for i, weight in row["population"]:
            assert weight == row["traces"][i]["score"]


def test_a_verifier_that_compares_sees_each_population(work: Path, tmp_path: Path) -> None:
    rescored(work, f"run={of(work, 'best_of_n')}", "verifier=together", f"out={tmp_path}").well()
    (new,) = runs(tmp_path)
    for row in rows(new):
        if not row["error"]:
            lengths = [len("".join(trace["steps"])) for trace in row["traces"]]
            assert [trace["score"] for trace in row["traces"]] == [length / max(lengths) for length in lengths]


def test_a_verifier_finds_the_models_of_the_run(work: Path, tmp_path: Path) -> None:
    """`${sampler}` is the run's unless the command says otherwise; a model that follows no instructions is refused."""
    given = (f"run={of(work, 'best_of_n')}", "verifier=judged")
    for name, more, texts in (("run", (), len(TEXTS)), ("own", ("sampler=scripted",), 2)):
        rescored(work, *given, f"out={tmp_path / name}", *more).well()
        (new,) = runs(tmp_path / name)
        assert {t["score"] for row in rows(new) for t in row["traces"]} == {1 / texts}
    deaf = ("sampler=flaky", "+sampler.model=${model.path}", "model=embedded", f"out={tmp_path / 'deaf'}")
    words = ("verifier=judged", "model=embedded", "follows no instructions", "verifier.judge=")
    refused(rescored(work, *given, *deaf), *words)
    yaml = "members: {one: {_target_: judged.Judged, judge: '${sampler}'}}\nweights: null\n"
    yaml = f"_target_: ponder.verifiers.ensemble.WeightedSum\n{yaml}"
    (work / "conf" / "verifier" / "pair.yaml").write_text(yaml)
    refused(rescored(work, given[0], "verifier=pair", *deaf), "verifier=pair", *words[1:])
    done = here(check.main, work, "--config-dir", "conf", "verifier=pair", *deaf[:3])
    refused(done, "verifier=pair", *words[1:])
    ponder_here(work, "--config-dir", "conf", "verifier=pair", *deaf[:3]).refused("verifier=pair", *words[1:])
    assert not (tmp_path / "deaf").exists()


def test_an_oracle_finds_the_task_of_the_run(work: Path, tmp_path: Path) -> None:
    rescored(work, f"run={of(work, 'best_of_n')}", "verifier=task_oracle", "select=argmax", f"out={tmp_path}").well()
    (new,) = runs(tmp_path)
    for row in rows(new):
        assert all(t["score"] == float(t["correct"]) for t in row["traces"] if t["finished"])
        assert row["answers"]["argmax"]["correct"] == any(t["correct"] for t in row["traces"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("run=runs",), ("no verifier given", "verifier=NAME")),
        (("run=runs", "verifier=none"), ("no verifier given", "verifier=NAME")),
        (("verifier=constant",), ("no run given", "run=DIR")),
        (("run=nowhere", "verifier=constant"), ("run=nowhere does not exist", "folder of a run")),
        (("run=conf", "verifier=constant"), ("no rows.jsonl", "run=conf")),
        (("run=runs", "verifier=nope"), ("verifier/nope", "vowels", "ponder-rescore --help")),
        (("run=runs", "verifier=vowels", "verifier.bonsu=1"), ("verifier.bonsu", "ponder-rescore --help")),
        (("run=runs", "verifier=vowels", "concurrency=0"), ("concurrency=0", "from 1")),
        (("run=runs", "verifier=probed"), ("verifier=probed", "Probed", "log-probabilities", "ponder verifier=probed")),
    ],
)
def test_mistakes(given: tuple[str, ...], words: tuple[str, ...], work: Path) -> None:
    before = runs(work)
    refused(rescored(work, *given), *words)
    assert runs(work) == before


def test_a_folder_without_run_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rows.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"run\.json is missing or unreadable"):
        rescore.stored_runs(tmp_path)


def test_killed_and_run_again_equals_uninterrupted(tmp_path: Path) -> None:
    made(tmp_path)
    run = stored(tmp_path, "best_of_n", "sampler.word=nothing")
    given = ["--config-dir", "conf", f"run={run}", "verifier=sleepy", "concurrency=1"]
    process = [sys.executable, "-m", "ponder.scripts.rescore", *given, f"out={tmp_path / 'new'}"]
    running = subprocess.Popen(process, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not sum((one / "rows.jsonl").read_bytes().count(b"\n") for one in runs(tmp_path / "new")) >= 2:
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        running.kill()
        running.wait()
    (new,) = runs(tmp_path / "new")
    kept = rows(new)
    assert 2 <= len(kept) < QUESTIONS
    (tmp_path / "scored.txt").unlink()
    here(rescore.main, tmp_path, *given, f"out={tmp_path / 'new'}").well()
    resumed = rows(new)
    assert resumed[: len(kept)] == kept
    assert len(resumed) == QUESTIONS
    asked = set((tmp_path / "scored.txt").read_text().splitlines())
    assert asked - {"What is 2 + 3?", "Résous x² = 4 — 求解 🧮"} == {row["prompt"] for row in resumed[len(kept) :]}
    here(rescore.main, tmp_path, *given[:-1], f"out={tmp_path / 'whole'}").well()
    (whole,) = runs(tmp_path / "whole")
    assert whole.name == new.name
    assert by_problem(rows(whole)) == by_problem(resumed)


WRONG: dict[str, tuple[str, tuple[str, ...]]] = {
    "short": ("return [0.5] * (len(traces) - 1)", ("2 scores for 3 traces", "one float for each trace")),
    "nan": ("return [float('nan') for t in traces]", ("nan", "return a low score instead")),
    "raises": ("raise KeyError('weights')", ("KeyError", "weights", "it must accept any text")),
    "batch": ("return [0.1 * len(traces) for t in traces]", ("alone", "normalise or rank nothing over the batch")),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_verifier_is_refused_by_every_command(name: str, work: Path) -> None:
    body, words = WRONG[name]
    code = f"class Wrong:\n    def score(self, traces):\n        {body}\n"
    user_folder(work, "verifier", f"wrong_{name}", code, f"_target_: wrong_{name}.Wrong\n")
    before = runs(work)
    given = ("--config-dir", "conf", f"verifier=wrong_{name}")
    refused(rescored(work, "run=runs", given[2]), "Wrong.score", *words)
    refused(here(check.main, work, *given), "Wrong.score", *words)
    ponder_here(work, *given, "sampler=scripted", "task.limit=2").refused("Wrong.score", *words)
    assert runs(work) == before


def test_help_is_a_manual(tmp_path: Path) -> None:
    page = here(rescore.main, tmp_path, "--help").well().out
    for word in (
        "ponder-rescore run=",
        "ponder-curves runs group=verifier",
        "--config-dir",
        "EXIT CODES",
        "embedded_prm",
    ):
        assert word in page
