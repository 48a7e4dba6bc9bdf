"""Confidence-weighted self-consistency against the language's own probabilities."""

from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search import select
from ponder.search.weighted_self_consistency import WeightedSelfConsistency

RNG = np.random.default_rng(0)


def per_token(language: Any) -> dict[str, float]:
    """Mean log-probability of each solution's tokens, its end included."""
    return {text: float(np.log(p)) / (len(text) + 1) for text, p in language.enumerate()}


@pytest.mark.parametrize("temperature", [0.05, 1.0, 3.0])
def test_weights_are_confidence_over_temperature(lab: Any, uneven: Any, temperature: Any) -> None:
    population, _ = lab.run(WeightedSelfConsistency(40, temperature), uneven)
    exact = per_token(uneven)
    assert len({t.text for t in population.traces}) == len(exact)
    assert population.log_weights == pytest.approx([exact[t.text] / temperature for t in population.traces])


def test_at_infinite_temperature_all_weights_are_equal(lab: Any, uneven: Any) -> None:
    population, _ = lab.run(WeightedSelfConsistency(9, float("inf")), uneven)
    assert np.all(population.weights == population.weights[0])


def test_the_weighted_vote_converges_to_the_confidence_weighted_distribution(lab: Any, uneven: Any) -> None:
    confidence = per_token(uneven)
    exact, _ = lab.posterior(uneven, lambda text: np.exp(confidence[text]))
    n = 4000
    population, _ = lab.run(WeightedSelfConsistency(n), uneven)
    for text, share in exact.items():
        mass = sum(w for t, w in zip(population.traces, population.weights, strict=True) if t.text == text)
        assert abs(mass - share) < 4 * 1.5 * np.sqrt(share * (1 - share) / n)  # no weight is above 1.5 times the mean


def test_a_confident_minority_can_win_the_vote(lab: Any) -> None:
    """The unsure branch ends in "b" for certain and is the more frequent one."""
    language = ToyLanguage({"^": {"x": 0.6, "a": 0.4}, "x": dict.fromkeys("mnopqrst", 0.125), "a": {"$": 1.0}}
                           | {c: {"b": 1.0} for c in "mnopqrst"} | {"b": {"$": 1.0}})  # fmt: skip

    def last(trace: Any) -> Any:
        return trace.text[-1:]

    for seed in range(5):
        population, _ = lab.run(WeightedSelfConsistency(200, 0.2), language, seed=seed)
        assert select.majority(population, last, RNG) == "b"
        assert select.weighted_vote(population, last, RNG) == "a"


def test_a_sampler_without_log_probabilities_is_a_mistake(lab: Any) -> None:
    with pytest.raises(UserError, match="log-probability"):
        lab.run(WeightedSelfConsistency(2), Scripted(["a"]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_out_of_range_is_named(temperature: Any) -> None:
    with pytest.raises(UserError, match=r"search\.temperature"):
        WeightedSelfConsistency(4, temperature)
