"""Entropic particle filtering: its temperatures, what they do to resampling, and look-ahead."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.search.entropic_particle_filtering import (
    EntropicParticleFiltering,
    entropy_temperature,
    ess_temperature,
)
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.weights import odds
from ponder.types import Population, Problem, Trace
from ponder.verifiers.rule import Constant


def test_temperatures() -> None:
    assert ess_temperature(0.2, 0.2) == pytest.approx(4)
    assert ess_temperature(0.5, 0.8) == 1
    assert entropy_temperature(0.5, 0.3) == pytest.approx(1.53846, abs=1e-5)


@given(evenness=st.floats(0.001, 1), progress=st.floats(0.001, 1), more=st.floats(0, 1))
def test_temperatures_fall_to_one_as_time_goes_and_weights_grow_even(evenness: Any, progress: Any, more: Any) -> None:
    for temperature in (ess_temperature, entropy_temperature):
        assert temperature(evenness, progress) >= temperature(evenness, min(1.0, progress + more)) >= 1
        assert temperature(evenness, progress) >= temperature(min(1.0, evenness + more), progress) - 1e-12
        assert temperature(evenness, 1.0) == temperature(1.0, progress) == 1


def weighted(*log_weights: float) -> Population:
    return Population((Trace(Problem("p", "ask")),) * len(log_weights), np.array(log_weights))


def test_only_early_and_uneven_weights_are_tempered() -> None:
    one = weighted(0.0, -40.0, -40.0, -40.0)  # effective sample size 1 of 4, entropy 0
    assert EntropicParticleFiltering(4).temperature(one, 0.2) == pytest.approx(0.8 / 0.25)
    assert EntropicParticleFiltering(4, form="entropy").temperature(one, 0.2) == pytest.approx(1 / 0.2)
    assert EntropicParticleFiltering(4).temperature(one, 0.5) == 1
    assert EntropicParticleFiltering(4, early_phase=0.7).temperature(one, 0.5) == pytest.approx(0.5 / 0.25)
    assert EntropicParticleFiltering(4, ess_threshold=0.2).temperature(one, 0.2) == 1
    assert EntropicParticleFiltering(4).temperature(weighted(0.0, 0.0, 0.0, -40.0), 0.2) == 1


class First:
    """Scores by the first character, from then on."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores

    async def score(self, traces: Any) -> Any:
        return [self.scores[trace.text[0]] for trace in traces]


def survivors(found: Any) -> dict[str, float]:
    """How many particles begin with each character after the first resampling, on average."""
    counts = Counter(trace.text[0] for population, _ in found for trace in population.traces)
    return {c: count / len(found) for c, count in counts.items()}


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("form", ["ess", "entropy"])
def test_offspring_follow_the_tempered_weights(lab: Any, form: Any, early: Any) -> None:
    lab.max_steps = 8
    scores = {"a": 0.95, "b": 0.3, "c": 0.4, "d": 0.2}
    strategy = EntropicParticleFiltering(4, form=form, early_phase=0.5 if early else 0.0)
    logits = odds(np.array(list(scores.values())))
    population = weighted(*logits)
    temperature = strategy.temperature(population, 1 / 8)
    assert (temperature > 1.2) == early
    expected = 4 * weighted(*(logits / temperature)).weights
    # One character, then the end: what ends was drawn by the only resampling.
    means = survivors(lab.many(strategy, Scripted(["a", "b", "c", "d"]), First(**scores), range(250)))
    for c, mean in zip(scores, expected, strict=True):
        assert means.get(c, 0.0) == pytest.approx(mean, abs=4 * 0.5 / np.sqrt(250))


def test_without_an_early_phase_it_is_particle_filtering_resampled_each_round(lab: Any, even: Any) -> None:
    """Where weights are all equal particle filtering does not resample, and other chance follows."""
    entropic, plain = EntropicParticleFiltering(9, early_phase=0.0), ParticleFiltering(9, ess_threshold=1.0)
    pairs = zip(*(lab.many(strategy, even, seeds=range(30)) for strategy in (entropic, plain)), strict=True)
    uneven = [
        (one, other)
        for (one, _), (other, ctx) in pairs
        if all(report.population.ess < 8.99 for report in ctx.reports[:-1])
    ]
    assert len(uneven) > 5
    for one, other in uneven:
        assert one.traces == other.traces
        assert one.log_weights == pytest.approx(other.log_weights)
        assert one.evidence == pytest.approx(other.evidence)


