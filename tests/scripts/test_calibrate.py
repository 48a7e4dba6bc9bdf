"""ponder-calibrate on simulated scores: it recovers what was planted, and reports honestly how well."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import brier_score_loss

from ponder.errors import UserError
from ponder.scripts import calibrate
from ponder.scripts.calibrate import Scored, fit, gathered, isotonic, measured, platt
from ponder.scripts.results import load
from ponder.types import Problem, Score, Step, Trace
from ponder.verifiers.calibration import Calibrated, Isotonic, Platt

SLOPE, INTERCEPT = 4.0, -3.0


def simulated(questions: int, each: int, seed: int = 0) -> Scored:
    """Scores in [0, 1] that are right with probability expit(4 score - 3): far too sure of themselves."""
    rng = np.random.default_rng(seed)
    scores = rng.random(questions * each)
    right = (rng.random(len(scores)) < expit(SLOPE * scores + INTERCEPT)).astype(float)
    return Scored(scores, right, np.repeat(np.arange(questions), each))


def run(folder: Path, scored: Scored, verifier: str = "one", questions: int = 0) -> Path:
    """A run's folder with a row a question; each has solutions besides that do not count."""
    folder.mkdir(parents=True)
    settings = {"search": {"name": "best_of_n"}, "budget": {"n": 4}, "task": {"name": "toy"}, "seed": 0}
    settings["verifier"] = {"name": verifier}
    rows = []
    for i in range(questions or scored.questions):
        mine = scored.question == i
        traces = [
            {"score": score, "correct": bool(right), "finished": True, "answer": "a"}
            for score, right in zip(scored.scores[mine].tolist(), scored.right[mine].tolist(), strict=True)
        ]
        traces += [{"score": 0.9, "correct": True, "finished": False, "answer": None}]
        traces += [{"score": None, "correct": True, "finished": True, "answer": "a"}]
        traces += [
            {"score": 0.9, "correct": True, "finished": True, "answer": "a"}
        ]  # a report's, not of the population
        population = [[at, 0.0] for at in range(len(traces) - 1)]
        rows.append({"run_id": folder.name, "problem_id": f"p{i}", "traces": traces, "population": population})
    about = {"run_id": folder.name, "config": settings, "questions": len(rows)}
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "rows.jsonl").write_text("".join(json.dumps({"config_hash": folder.name, **row}) + "\n" for row in rows))
    return folder


def test_platt_recovers_the_curve() -> None:
    many = simulated(4000, 5)
    found = platt(many.scores, many.right)
    assert found.slope == pytest.approx(SLOPE, abs=0.25)
    assert found.intercept == pytest.approx(INTERCEPT, abs=0.25)
    moved = platt(1000 * many.scores - 7, many.right)  # the same curve of other units
    assert moved.slope == pytest.approx(found.slope / 1000, rel=1e-3)
    assert moved.intercept == pytest.approx(found.intercept + 7 * moved.slope, rel=1e-3)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=30))
def test_tables_are_tables_whatever_the_scores(pairs: list[tuple[float, bool]]) -> None:
    scores, right = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    probabilities = isotonic(scores, right)(np.sort(scores))
    assert (np.diff(probabilities) >= 0).all()
    assert probabilities.mean() == pytest.approx(right.mean(), abs=1e-6)  # pooled means are right on average
    logistic = platt(scores, right)(scores)
    assert ((logistic >= 0) & (logistic <= 1)).all()


