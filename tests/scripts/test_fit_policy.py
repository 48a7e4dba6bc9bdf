"""ponder-fit-policy on synthetic rows: it recovers what was planted, and the strategy accepts what it writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.scripts import fit_policy
from ponder.scripts.fit_policy import fit, quantiles
from ponder.scripts.results import load
from ponder.search.best_of_n import BestOfN
from ponder.search.compute_optimal import ComputeOptimal, Policy
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.self_consistency import SelfConsistency

STRATEGIES: Any = {
    "best_of_n": BestOfN(64),
    "self_consistency": SelfConsistency(64),
    "particle_filtering": ParticleFiltering(64),
}


def row(
    problem: str, right: bool, answers: Sequence[str | None], scores: Sequence[float | None] = (), **more: Any
) -> Any:
    """A row whose configured selector, weighted_vote, was right or not; the right answer is "a"."""
    scores = scores or [0.5] * len(answers)
    traces = [{"answer": a, "correct": a == "a", "score": s} for a, s in zip(answers, scores, strict=True)]
    n = len(answers)
    return {
        "run_id": "r",
        "seed": 0,
        "problem_id": problem,
        "traces": traces,
        "population": [[i, 0.0] for i in range(n)],
        "answers": {name: {"answer": "?", "correct": right} for name in ("weighted_vote", "majority")},
        "select": "weighted_vote",
        "cost": {"policy": {"samples": n, "new_tokens": 10 * n, "flops": 100.0 * n}},
        "error": None,
        **more,
    }


def failed(problem: str) -> Any:
    gone = {"traces": [], "population": [], "answers": {}, "cost": {}, "error": {"type": "E", "message": "gone"}}
    return row(problem, False, []) | gone


def write(folder: Path, search: str, n: int, rows: list[Any]) -> Path:
    folder.mkdir(parents=True)
    settings = {"search": {"name": search}, "budget": {"n": n}, "task": {"name": "toy"}, "seed": 0}
    about = {"run_id": folder.name, "config": settings, "questions": len({one["problem_id"] for one in rows})}
    (folder / "run.json").write_text(json.dumps(about))
    hashed = [{"config_hash": folder.name, **one} for one in rows]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in hashed))
    return folder


VOTES = [["a", "b", "c", "d"], ["a", "a", "b", "c"], ["a", "a", "a", "b"], ["a", "a", "a", "a"]]
"""First answers of a question, from hard to easy: agreement of 1/4 to 1."""


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Ten questions of each agreement; which strategy is best there is planted."""
    best = {0: ("particle_filtering", 8), 1: ("particle_filtering", 4), 2: ("self_consistency", 8), 3: ("best_of_n", 4)}
    for search, n in (
        ("best_of_n", 4),
        ("best_of_n", 8),
        ("self_consistency", 8),
        ("particle_filtering", 4),
        ("particle_filtering", 8),
    ):
        rows = []
        for level, votes in enumerate(VOTES):
            for i in range(10):
                right = i < (8 if best[level] == (search, n) else 5)
                answers = [*votes, *["z"] * (n - 4)] if search != "particle_filtering" else ["z"] * n
                rows.append(row(f"p{level}-{i}", right, answers))
        write(tmp_path / f"{search}-{n}", search, n, rows)
    return tmp_path


def chosen(policy: Policy) -> list[tuple[str, int]]:
    return [(one.strategy, one.shape["n"]) for one in policy.choices]


def test_the_planted_strategy_of_each_bin_is_found_and_the_file_is_accepted(planted: Path) -> None:
    out = planted / "made" / "policy.json"
    fit_policy.main([str(planted), "n=8", "bins=4", f"out={out}"])
    policy = Policy.load(str(out))
    assert policy.edges == (0.5, 0.75, 1.0)
    assert chosen(policy) == [
        ("particle_filtering", 8),
        ("particle_filtering", 4),
        ("self_consistency", 8),
        ("best_of_n", 4),
    ]
    strategy = ComputeOptimal(64, STRATEGIES, table=str(out))
    assert strategy.policy == policy == fit(load([planted]), 8, bins=4).policy
    assert fit(load([planted]), 8, bins=4).accuracy == pytest.approx(0.8)


def test_an_n_that_is_too_large_is_left_out(planted: Path) -> None:
    """What self-consistency reaches with 4 of its 8 samples is an expectation over all such four."""
    found = fit(load([planted]), 4, bins=4)
    assert {n for _, n in chosen(found.policy)} == {4}
    right = {(one.search, one.n): one.right for one in found.entries[3]}
    assert right["self_consistency", 4] == pytest.approx(
        10 * (1 / 70 + 16 / 70 + 36 / 70 / 2)
    )  # 4, 3, or half of 2 "a"


def test_ties_go_to_the_cheaper(tmp_path: Path) -> None:
    for search, n in (("best_of_n", 8), ("particle_filtering", 4), ("self_consistency", 16)):
        cost = {"policy": {"new_tokens": {8: 10, 4: 30, 16: 20}[n], "flops": {8: 3.0, 4: 2.0, 16: 1.0}[n]}}
        write(tmp_path / search, search, n, [row(f"p{i}", i < 3, ["a"] * n, cost=cost) for i in range(5)])
    rows = load([tmp_path])
    for by, best in (("n", "particle_filtering"), ("new_tokens", "best_of_n"), ("flops", "self_consistency")):
        assert chosen(fit(rows, 16, cost=by).policy)[0][0] == best


