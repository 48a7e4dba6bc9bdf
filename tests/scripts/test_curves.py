"""ponder-curves end to end on small hand-written rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.scripts import curves
from ponder.scripts.plots import AXES
from ponder.scripts.points import Point, anytime, stopped, summarise
from ponder.scripts.results import COSTS, Row, Stop, load

Cost = dict[str, dict[str, float]]


def cost(n: int) -> Cost:
    return {
        "policy": {"samples": n, "new_tokens": 10 * n, "flops": 100.0 * n, "verifier_tokens": 0, "verifier_calls": 0},
        "verifier": {"verifier_tokens": 5 * n, "verifier_calls": n, "flops": 7.0 * n},
    }


def row(
    problem: str, answers: Sequence[str | None], weights: Sequence[float], select: str, **more: Any
) -> dict[str, Any]:
    """A row whose right answer is "a"; the stored answers are those of argmax and of a plain majority."""
    best = answers[max(range(len(answers)), key=lambda i: weights[i])]
    top = max(answers, key=answers.count)
    chosen = {"argmax": best, "majority": top, "weighted_vote": top, "sample": answers[0]}
    return {
        "run_id": "r",
        "config_hash": select + str(len(answers)),
        "git_commit": None,
        "seed": 0,
        "problem_id": problem,
        "prompt": "?",
        "meta": {},
        "gold_known": True,
        "traces": [{"answer": a, "correct": a == "a", "score": w} for a, w in zip(answers, weights, strict=True)],
        "population": [[i, w] for i, w in enumerate(weights)],
        "reports": [],
        "answers": {name: {"answer": a, "correct": a == "a"} for name, a in chosen.items()},
        "select": select,
        "cost": cost(len(answers)),
        "seconds": 2.0,
        "error": None,
        **more,
    }


def failed(problem: str, select: str, **more: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"traces": [], "population": [], "answers": {}, "cost": {}, "seconds": 0.1}
    nothing |= {"error": {"type": "SamplerError", "message": "gone"}}
    return row(problem, ["b"], [0.0], select) | nothing | more


def write(folder: Path, search: str, n: int, rows: list[dict[str, Any]], tail: str = "", **config: Any) -> Path:
    folder.mkdir(parents=True)
    settings = {"search": {"name": search}, "budget": {"n": n}, "task": {"name": "toy"}, "seed": 0, **config}
    about = {"run_id": "r", "config": settings, "git_commit": None, "questions": len({r["problem_id"] for r in rows})}
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + tail)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    best = [
        row("p1", ["a", "b", "b", "b"], [0.9, 0.1, 0.2, 0.3], "argmax"),
        row("p2", ["a", "a", "b", None], [0.1, 0.2, 0.9, 0.5], "argmax"),
        failed("p3", "argmax"),
        failed("p4", "argmax"),
        row("p4", ["a", "a", "a", "a"], [0.5] * 4, "argmax"),
    ]
    write(tmp_path / "best", "best_of_n", 4, best, tail='{"problem_id": "p5", "tra')
    for seed in (0, 1):
        weights = [0.0, -1.0, -2.0, -3.0]
        particles = [
            row(f"p{i}", ["a" if i > seed else "b"] * 4, weights, "weighted_vote", seed=seed) for i in range(1, 5)
        ]
        write(tmp_path / f"particles{seed}", "particle_filtering", 4, particles)
    return tmp_path


def points(runs: Path, **more: Any) -> dict[tuple[str, int], Point]:
    return {(p.method, p.n): p for p in summarise([runs], **more)}


def test_stored_answers(runs: Path) -> None:
    found = points(runs)
    best = found["best_of_n · argmax", 4]
    assert (best.accuracy, best.questions, best.failed, best.seeds, best.source) == (0.5, 4, 1, 1, "run")
    assert (best.new_tokens, best.verifier_tokens, best.verifier_calls) == (30.0, 15.0, 3.0)
    assert best.flops == pytest.approx(107.0 * 3)
    assert best.seconds == pytest.approx((3 * 2.0 + 0.1) / 4)
    assert best.low < best.accuracy < best.high
    particles = found["particle_filtering · weighted_vote", 4]
    assert (particles.accuracy, particles.questions, particles.seeds) == (7 / 8, 4, 2)
    assert ("particle_filtering · weighted_vote", 1) not in found


def test_smaller_n_comes_from_subsets(runs: Path) -> None:
    found = points(runs, at=[1, 2])
    alone = (1 / 4 + 2 / 4 + 0 + 1) / 4
    for method in ("best_of_n · argmax", "best_of_n · weighted_vote", "self_consistency · majority", "pass@k"):
        assert found[method, 1].accuracy == pytest.approx(alone)
        assert "N=4" in found[method, 1].source
    pairs = found["pass@k", 2]
    assert pairs.accuracy == pytest.approx((1 / 2 + 5 / 6 + 0 + 1) / 4)
    assert found["best_of_n · argmax", 2].pass_at == pytest.approx({1: alone, 2: pairs.accuracy})
    assert found["best_of_n · argmax", 2].new_tokens == pytest.approx(15.0)
    assert found["pass@k", 4].accuracy == 0.75
    voted = found["self_consistency · majority", 4]
    assert (voted.accuracy, voted.verifier_tokens, voted.flops, voted.seconds) == (0.5, 0.0, 300.0, None)


def test_a_run_at_a_smaller_n_is_preferred(runs: Path) -> None:
    write(runs / "best1", "best_of_n", 1, [row("p1", ["a"], [0.5], "argmax")])
    found = points(runs, at=[1, 2])
    assert found["best_of_n · argmax", 1].source == "run"
    assert found["best_of_n · argmax", 2].source == "from N=4"


def test_padding_is_not_counted(tmp_path: Path) -> None:
    padded = row("p1", ["a", "b"], [0.5, 0.1], "argmax", population=[[0, 0.5], [1, 0.1], [0, 0.5], [0, 0.5]])
    write(tmp_path / "run", "best_of_n", 4, [padded])
    assert points(tmp_path)["pass@k", 1].accuracy == 0.5


def test_table_and_figure(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves.main([str(runs), "x=n", f"out={runs / 'figures'}"])
    shown = capsys.readouterr().out
    for text in ("best_of_n · argmax", "particle_filtering · weighted_vote", "from N=4", "0.500 ["):
        assert text in shown
    assert "N=4: particle_filtering · weighted_vote - self_consistency · majority = +0.375" in shown
    assert "N=4: best_of_n · weighted_vote - self_consistency · majority" in shown
    first = [(runs / "figures" / name).read_bytes() for name in ("curves.png", "curves.svg")]
    assert first[0].startswith(b"\x89PNG")
    assert "toy · 4 questions · 2 seeds" not in shown
    curves.main([str(runs), "x=n", f"out={runs / 'figures'}"])
    assert first == [(runs / "figures" / name).read_bytes() for name in ("curves.png", "curves.svg")]


@pytest.mark.parametrize("x", list(AXES))
def test_every_axis(runs: Path, x: str) -> None:
    curves.main([str(runs), f"x={x}", "y=error"])
    assert (runs / "curves.png").stat().st_size > 5000
    assert (runs / "curves.svg").stat().st_size > 5000


def test_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves.main([str(runs / "best"), "format=json", "at=2"])
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert {p["method"] for p in found["points"]} >= {"best_of_n · argmax", "pass@k"}
    wanted = {"low", "high", "questions", "seeds", "failed", "source", "pass_at", *COSTS}
    assert wanted <= found["points"][0].keys()
    (pool,) = found["pools"]
    assert (pool["pool"], pool["n"], pool["questions"]) == ("best_of_n", 4, 4)
    assert pool["pass_at"] == pytest.approx({"1": 0.4375, "2": (1 / 2 + 5 / 6 + 0 + 1) / 4, "4": 0.75})
    assert pool["best_at"]["4"] == 0.5
    assert pool.keys() >= {"majority_at", "weighted_at", "pass_at_interval", "coverage_law"}
    assert found["comparisons"][0].keys() == {"method", "base", "at", "value", "low", "high", "p", "questions", "test"}
    assert "wrote" in captured.err
    assert (runs / "best" / "curves.svg").exists()


def test_order_of_samples_does_not_matter(tmp_path: Path) -> None:
    answers, weights = ["a", "b", None, "c", "a", "b"], [0.3, 0.3, 0.9, 0.1, 0.2, 0.2]
    write(tmp_path / "one" / "run", "best_of_n", 6, [row("p", answers, weights, "argmax")])
    write(tmp_path / "two" / "run", "best_of_n", 6, [row("p", answers[::-1], weights[::-1], "argmax")])
    one, two = (points(tmp_path / name, at=[1, 2, 3, 5]) for name in ("one", "two"))
    assert all(two[key] == point for key, point in one.items() if point.source != "run")


def test_groups_keep_models_apart(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs / "other", "best_of_n", 4, [row("p1", ["a"] * 4, [0.5] * 4, "argmax", config_hash="o")], model="big")
    assert points(runs)["best_of_n · argmax", 4].accuracy == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert "pools different configurations" in capsys.readouterr().err
    assert points(runs, group="model")["big: best_of_n · argmax", 4].questions == 1


def test_notes_about_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row("p1", ["a"], [0.0], "argmax"), row("p2", ["a"], [0.0], "argmax", gold_known=False)]
    folder = write(tmp_path / "run", "best_of_n", 1, rows)
    with (folder / "rows.jsonl").open("a") as file:
        file.write('{"problem_id": "p3", "tra')
    about = json.loads((folder / "run.json").read_text()) | {"questions": 9}
    (folder / "run.json").write_text(json.dumps(about))
    (point,) = (p for p in summarise([folder]) if p.method == "best_of_n · argmax")
    assert point.questions == 1
    notes = capsys.readouterr().err
    assert "2 of 9 questions" in notes
    assert "1 rows without a gold answer" in notes


def test_a_bad_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "run", "best_of_n", 1, [row("p1", ["a"], [0.0], "argmax")])
    (folder / "rows.jsonl").write_text("{broken\n" + (folder / "rows.jsonl").read_text())
    with pytest.raises(SystemExit) as stopped:
        curves.main([str(folder)])
    assert stopped.value.code == 2
    assert "rows.jsonl:1 is no row" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{runs}", "z=3"], ["'z'", "'z=3'", "allowed keys: x, y, group"]),
        (["{runs}", "x=time"], ["x=time", "new_tokens", "flops"]),
        (["{runs}", "x=flops,time"], ["'time'", "new_tokens", "flops"]),
        (["{runs}", "anytime=yes", "x=n"], ["N is no budget"]),
        (["{runs}", "anytime=maybe"], ["anytime=maybe", "no, yes"]),
        (["{runs}", "against=magic"], ["against=magic", "best_of_n · argmax"]),
        (["{runs}", "format=xml"], ["format=xml", "table, json"]),
        (["{runs}", "at=1,zero"], ["at=1,zero", "whole numbers"]),
        (["{runs}", "--x"], ["--x"]),
        (["{runs}/nowhere"], ["nowhere does not exist"]),
        (["{runs}/empty"], ["no rows.jsonl under"]),
        (["{runs}/bare"], ["run.json is missing"]),
        ([], ["no folder given"]),
    ],
)
def test_mistakes(runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    (runs / "empty").mkdir()
    if "bare" in "".join(arguments):
        (runs / "bare").mkdir()
        (runs / "bare" / "rows.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit) as caught:
        curves.main([argument.format(runs=runs) for argument in arguments])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_a_folder_named_like_an_override(tmp_path: Path) -> None:
    folder = write(tmp_path / "search=best_of_n", "best_of_n", 1, [row("p1", ["a"], [0.0], "argmax")])
    curves.main([str(folder)])
    assert (folder / "curves.png").exists()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    curves.main(["--help"])
    assert "usage: ponder-curves DIR" in capsys.readouterr().out


def test_a_lone_point_at_nought_is_drawn(tmp_path: Path) -> None:
    """Wilson's lower end at 0 of 3 is a rounding error away from 0; a negative error bar is none."""
    rows = [row(f"p{i}", ["b", "b"], [-1.0, -2.0], "argmax") for i in range(3)]
    folder = write(tmp_path / "run", "particle_filtering", 2, rows)
    curves.main([str(folder), "group=run"])
    assert (folder / "curves.png").stat().st_size > 0


