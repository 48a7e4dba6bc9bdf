"""Compute-optimal scaling: the bin decides, exactly; what is spent is the probes and the chosen strategy."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.context import Context
from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.samplers.scripted import Scripted
from ponder.search.best_of_n import BestOfN
from ponder.search.compute_optimal import OURS, Choice, ComputeOptimal, Policy, agreement
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.self_consistency import SelfConsistency
from ponder.types import Population, Problem
from ponder.verifiers.rule import Constant


@dataclass(frozen=True)
class Named:
    """Returns n empty traces: their number tells which strategy ran."""

    n: int

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        return Population.start(problem, self.n)


class Bare:
    """A strategy of a user's that is no dataclass and reports nothing."""

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        return Population.equal(await ctx.sample(problem, 1))


def table(path: Path, edges: Any, choices: Any, **more: Any) -> str:
    written = {"estimate": "votes", "probes": 4, "edges": edges, "choices": choices, **more}
    path.write_text(json.dumps(written), encoding="utf-8")
    return str(path)


def choices(*names: str) -> list[dict[str, Any]]:
    return [{"strategy": name, "shape": {}} for name in names]


@given(st.lists(st.floats(0, 1), max_size=5, unique=True).map(sorted), st.floats(0, 1))
def test_a_bin_holds_its_lower_edge(edges: Any, ease: float) -> None:
    policy = Policy(tuple(edges), (Choice("x"),) * (len(edges) + 1))
    found = policy.bin(ease)
    assert found == sum(edge <= ease for edge in edges)
    assert all(policy.bin(edge) == i + 1 for i, edge in enumerate(edges))


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=8))
def test_agreement_is_the_share_of_the_most_frequent_answer(answers: Any) -> None:
    if not answers:
        assert agreement(answers) == 0
        return
    assert agreement(answers) == max(answers.count("a"), answers.count("b")) / len(answers)


@pytest.mark.parametrize(
    ("texts", "size"), [(["a", "b", "c", "d"], 1), (["a", "a", "b", "c"], 2), (["a", "a", "a", "c"], 3), (["a"], 4)]
)
def test_votes_choose_the_bin(lab: Any, tmp_path: Path, texts: Any, size: int) -> None:
    """Agreement of 1/4, 1/2, 3/4 and 1 in bins with the edges 1/2, 3/4 and 1: each edge is in the easier bin."""
    path = table(tmp_path / "policy.json", [0.5, 0.75, 1.0], choices("one", "two", "three", "four"))
    strategies = {name: Named(i) for i, name in enumerate(("one", "two", "three", "four"), start=1)}
    population, ctx = lab.run(ComputeOptimal(4, strategies, table=path), Scripted(texts))
    assert len(population) == size
    assert ctx.ledger.total.samples == 4


@pytest.mark.parametrize(("score", "size"), [(0.0, 1), (0.29, 1), (0.3, 2), (0.8, 2), (0.81, 3)])
def test_the_mean_score_chooses_the_bin(lab: Any, tmp_path: Path, score: float, size: int) -> None:
    path = table(tmp_path / "policy.json", [0.3, 0.805], choices("one", "two", "three"), estimate="verifier")
    strategies = {name: Named(i) for i, name in enumerate(("one", "two", "three"), start=1)}
    strategy = ComputeOptimal(4, strategies, estimate="verifier", table=path)
    population, _ = lab.run(strategy, Scripted(["x", "y"]), Constant(score))
    assert len(population) == size


def test_scores_of_all_probes_count(lab: Any, tmp_path: Path) -> None:
    class Letters:
        async def score(self, traces: Any) -> Any:
            return [{"x": 0.2, "y": 0.6}[trace.text] for trace in traces]

    path = table(tmp_path / "policy.json", [0.3, 0.45], choices("one", "two", "three"), estimate="verifier")
    strategies = {name: Named(i) for i, name in enumerate(("one", "two", "three"), start=1)}
    strategy = ComputeOptimal(4, strategies, estimate="verifier", table=path)
    assert len(lab.run(strategy, Scripted(["x", "y"]), Letters())[0]) == 2
    assert len(lab.run(strategy, Scripted(["x"]), Letters())[0]) == 1
    assert len(lab.run(strategy, Scripted(["y", "y", "y", "x"]), Letters())[0]) == 3