def test_isotonic_by_hand() -> None:
    found = isotonic(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert found(np.array([0.0, 0.1, 0.2, 0.25, 0.3, 0.4, 1.0])).tolist() == [0.0, 0.0, 0.5, 0.5, 0.5, 1.0, 1.0]


def test_one_sided_solutions_give_a_level_curve() -> None:
    assert platt(np.array([0.1, 0.2]), np.ones(2))(np.array([0.5])) == pytest.approx(3 / 4)
    assert platt(np.full(4, 0.5), np.array([0.0, 1.0, 0.0, 0.0])).slope == 0.0


def test_errors_by_hand() -> None:
    scored = Scored(np.array([0.9, 0.8, 0.2, 0.35]), np.array([1.0, 0.0, 0.0, 1.0]), np.array([0, 0, 1, 1]))
    found = measured(scored.scores, scored, bins=2)
    assert found.brier == pytest.approx(brier_score_loss(scored.right, scored.scores))
    assert found.ece == pytest.approx((abs(1.7 - 1) + abs(0.55 - 1)) / 4)
    assert measured(scored.right, scored, bins=10)[::2] == (0.0, 0.0)
    assert measured(1 - scored.right, scored, bins=10)[::2] == (1.0, 1.0)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_held_out_error_falls(method: str) -> None:
    found = fit(simulated(500, 4), method)
    assert found.before is not None
    assert found.before.ece > 0.15
    assert found.held_out.ece < 0.05
    assert found.before.ece_interval[0] > found.held_out.ece_interval[1]
    assert found.held_out.brier < min(found.constant.brier, found.before.brier)
    for one in (found.before, found.held_out, found.constant):
        assert one.brier_interval[0] < one.brier < one.brier_interval[1]
        assert one.ece_interval[0] <= one.ece <= one.ece_interval[1]


def test_scores_that_know_nothing_gain_nothing() -> None:
    """Where right and wrong are told by the question alone, a table fitted to that question would look perfect."""
    rng = np.random.default_rng(0)
    questions = np.repeat(np.arange(60), 5)
    levels = rng.random(60)
    right = rng.integers(0, 2, 60).astype(float)
    found = fit(Scored(levels[questions], right[questions], questions), "isotonic")
    assert found.held_out.brier > found.constant.brier - 0.01
    table = found.table(levels[questions])
    assert np.mean((table - right[questions]) ** 2) < found.constant.brier - 0.01


def test_intervals_hold_the_truth() -> None:
    """Perfectly calibrated scores: the true calibration error is 0, whatever the noise."""
    held = 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        scores = rng.random(320)
        scored = Scored(scores, (rng.random(320) < scores).astype(float), np.repeat(np.arange(80), 4))
        found = measured(scores, scored, bins=10, seed=seed)
        assert found.ece > 0.01
        held += found.ece_interval[0] == 0.0
    assert held >= 12


def test_the_command_writes_what_the_verifier_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = simulated(60, 4)
    folder = run(tmp_path / "run", scored)
    for method, kind in (("isotonic", Isotonic), ("platt", Platt)):
        out = tmp_path / "made" / f"{method}.json"
        calibrate.main([str(folder), f"method={method}", f"out={out}"])
        shown = capsys.readouterr().out
        assert "240 solutions of 60 questions" in shown
        assert f"{method}, held out" in shown
        assert str(out) in shown
        verifier: Any = Calibrated(Given(), str(out))
        assert isinstance(verifier.table, kind)
        expected = fit(scored, method).table(np.array([0.25]))
        trace = Trace(Problem("p", "ask")) + Step("x")
        assert asyncio.run(verifier.score([trace])) == [pytest.approx(float(expected[0]))]
        about = json.loads(out.read_text())["about"]
        assert (about["solutions"], about["questions"]) == (240, 60)
        assert 0 <= about["held_out"]["ece"] <= 1


class Given:
    def score(self, traces: Any) -> Any:
        return [Score(0.25) for _ in traces]


def test_scores_outside_of_the_unit_interval_have_no_error_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored = simulated(20, 4)
    logits = Scored(10 * scored.scores, scored.right, scored.question)
    assert fit(logits, "platt").before is None
    calibrate.main([str(run(tmp_path / "run", logits)), f"out={tmp_path / 'c.json'}"])
    assert "not in [0, 1]" in capsys.readouterr().out


def test_what_should_be_looked_at_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = simulated(40, 4)
    turned = Scored(1 - scored.scores, scored.right, scored.question)
    run(tmp_path / "a", turned)
    run(tmp_path / "b", turned, verifier="other")
    calibrate.main([str(tmp_path), "method=platt", f"out={tmp_path / 'c.json'}"])
    notes = capsys.readouterr().err
    assert "of several verifiers" in notes
    assert "less often right" in notes


def test_only_finished_scored_solutions_count(tmp_path: Path) -> None:
    scored = simulated(5, 3)
    found = gathered(load([run(tmp_path / "run", scored)]))
    assert found.scores.tolist() == scored.scores.tolist()
    assert found.right.tolist() == scored.right.tolist()
    assert found.question.tolist() == scored.question.tolist()


def test_a_solution_counts_as_often_as_it_was_drawn(tmp_path: Path) -> None:
    scored = simulated(3, 5)
    folder = run(tmp_path / "run", scored)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    rows[0]["population"] = [[2, 0.0]] * 3
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert gathered(load([folder])).scores.tolist() == [scored.scores[2]] * 3 + scored.scores[5:].tolist()


def test_without_anything_to_learn_it_says_so(tmp_path: Path) -> None:
    scored, alike = simulated(6, 3), np.zeros(18, dtype=np.int64)
    for name, solutions, says in (
        ("right", Scored(scored.scores, np.ones(18), scored.question), "all 18 finished solutions are right"),
        ("wrong", Scored(scored.scores, np.zeros(18), scored.question), "all 18 finished solutions are wrong"),
        ("single", Scored(scored.scores, scored.right, alike), "all solutions are of one question"),
        ("none", Scored(scored.scores, scored.right, alike - 1), "no finished solution has a score"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            gathered(load([run(tmp_path / name, solutions, questions=6)]))
        assert caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{runs}", "z=3"], ["'z'", "allowed keys: method, folds, bins, out"]),
        (["{runs}", "method=spline"], ["method=spline", "isotonic, platt"]),
        (["{runs}", "folds=1"], ["folds=1", "whole number from 2"]),
        (["{runs}", "bins=0"], ["bins=0", "whole number from 1"]),
        (["{runs}", "out={runs}"], ["cannot write the table"]),
        (["{runs}/nowhere"], ["nowhere does not exist"]),
        ([], ["no folder given"]),
    ],
)
def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    folder = run(tmp_path / "run", simulated(6, 3))
    with pytest.raises(SystemExit) as caught:
        calibrate.main([argument.format(runs=folder) for argument in arguments])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("ponder-calibrate: ")
    assert all(word in message for word in words), message


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    calibrate.main(["--help"])
    assert "usage: ponder-calibrate DIR" in capsys.readouterr().out