def test_methods_are_ranked_and_their_needs_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, right in ((1, 1), (4, 3)):
        good = [row(f"p{i}", ["a" if i < right else "b"] * n, [1.0] * n, "argmax") for i in range(4)]
        write(tmp_path / f"good{n}", "zeta", n, good)
        write(tmp_path / f"bad{n}", "alpha", n, [row(f"p{i}", ["b"] * n, [1.0] * n, "argmax") for i in range(4)])
    curves.main([str(tmp_path), "sort=accuracy", "reach=0.5"])
    out = capsys.readouterr().out
    order = [line.split()[1] for line in out.splitlines() if " · argmax" in line]
    assert order[:4] == ["zeta", "alpha", "zeta", "alpha"]
    assert "reach accuracy 0.5" in out
    assert "not reached" in out
    assert "20.0 [" in out  # halfway between 10 and 40 tokens, in the logarithm


@pytest.mark.parametrize("value", ["0", "1.5", "high"])
def test_an_accuracy_out_of_reach_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        curves.main([str(tmp_path), f"reach={value}"])
    assert stopped.value.code == 2
    assert f"reach={value}" in capsys.readouterr().err


def test_a_coverage_run_gives_pass_at_k(tmp_path: Path) -> None:
    write(tmp_path / "c", "coverage", 4, [row(f"p{i}", ["a", "b", "b", "b"], [1.0] * 4, "majority") for i in range(3)])
    found = {(p.method, p.n): p.accuracy for p in summarise([tmp_path])}
    assert found["pass@k", 1] == pytest.approx(0.25)
    assert found["pass@k", 4] == 1.0
    assert {method for method, _ in found} == {"pass@k"}


