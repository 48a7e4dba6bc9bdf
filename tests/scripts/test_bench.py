"""ProcessBench's figures against hand counts, and the command `ponder-bench` from end to end."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.context import Setup
from ponder.errors import UserError
from ponder.scripts import bench
from ponder.scripts.bench import Judging, described
from ponder.scripts.processbench import Judged, best_threshold, evaluate, first_wrong
from ponder.tasks.processbench import ProcessBench
from ponder.types import Score
from tests.scripts.command import Done, here

DATA = Path(__file__).parents[3] / "shared" / "data" / "processbench.jsonl.gz"
REAL = pytest.mark.skipif(not DATA.exists(), reason="shared/data/processbench.jsonl.gz is not beside the repository")


def ponder_bench(folder: Path, *given: str) -> Done:
    """Runs `ponder-bench` in this process, in `folder`."""
    return here("ponder-bench", bench.main, folder, *given)


# Figures.


def test_the_first_step_below_the_threshold_is_wrong() -> None:
    assert first_wrong([0.9, 0.4, 0.1], 0.5) == 1
    assert first_wrong([0.9, 0.5], 0.5) == -1
    assert first_wrong([], 0.5) == -1


def test_figures_are_those_counted_by_hand() -> None:
    """At 0.5: of gsm8k's 3 wrong ones 1 is met, of its 2 right ones 1; of math's 1 and 1 both."""
    judged = [
        Judged("gsm8k", 1, (0.9, 0.2, 0.8)),  # met
        Judged("gsm8k", 0, (0.7, 0.1), unread=2),  # too late
        Judged("gsm8k", 2, (0.9, 0.9, 0.6)),  # never
        Judged("gsm8k", -1, (0.6, 0.9)),  # met
        Judged("gsm8k", -1, (0.6, 0.4)),  # called wrong
        Judged("math", 0, (0.0,)),
        Judged("math", -1, (1.0,), unread=1),
        Judged("omnimath", 1, (1.0, 0.0)),  # no right one: counts nowhere in the average
    ]
    found = evaluate(judged, threshold=0.5)
    gsm8k, math_, omni = found.splits.values()
    assert (gsm8k.wrong, gsm8k.right, gsm8k.wrong_accuracy, gsm8k.right_accuracy) == (3, 2, 1 / 3, 1 / 2)
    assert gsm8k.f1 == pytest.approx(2 / 5)  # 2 (1/3)(1/2) / (1/3 + 1/2)
    assert (math_.wrong_accuracy, math_.right_accuracy, math_.f1) == (1, 1, 1)
    assert omni.wrong_accuracy == 1
    assert math.isnan(omni.right_accuracy)
    assert math.isnan(omni.f1)
    assert found.average.f1 == pytest.approx((2 / 5 + 1) / 2)
    assert (found.average.wrong, found.average.right, found.unread, found.failed) == (5, 3, 3, 0)
    assert gsm8k.f1_interval[0] <= gsm8k.f1 <= gsm8k.f1_interval[1]
    assert gsm8k.wrong_interval[0] < 1 / 3 < gsm8k.wrong_interval[1]


def test_a_failed_solution_is_missed_and_stays_in_the_denominator() -> None:
    judged = [Judged("math", -1, ()), Judged("math", -1, (1.0,)), Judged("math", 0, (0.0,)), Judged("math", 0, ())]
    found = evaluate(judged)
    assert (found.splits["math"].right_accuracy, found.splits["math"].wrong_accuracy, found.failed) == (0.5, 0.5, 2)


def test_the_threshold_is_the_middle_of_the_best_interval() -> None:
    """Right ones need a threshold up to 0.6, the wrong one above 0.2: the middle is 0.4."""
    judged = [Judged("gsm8k", 1, (0.9, 0.2)), Judged("gsm8k", -1, (0.6, 0.7))]
    assert best_threshold(judged) == pytest.approx(0.4)
    # 0.3 and 0.5 lie between and change nothing: both are in steps after the first wrong one.
    more = [Judged("gsm8k", 1, (0.9, 0.2, 0.3, 0.5)), judged[1]]
    assert best_threshold(more) == pytest.approx(0.4)
    assert evaluate(judged).chosen == "highest F1 on 2 solutions of gsm8k"


def test_the_threshold_is_that_of_a_search_through_all() -> None:
    rng = np.random.default_rng(0)
    judged = []
    for _ in range(120):
        scores = np.round(rng.random(rng.integers(1, 8)), 2)
        label = int(rng.integers(-1, len(scores)))
        scores[label if label >= 0 else 0] += -0.3 if label >= 0 else 0.3
        judged.append(Judged("gsm8k", label, tuple(scores.tolist())))

    def f1(threshold: float) -> float:
        met = [first_wrong(one.scores, threshold) == one.label for one in judged]
        wrong = np.mean([m for m, one in zip(met, judged, strict=True) if one.label >= 0])
        right = np.mean([m for m, one in zip(met, judged, strict=True) if one.label < 0])
        return float(2 * wrong * right / (wrong + right)) if wrong + right else 0.0

    best = max(f1(float(threshold)) for threshold in np.arange(-0.505, 1.6, 0.01))
    found = best_threshold(judged)
    assert f1(found) == pytest.approx(best)
    assert evaluate(judged).splits["gsm8k"].f1 == pytest.approx(best)
    assert 0.1 < best < 0.9


def test_the_threshold_of_gsm8k_serves_all_splits_and_zeros_and_ones_need_none() -> None:
    tuned = [Judged("gsm8k", 0, (0.2,)), Judged("gsm8k", -1, (0.4,))]
    other = [Judged("math", 0, (0.7,)), Judged("math", -1, (0.9,))]
    found = evaluate([*tuned, *other])
    assert found.threshold == pytest.approx(0.3)
    assert found.splits["math"].f1 == 0.0, "0.8 would be better there, but is not looked for"
    verdicts = evaluate([Judged("math", 0, (0.0,)), Judged("math", -1, (1.0, 1.0))])
    assert (verdicts.threshold, verdicts.chosen, verdicts.average.f1) == (0.5, "scores are 0 or 1", 1.0)
    assert evaluate([*tuned, *other], threshold=0.8).splits["math"].f1 == 1.0
    with pytest.raises(UserError, match="threshold=NUMBER"):
        evaluate(other)
    with pytest.raises(UserError, match="no threshold"):
        evaluate([tuned[0], *other])


@pytest.mark.parametrize(("value", "threshold"), [(0.5, 0.5), (-3.0, -3.0), (1.0, 0.5)])
def test_a_verifier_that_says_one_thing_finds_nothing(value: float, threshold: float) -> None:
    judged = [Judged("gsm8k", label, (value,) * 3) for label in (-1, -1, 0, 2)]
    found = evaluate(judged)
    assert (found.threshold, found.average.wrong_accuracy, found.average.right_accuracy) == (threshold, 0.0, 1.0)
    assert found.average.f1 == 0.0


def test_a_verifier_that_knows_only_wrong_ones_may_call_all_wrong() -> None:
    judged = [Judged("gsm8k", 0, (0.4, 0.1)), Judged("gsm8k", -1, (0.9,)), Judged("gsm8k", 0, (0.4, 0.1))]
    assert best_threshold(judged) == pytest.approx(0.65)


def test_intervals_hold_the_figure_as_often_as_they_say() -> None:
    """100 samples of 60 solutions from a verifier whose F1 is 0.6: about 95 % of the intervals hold it."""
    rng, held = np.random.default_rng(0), 0
    for seed in range(100):
        judged = []
        for wrong in rng.random(60) < 0.5:
            met = rng.random() < 0.6
            scores = ((0.0,) if met else (1.0,)) if wrong else ((1.0,) if met else (0.0,))
            judged.append(Judged("math", 0 if wrong else -1, scores))
        low, high = evaluate(judged, seed=seed).average.f1_interval
        held += low <= 0.6 <= high
    assert 88 <= held <= 99


# The strategy.


class StepScores:
    """One score for each step: how many letters it has."""

    def score(self, traces: Any) -> Any:
        return [Score(0.0, [float(len(step.text.strip())) for step in t.steps], unread=1) for t in traces]


class WholeScores:
    """One score for all: how many letters the last step has. Notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score(self, traces: Any) -> Any:
        self.asked += [len(t) for t in traces]
        return [Score(float(len(t.steps[-1].text.strip())), unread=1) for t in traces]