def test_the_verifiers_estimate_is_the_mean_of_the_first_scores(tmp_path: Path) -> None:
    rows = [row(f"p{i}", True, ["a"] * 4, [i / 10, i / 10, 0.9, 0.9]) for i in range(8)]
    found = fit(load([write(tmp_path / "run", "best_of_n", 4, rows)]), 4, "verifier", probes=2, bins=2)
    assert found.policy.edges == (0.4,)
    assert found.eases == ((0.0, 0.1, 0.2, 0.3), (0.4, 0.5, 0.6, 0.7))


def test_failures_and_gaps_count_as_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 6 questions best-of-N lost p5, so that it has no ease; particles lost p0 and never ran p1 and p4."""
    write(tmp_path / "best", "best_of_n", 4, [*(row(f"p{i}", i == 0, ["a"] * 4) for i in range(5)), failed("p5")])
    others = [failed("p0"), *(row(f"p{i}", True, ["z"] * 4) for i in (2, 3, 5))]
    write(tmp_path / "particles", "particle_filtering", 4, others)
    found = fit(load([tmp_path]), 4)
    (entries,) = found.entries
    assert [(one.search, one.right, one.questions, one.missing) for one in entries] == [
        ("particle_filtering", 2.0, 5, 3),
        ("best_of_n", 1.0, 5, 0),
    ]
    assert found.without == 1
    assert found.accuracy == pytest.approx(2 / 6)
    fit_policy.main([str(tmp_path), f"out={tmp_path / 'policy.json'}"])
    captured = capsys.readouterr()
    assert "1 question without independent solutions" in captured.err
    assert "0.333" in captured.out


def test_the_table_shows_counts_and_intervals(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit_policy.main([str(planted), "n=8", "bins=2", f"out={planted / 'policy.json'}"])
    shown = capsys.readouterr().out
    assert "20" in shown
    assert "0.650 [0.433, 0.819]" in shown  # Wilson's interval of 13 in 20
    assert "particle_filtering *" in shown
    assert "0.25 to 0.50" in shown
    assert "policy.json" in shown


def test_no_bin_is_empty() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        eases = rng.choice([0.25, 0.5, 0.75, 1.0, rng.random()], size=rng.integers(1, 12)).tolist()
        bins = int(rng.integers(1, 7))
        edges = quantiles(eases, bins)
        policy = Policy(edges, ())
        assert len(edges) < bins or not edges
        assert {policy.bin(one) for one in eases} == set(range(len(edges) + 1))


def test_one_bin_has_no_edges(planted: Path) -> None:
    assert fit(load([planted]), 8, bins=1).policy.edges == ()


def test_an_earlier_policys_own_rows_are_no_choice(planted: Path) -> None:
    rows = [row(f"p{level}-{i}", True, ["z"]) for level in range(4) for i in range(10)]
    write(planted / "policy", "compute_optimal", 4, rows)
    assert "compute_optimal" not in {name for name, _ in chosen(fit(load([planted]), 8).policy)}


def test_without_independent_solutions_there_is_no_fit(tmp_path: Path) -> None:
    write(tmp_path / "run", "particle_filtering", 4, [row("p", True, ["a"] * 4)])
    with pytest.raises(UserError, match="no question has 4 independent solutions"):
        fit(load([tmp_path]))
    write(tmp_path / "votes", "self_consistency", 4, [row("p", True, ["a"] * 4, [None] * 4)])
    with pytest.raises(UserError, match="with scores"):
        fit(load([tmp_path]), estimate="verifier")
    assert fit(load([tmp_path])).policy.edges == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{runs}", "z=3"], ["'z'", "allowed keys: n, estimate, probes, bins, cost, out"]),
        (["{runs}", "estimate=oracle"], ["estimate=oracle", "votes, verifier"]),
        (["{runs}", "cost=seconds"], ["cost=seconds", "n, new_tokens, flops"]),
        (["{runs}", "n=0"], ["n=0", "whole number"]),
        (["{runs}", "bins=two"], ["bins=two", "whole number"]),
        (["{runs}", "probes=99"], ["99 independent solutions"]),
        (["{runs}", "n=1", "probes=1"], []),
        (["{runs}", "out={runs}"], ["cannot write the policy"]),
        (["{runs}", "--x"], ["--x"]),
        (["{runs}/nowhere"], ["nowhere does not exist"]),
        ([], ["no folder given"]),
    ],
)
def test_mistakes(planted: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    given = [argument.format(runs=planted) for argument in arguments]
    if not words:
        fit_policy.main([*given, f"out={planted / 'policy.json'}"])
        assert "best_of_n" in capsys.readouterr().out
        return
    with pytest.raises(SystemExit) as caught:
        fit_policy.main(given)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("ponder-fit-policy: ")
    assert all(word in message for word in words), message


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    fit_policy.main(["--help"])
    assert "usage: ponder-fit-policy DIR" in capsys.readouterr().out