def test_a_pool_without_scores_tells_of_no_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = row("p", ["a", "b"], [0.0, 0.0], "majority")
    for trace in plain["traces"]:
        trace["score"] = None
    write(tmp_path / "run", "self_consistency", 2, [plain])
    curves.main([str(tmp_path), "format=json"])
    (pool,) = json.loads(capsys.readouterr().out)["pools"]
    assert pool.keys() & {"pass_at", "majority_at", "best_at", "weighted_at"} == {"pass_at", "majority_at"}


def test_ceilings_are_points_of_one_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tokens, right in ((100, 1), (200, 3)):
        rows = [row(f"p{i}", ["a" if i < right else "b"] * 4, [1.0] * 4, "argmax") for i in range(4)]
        for one in rows:
            one["config_hash"] = f"h{tokens}"
            one["cost"]["policy"]["new_tokens"] = tokens
        write(tmp_path / str(tokens), "astar", 4, rows, budget={"n": 4, "new_tokens": tokens, "name": "tokens"})
    found = summarise([tmp_path])
    assert [(p.ceilings, p.new_tokens, p.accuracy) for p in found] == [
        ("new_tokens=100", 100.0, 0.25),
        ("new_tokens=200", 200.0, 0.75),
    ]
    assert "different configurations" not in capsys.readouterr().err