@pytest.mark.parametrize("probes", [1, 3, 6])
def test_the_bill_is_the_probes_and_the_chosen_strategy(lab: Any, probes: int) -> None:
    """Four characters and an end are 5 tokens a solution; best-of-N scores its own, the estimate by votes none."""
    strategies: Any = {"best_of_n": BestOfN(8), "particle_filtering": ParticleFiltering(8)}
    strategy = ComputeOptimal(8, strategies, probes)
    population, ctx = lab.run(strategy, Scripted(["a..."]), Constant(0.5))
    assert len(population) == 8
    assert ctx.ledger.total.new_tokens == 5 * (probes + 8)
    assert ctx.ledger.total.samples == probes + 8
    assert ctx.ledger.total.verifier_calls == 1


def test_ours_gives_hard_questions_to_particle_filtering(lab: Any) -> None:
    """Steps of one character: particle filtering reports each, best-of-N only solutions."""
    strategies: Any = {"best_of_n": BestOfN(4), "particle_filtering": ParticleFiltering(4)}
    for texts, prefixes in ((["abc", "bcd", "cde", "def"], True), (["abc", "abc", "abc", "def"], False)):
        _, ctx = lab.run(ComputeOptimal(4, strategies), Scripted(texts), Constant(0.5))
        seen = [trace.finished for report in ctx.reports for trace in report.population.traces]
        assert (not all(seen)) == prefixes
    assert OURS.bin(0.49) == 0
    assert OURS.bin(0.5) == 1


def test_a_shape_changes_the_strategy(lab: Any, tmp_path: Path) -> None:
    shaped = [{"strategy": "self_consistency", "shape": {"n": 3}}]
    path = table(tmp_path / "policy.json", [], shaped)
    population, _ = lab.run(ComputeOptimal(8, {"self_consistency": SelfConsistency(8)}, table=path), Scripted(["a"]))
    assert len(population) == 3


def test_the_result_is_reported_last_whatever_the_strategy_reports(lab: Any, even: Any, tmp_path: Path) -> None:
    path = table(tmp_path / "policy.json", [], choices("mine"))
    population, ctx = lab.run(ComputeOptimal(4, {"mine": Bare()}, table=path), even)
    assert ctx.reports[-1].population is population


def test_a_budget_that_ends_with_the_probes_returns_them(lab: Any, even: Any) -> None:
    strategies: Any = {"best_of_n": BestOfN(8), "particle_filtering": ParticleFiltering(8)}
    population, _ = lab.run(ComputeOptimal(8, strategies), even, budget=Budget(samples=4))
    assert len(population) == 4
    assert np.allclose(population.weights, 0.25)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (None, ["policy.json: no policy", "ponder-fit-policy"]),
        ("{", ["no policy", "ponder-fit-policy"]),
        ("[]", ["no policy"]),
        ({"edges": "x"}, ["no policy"]),
        ({"choices": [{"shape": {}}]}, ["no policy", "'strategy'"]),
        ({"edges": [0.5]}, ["1 edges and 1 choices"]),
        ({"edges": [0.5, 0.5], "choices": choices("named", "named", "named")}, ["rising edges"]),
        ({"choices": choices("other")}, ["'other'", "there are: named, bare"]),
        ({"estimate": "verifier"}, ["search.estimate='votes'", "estimate=verifier"]),
        ({"probes": 8}, ["search.probes=4", "probes=8"]),
        ({"choices": [{"strategy": "named", "shape": {"m": 1}}]}, ["named cannot be given", "'m'"]),
        ({"choices": [{"strategy": "named", "shape": {"n": 9}}]}, ["search.n=8", "budget.n=9"]),
        ({"choices": [{"strategy": "bare", "shape": {"n": 2}}]}, ["bare cannot be given"]),
        ({"choices": [{"strategy": "best", "shape": {"n": 0}}]}, ["'best'"]),
    ],
)
def test_a_wrong_table_is_told_at_once(tmp_path: Path, written: Any, words: Any) -> None:
    path = tmp_path / "policy.json"
    strategies: Any = {"named": Named(8), "bare": Bare()}
    if isinstance(written, str):
        path.write_text(written)
    elif written is not None:
        table(path, **{"edges": [], "choices": choices("named"), **written})
    with pytest.raises(UserError) as caught:
        ComputeOptimal(8, strategies, table=str(path))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("probes", 0), ("estimate", "oracle")])
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    strategies: Any = {"best_of_n": BestOfN(4), "particle_filtering": ParticleFiltering(4)}
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}") as caught:
        ComputeOptimal(4, strategies, **{key: value})
    assert "allowed" in caught.value.hint