def test_the_last_report_is_the_result_also_if_resampling_leaves_ended_particles_only(lab: Any, uneven: Any) -> None:
    found = lab.many(EntropicParticleFiltering(2), uneven, seeds=range(40))
    assert all(ctx.reports[-1].population is population for population, ctx in found)
    assert any(len(ctx.reports) > max(len(t) for r in ctx.reports for t in r.population.traces) for _, ctx in found)


def test_the_base_temperature_divides_the_log_potentials(lab: Any, even: Any) -> None:
    population, _ = lab.run(EntropicParticleFiltering(3, base_temperature=2.0), even, Constant(0.8))
    assert population.log_weights == pytest.approx(np.full(3, np.log(4) / 2))


class Ahead:
    """Equal scores at first; what follows "a" is good, what follows "b" is not."""

    async def score(self, traces: Any) -> Any:
        return [{"ag": 0.9, "bh": 0.1}.get(trace.text, 0.5) for trace in traces]


@pytest.mark.parametrize("lookahead", [0, 3])
def test_look_ahead_multiplies_offspring_by_the_successors_mean_score(lab: Any, lookahead: Any) -> None:
    lab.max_steps = 2
    strategy = EntropicParticleFiltering(2, lookahead=lookahead)
    found = lab.many(strategy, Scripted(["ag", "bh"]), Ahead(), range(200))
    share = survivors(found)["a"] / 2
    assert share == pytest.approx(0.9 if lookahead else 0.5, abs=4 * 0.3 / np.sqrt(200))
    for population, _ in found:
        # The guide is divided out: .9 / .1 by the potential, over .9 / .1 if the guide had a part.
        given = {trace.text: weight for trace, weight in zip(population.traces, population.log_weights, strict=True)}
        guide = {"ag": 0.9, "bh": 0.1} if lookahead else {"ag": 1.0, "bh": 1.0}
        assert given == pytest.approx(
            {t: odds(np.array([{"ag": 0.9, "bh": 0.1}[t]]))[0] - np.log(guide[t]) for t in given}
        )


def test_the_evidence_with_look_ahead_is_unbiased(lab: Any, even: Any, scores: Any) -> None:
    """Untempered: whatever the guide, the target is particle filtering's."""

    def potential(text: Any) -> Any:
        return np.prod([scores[c] / (1 - scores[c]) for c in text + text[-1]])

    _, exact = lab.posterior(even, potential)
    strategy = EntropicParticleFiltering(3, early_phase=0.0, lookahead=1)
    estimates = [np.exp(population.evidence) for population, _ in lab.many(strategy, even, seeds=range(100))]
    assert abs(np.mean(estimates) - exact) < 4 * np.std(estimates, ddof=1) / np.sqrt(100)


def test_look_ahead_is_billed(lab: Any, uneven: Any, table: Any) -> None:
    bills = []
    for lookahead in (0, 2):
        before = uneven.new_tokens
        _, ctx = lab.run(EntropicParticleFiltering(4, lookahead=lookahead), uneven, table)
        assert ctx.ledger.total.new_tokens == uneven.new_tokens - before
        bills.append(ctx.ledger.total.new_tokens)
    assert bills[1] > bills[0]
    assert max(table.seen.values()) <= 2  # once a run


@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_constant_verifier_is_plain_sampling(lab: Any, uneven: Any, lookahead: Any) -> None:
    exact = dict(uneven.enumerate())
    strategy = EntropicParticleFiltering(4, lookahead=lookahead)
    found = lab.many(strategy, uneven, Constant(0.8), range(80))
    counts = Counter(trace.text for population, _ in found for trace in population.traces)
    assert chisquare([counts[text] for text in exact], [320 * p for p in exact.values()]).pvalue > 1e-3
    assert all(np.allclose(population.weights, 0.25) for population, _ in found)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("form", "gini"),
        ("base_temperature", 0.0),
        ("ess_threshold", 0.0),
        ("early_phase", 1.1),
        ("lookahead", -1),
    ],
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        EntropicParticleFiltering(4, **{key: value})