def test_tokens_of_all_models_are_counted_by_size(tmp_path: Path) -> None:
    """A verifier of three times the policy's weights: its token counts three; cached tokens count nothing."""
    one = row("p", ["a"], [0.0], "argmax")
    one["cost"] = {
        "policy": {"new_tokens": 10, "prompt_tokens": 8, "cached_tokens": 5},
        "verifier": {"verifier_tokens": 4, "verifier_cached_tokens": 100},
    }
    folder = write(tmp_path / "run", "astar", 1, [one])
    assert summarise([folder])[0].all_tokens == 10 + 3 + 4
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**about, "parameters": {"policy": 100, "verifier": 300}}))
    assert summarise([folder])[0].all_tokens == 10 + 3 + 3 * 4
    assert summarise([folder])[0].new_tokens == 10


def test_levels_are_kept_apart(tmp_path: Path) -> None:
    rows = [row(f"p{i}", ["a" if i < 2 else "b"], [0.0], "argmax", meta={"level": i % 2 + 1}) for i in range(4)]
    write(tmp_path / "run", "astar", 1, [*rows, row("p9", ["b"], [0.0], "argmax")])
    found = {p.method: (p.accuracy, p.questions) for p in summarise([tmp_path], group="level")}
    assert found == {
        "level 1: astar · argmax": (0.5, 2),
        "level 2: astar · argmax": (0.5, 2),
        "no level: astar · argmax": (0.0, 1),
    }


def on_its_way(name: str, right: bool) -> dict[str, Any]:
    """A search of two traces and three reports: two prefixes; one finished, wrong; both finished."""
    report = {
        "cost": {"policy": {"new_tokens": 10, "flops": 100.0}},
        "seconds": 1.0,
        "population": [[0, 1, 0.0], [1, 1, 0.0]],
    }
    later = {
        "cost": {"policy": {"new_tokens": 20, "flops": 300.0}},
        "seconds": 2.0,
        "population": [[0, 1, 0.0], [1, 2, 0.0]],
    }
    last = {
        "cost": {"policy": {"new_tokens": 40, "flops": 400.0}},
        "seconds": 4.0,
        "population": [[0, 2, 9.0], [1, 2, 0.0]],
    }
    traces = [
        {"steps": ["s", "t"], "answer": "a", "correct": right, "score": 9.0, "finished": True},
        {"steps": ["s", "u"], "answer": "b", "correct": False, "score": 0.0, "finished": True},
    ]
    more = {
        "traces": traces,
        "population": [[0, 9.0], [1, 0.0]],
        "reports": [report, later, last],
        "cost": last["cost"],
    }
    answers = {"argmax": {"answer": "a", "correct": right}}
    return row(name, ["a"], [0.0], "argmax") | more | {"answers": answers, "seconds": 4.0}