@pytest.mark.parametrize(("verifier", "unread"), [(StepScores(), 1), (WholeScores(), 3)])
async def test_steps_are_scored_by_the_verifier_or_by_scoring_every_beginning(
    tmp_path: Path, verifier: Any, unread: int
) -> None:
    task = ProcessBench(written(tmp_path, ("a", "bbb", "cc"), 1))
    (problem,) = task.problems()
    ctx = Setup(samplers={}, verifiers={"verifier": verifier}).context(problem, 0)
    population = await Judging(task)(problem, ctx)
    row = described(population, ctx.reports, ctx.known_score, task.answer, lambda answer: False)
    assert row["step_scores"] == [1.0, 3.0, 2.0]
    assert row["unread"] == unread
    assert [trace["steps"] for trace in row["traces"]] == [["a\n\n", "bbb\n\n", "cc"]]
    assert sorted(getattr(verifier, "asked", [1, 2, 3])) == [1, 2, 3], "the whole is asked about once"


def written(folder: Path, steps: tuple[str, ...], label: int) -> str:
    """A file with one row."""
    path = folder / "one.jsonl"
    row = {"id": "math-0", "problem": "p", "steps": list(steps), "label": label}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return str(path)


# The command.

MINE = """
import json, pathlib
from ponder.types import Score


class Knows:
    range = (0.0, 1.0)

    def __init__(self, path, fails=0):
        rows = map(json.loads, pathlib.Path(path).read_text().splitlines())
        self.labels = {(row["problem"], *row["steps"]): row["label"] for row in rows}
        self.fails = fails

    def score(self, traces):
        return [self.one(t) for t in traces]

    def one(self, trace):
        texts = tuple(step.text.strip() for step in trace.steps)
        label = self.labels.get((trace.problem.prompt, *texts), -1)
        if trace.problem.id in ("math-0", "math-1")[: self.fails]:
            raise ValueError("cannot")
        return Score(1.0, [float(k != label) for k in range(len(texts))])


class Compares:
    async def compare(self, traces):
        return [0.0] * len(traces)
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with rows, a verifier file and its yamls."""
    rows = [
        {"id": f"{split}-{i}", "problem": f"{split} {i}", "steps": [f"s{k}" for k in range(4)], "label": i % 5 - 1}
        for split in ("gsm8k", "math")
        for i in range(10)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    conf = tmp_path / "conf" / "verifier"
    conf.mkdir(parents=True)
    (conf / "knows.yaml").write_text("_target_: mine.Knows\npath: rows.jsonl\nfails: 0\n", encoding="utf-8")
    (conf / "compares.yaml").write_text("_target_: mine.Compares\n", encoding="utf-8")
    return tmp_path


def figures(done: Done) -> Any:
    """What format=json printed."""
    return json.loads(done.well().out)


COMMAND = ("processbench", "--config-dir", "conf", "path=rows.jsonl")


def test_a_verifier_of_ones_own_is_measured_and_a_killed_benchmark_goes_on(work: Path) -> None:
    done = ponder_bench(work, *COMMAND, "verifier=knows").well()
    assert "20 solutions judged" in done.err
    for words in ("gsm8k", "average", "100.0 [100.0, 100.0]", "scores are 0 or 1", "20 traces scored"):
        assert words in done.out
    (folder,) = (work / "runs").iterdir()
    assert folder.name.startswith("processbench-knows-")
    rows = folder / "judged.jsonl"
    whole = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    rows.write_text("".join(whole[:7]) + whole[7][:40], encoding="utf-8")  # killed in the eighth
    again = figures(ponder_bench(work, *COMMAND, "verifier=knows", "format=json"))
    assert again["average"]["f1"] == 1.0
    assert rows.read_text(encoding="utf-8").splitlines(keepends=True)[:7] == whole[:7]
    assert len(rows.read_text(encoding="utf-8").splitlines()) == 20
    assert list((work / "runs").iterdir()) == [folder], "the threshold and the format make no other run"


def test_labels_are_not_among_what_a_verifier_reads_and_rows_hold_its_scores(work: Path) -> None:
    ponder_bench(work, *COMMAND, "verifier=knows", "limit=4").well()
    (path,) = work.glob("runs/*/judged.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 4
    assert all(set(row["meta"]) == {"split", "generator"} for row in rows)
    assert all(len(row["step_scores"]) == 4 for row in rows)


def test_failures_count_as_missed_and_are_tried_again(work: Path) -> None:
    found = figures(ponder_bench(work, *COMMAND, "verifier=knows", "verifier.fails=2", "format=json"))
    assert found["failed"] == 2  # math-0 is right, math-1 wrong at its first step
    assert found["splits"]["math"]["right_accuracy"] == 1 / 2
    assert found["splits"]["math"]["wrong_accuracy"] == 7 / 8
    done = ponder_bench(work, *COMMAND, "verifier=knows", "verifier.fails=2").well()
    assert "2 FAILED" in done.err
    assert "2 solutions FAILED" in done.out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), ["no benchmark given", "allowed: processbench"]),
        (("procesbench", "verifier=constant"), ["'procesbench' is unknown", "allowed: processbench"]),
        (("processbench",), ["no verifier given", "verifier=NAME"]),
        (("processbench", "verifier=constant", "path=no.jsonl"), ["path=no.jsonl is no file"]),
        (("processbench", "verifier=constant", "limit=0", "path=rows.jsonl"), ["limit=0"]),
        (("processbench", "verifier=constant", "format=html"), ["format=html", "table, json"]),
        (("processbench", "verifier=constant", "threshold=high"), ["threshold=high"]),
        (("processbench", "verifier=constant", "seed=-1"), ["seed=-1"]),
        (("processbench", "verifier=constant", "limits=3"), ["limits"]),
        ((*COMMAND, "verifier=compares"), ["verifier=compares compares solutions"]),
    ],
)
def test_mistakes_end_in_one_message(work: Path, given: tuple[str, ...], words: list[str]) -> None:
    done = ponder_bench(work, *given)
    assert done.code == 2, done.err
    assert "Traceback" not in done.out + done.err
    assert done.err.startswith("ponder-bench: ")
    for word in words:
        assert word in done.err
    assert not (work / "runs").exists()


