"""Power sampling against the exact power distribution of a language whose solutions differ in length."""

from collections import Counter
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.protocols import Picking
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.power_sampling import PowerSampling
from ponder.search.uncertainty import sum_logprob
from ponder.types import Problem, Step, Trace

LANGUAGE = {
    "^": {"a": 0.55, "b": 0.45},
    "a": {"b": 0.6, "$": 0.4},
    "b": {"c": 0.65, "$": 0.35},
    "c": {"$": 1.0},
}
"""b .16, bc .29, a .22, ab .12, abc .21: two to four steps."""


def power(alpha: float) -> dict[str, float]:
    mass = {text: p**alpha for text, p in ToyLanguage(LANGUAGE).enumerate()}
    return {text: m / sum(mass.values()) for text, m in mass.items()}


def agrees(found: Any, alpha: float) -> None:
    """Chi-square of the chains' ends against p(x)^alpha."""
    exact = power(alpha)
    counts = Counter(trace.text for population, _ in found for trace in population.traces)
    assert set(counts) <= set(exact)
    total = sum(counts.values())
    result = chisquare([counts[text] for text in exact], [total * p for p in exact.values()])
    assert result.pvalue > 1e-3, (counts, exact)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_a_chain_ends_in_the_power_distribution(lab: Any, alpha: float) -> None:
    """One block of four steps holds every solution, so that the moves alone shape the distribution."""
    strategy = PowerSampling(8, alpha=alpha, block_steps=4, moves=12)
    agrees(lab.many(strategy, ToyLanguage(LANGUAGE), seeds=range(40)), alpha)


def spelt(text: str) -> Trace:
    """A finished trace, one character a step, with its log-probabilities."""
    characters = [*text, "$"]
    chances = [np.log(LANGUAGE[before][c]) for before, c in zip(["^", *text], characters, strict=True)]
    steps = [Step(c, (ord(c),), (chance,)) for c, chance in zip(characters, chances, strict=True)]
    return Trace(Problem("p", "ask"), (*steps[:-1], replace(steps[-1], text="", why="eos")))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_moves_are_in_detailed_balance(alpha: float) -> None:
    """pi(x) P(x -> x', cut) = pi(x') P(x' -> x, cut), for each pair and each cut that leads from one to the other."""
    strategy, exact = PowerSampling(1, alpha), power(alpha)

    def flow(old: Trace, new: Trace, cut: int) -> float:
        proposed = np.exp(sum_logprob(new.steps[cut:])) / len(old)
        return float(exact[old.text] * proposed * np.exp(min(0.0, strategy.log_ratio(old, new, cut))))

    traces = [spelt(text) for text in exact]
    common = [
        (old, new, cut)
        for old, new in permutations(traces, 2)
        for cut in range(min(len(old), len(new)))
        if old.steps[:cut] == new.steps[:cut]
    ]
    assert any(cut > 0 for _, _, cut in common)
    for old, new, cut in common:
        assert flow(old, new, cut) == pytest.approx(flow(new, old, cut), rel=1e-12)


def test_the_ratio_weighs_suffixes_and_counts_cuts() -> None:
    problem = Problem("p", "ask")
    old = Trace(problem, (Step("a", (1,), (-1.0,)), Step("b", (2,), (-2.0,)), Step("", (0,), (-0.5,), "eos")))
    new = Trace(problem, (old.steps[0], Step("", (0,), (-0.25,), "eos")))
    assert PowerSampling(1, alpha=4.0).log_ratio(old, new, 1) == pytest.approx(3 * (-0.25 + 2.5) + np.log(3 / 2))
    assert PowerSampling(1, alpha=4.0).log_ratio(new, old, 1) == pytest.approx(3 * (-2.5 + 0.25) + np.log(2 / 3))


def test_a_great_power_only_climbs(lab: Any, even: Any) -> None:
    """All solutions have four steps; at alpha 1e6 no move to a less likely one is ever accepted."""
    drafts: dict[int, dict[int, float]] = {seed: {} for seed in range(20)}
    for moves in (0, 6):
        for seed, (population, _) in enumerate(lab.many(PowerSampling(1, 1e6, 4, moves), even, seeds=range(20))):
            drafts[seed][moves] = sum(population.traces[0].logprobs)
    assert all(one[6] >= one[0] for one in drafts.values())
    assert any(one[6] > one[0] for one in drafts.values())


def test_blocks_bound_drafts_and_proposals(lab: Any) -> None:
    wandering = ToyLanguage({"^": {"a": 1.0}, "a": {"a": 0.6, "b": 0.3, "$": 0.1}, "b": {"a": 1.0}})
    lab.max_steps = 12
    population, ctx = lab.run(PowerSampling(4, block_steps=5, moves=3), wandering)
    longest = [max(len(trace) for trace in report.population.traces) for report in ctx.reports]
    assert longest[:6] == [1, 2, 3, 4, 5, 5]  # five rounds of a draft, then its moves
    assert max(longest) <= 12
    assert not any(trace.alive for trace in population.traces)
    assert len(population) == 4
    assert np.all(population.log_weights == 0)


def test_without_moves_nothing_is_redrawn(lab: Any, uneven: Any) -> None:
    population, ctx = lab.run(PowerSampling(6, moves=0), uneven)
    assert ctx.ledger.total.new_tokens == sum(len(trace.token_ids) for trace in population.traces)
    assert ctx.ledger.total.verifier_calls == 0


def test_proposals_are_the_models_own_whatever_the_samplers_settings(lab: Any) -> None:
    greedy = ToyLanguage(LANGUAGE).varied(Picking(temperature=0.0))
    population, _ = lab.run(PowerSampling(40, alpha=1.0, moves=0), greedy)
    assert {trace.text[0] for trace in population.traces} == {"a", "b"}


def test_a_sampler_without_probabilities_is_a_mistake(lab: Any) -> None:
    with pytest.raises(UserError, match="log-probability"):
        lab.run(PowerSampling(2), Scripted(["ab", "cd"]))


@pytest.mark.parametrize(
    ("key", "value"), [("alpha", 0.0), ("alpha", float("inf")), ("block_steps", 0), ("moves", -1), ("moves", 1.5)]
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        PowerSampling(2, **{key: value})