def test_a_search_stopped_on_its_way(tmp_path: Path) -> None:
    write(tmp_path / "run", "astar", 2, [on_its_way("p", True), on_its_way("q", False)])
    rows = load([tmp_path])
    path = rows[0].path("argmax")
    assert [(stop.bill["new_tokens"], stop.value) for stop in path] == [(0, 0), (10, 0), (20, 0), (40, 1), (40, 1)]
    assert stopped(path, "new_tokens", 30).value == 0.0
    assert stopped(path, "new_tokens", 30).bill["flops"] == pytest.approx(350.0)
    assert stopped(path, "new_tokens", 40).value == 1.0
    assert stopped(path, "flops", 1e9).bill["seconds"] == 4.0
    found = anytime(rows, "new_tokens", stops=3)
    assert [p.method for p in found] == ["astar · argmax (anytime)"] * 3
    assert [(p.new_tokens, p.accuracy) for p in found] == [
        (10.0, 0.0),
        (pytest.approx(20.0), 0.0),
        (pytest.approx(40.0), 0.5),
    ]
    assert found[-1].source == "reports of N=2"


def test_the_way_is_drawn_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "run", "astar", 2, [on_its_way("p", True), on_its_way("q", False)])
    curves.main([str(tmp_path), "anytime=yes", "x=flops,new_tokens"])
    shown = capsys.readouterr().out
    assert shown.count("reports of N=2") == 8
    curves.main([str(tmp_path), "anytime=yes", "x=verifier_tokens"])
    captured = capsys.readouterr()
    assert "no run has verifier_tokens: drawn against n" in captured.err


def test_independent_samples_have_no_way(runs: Path) -> None:
    assert anytime(load([runs / "best"]), "new_tokens") == []


def test_stops_of_a_failed_question(runs: Path) -> None:
    (broken,) = [r for r in load([runs / "best"]) if r.problem[1] == "p3"]
    assert [stop.value for stop in broken.path("argmax")] == [0.0, 0.0]
    assert isinstance(broken, Row)
    assert isinstance(broken.path("argmax")[0], Stop)


def test_an_error_of_monte_carlo_stays_below_a_tenth_of_a_point(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    answers = [str(rng.choice(["a", "b", "c"])) for _ in range(40)]
    write(tmp_path / "run", "best_of_n", 40, [row("p", answers, rng.normal(size=40).tolist(), "argmax")])
    (point,) = [p for p in summarise([tmp_path], at=[7]) if p.method == "best_of_n · weighted_vote" and p.n == 7]
    assert 0 < point.stderr < 0.001


def test_the_papers_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves.main([str(runs), "--paper"])
    shown = capsys.readouterr().out
    (ours,) = [line for line in shown.splitlines() if "unnamed" in line and "toy" in line]
    assert "50.0 [" in ours
    (theirs,) = [line for line in shown.splitlines() if "Llama-3.2-1B-Instruct" in line and "MATH500" in line]
    assert [float(cell) for cell in theirs.split("│")[4:9]] == [26.8, 46.6, 47.8, 52.8, 59.6]
    assert (runs / "paper.png").stat().st_size > 5000
    assert (runs / "paper.svg").exists()


def test_methods_are_held_against_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves.main([str(runs), "against=best_of_n · argmax"])
    shown = capsys.readouterr().out
    assert "N=4: particle_filtering · weighted_vote - best_of_n · argmax" in shown
    assert "- self_consistency · majority" not in shown


def test_fits_and_spread(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves.main([str(runs), "fits=yes", "at=1,2,3"])
    shown = capsys.readouterr().out
    assert "best_of_n: log coverage = a k^b, a = " in shown
    assert "accuracy as ceiling - gap N^-rate" in shown
    (spread,) = [line for line in shown.splitlines() if "particle_filtering" in line and " 0.0 %" in line]
    assert [cell.strip() for cell in spread.split("│")[-4:-1]] == ["0.875", "1.000", "0.750"]


def test_a_name_with_a_dot_is_whole(tmp_path: Path) -> None:
    write(tmp_path / "run", "astar", 1, [row("p", ["a"], [0.0], "argmax")], model={"name": "gpt-4 T=0.7"})
    (point,) = summarise([tmp_path], group="model")
    assert point.method == "gpt-4 T=0.7: astar · argmax"