def test_help_needs_no_benchmark(work: Path) -> None:
    page = ponder_bench(work, "--help").well().out
    for words in ("processbench", "verifier=NAME", "limit=100", "EXIT CODES"):
        assert words in page


# Real rows.


@REAL
def test_a_trivial_verifier_on_real_rows_is_counted_by_hand(tmp_path: Path) -> None:
    """Regex says 1 of every beginning from the first "=" on: it calls the first step wrong, or none."""
    given = ("processbench", "verifier=regex", "verifier.pattern='='", f"path={DATA}", "limit=100", "format=json")
    found = figures(ponder_bench(tmp_path, *given))
    (path,) = tmp_path.glob("runs/*/judged.jsonl")
    ids = [json.loads(line)["problem_id"] for line in path.read_text(encoding="utf-8").splitlines()]
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        rows = {row["id"]: row for row in map(json.loads, lines)}
    tally: dict[tuple[str, bool], list[bool]] = {}
    for id_ in ids:
        row = rows[id_]
        said = -1 if "=" in row["steps"][0] else 0
        tally.setdefault((row["split"], row["label"] >= 0), []).append(said == row["label"])
    assert len(ids) == 100
    for split, of in found["splits"].items():
        wrong, right = tally[split, True], tally[split, False]
        assert (of["wrong"], of["right"]) == (len(wrong), len(right))
        assert of["wrong_accuracy"] == sum(wrong) / len(wrong)
        assert of["right_accuracy"] == sum(right) / len(right)
    f1 = [
        2 * w * r / (w + r)
        for w, r in ((of["wrong_accuracy"], of["right_accuracy"]) for of in found["splits"].values())
    ]
    assert found["average"]["f1"] == pytest.approx(np.mean(f1))
