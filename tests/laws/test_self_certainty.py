"""Self-certainty on a language with one sharp and one flat branch."""

from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search import select
from ponder.search.self_certainty import SelfCertainty, _votes, certainty

SHARP, FLAT = 0.97, 0.5
TWO_BRANCHES = {
    "^": {"a": 0.3, "b": 0.7},
    "a": {"c": SHARP, "d": 1 - SHARP},
    "b": {"c": FLAT, "d": FLAT},
    "c": {"$": SHARP, "d": 1 - SHARP},
    "d": {"$": SHARP, "c": 1 - SHARP},
}


def surprise(*row: float) -> float:
    return -float(np.mean(np.log(row)))


def test_certainty_is_the_mean_over_tokens_and_likeliest(lab: Any) -> None:
    population, _ = lab.run(SelfCertainty(30), ToyLanguage(TWO_BRANCHES))
    exact = {
        "ac": np.mean([surprise(0.3, 0.7), surprise(SHARP, 1 - SHARP), surprise(SHARP, 1 - SHARP)]),
        "bd": np.mean([surprise(0.3, 0.7), surprise(FLAT, FLAT), surprise(SHARP, 1 - SHARP)]),
    }
    seen = {t.text: certainty(t) for t in population.traces}
    assert {text: seen[text] for text in exact} == pytest.approx(exact)


def test_the_sharp_branch_ranks_above_the_flat_one(lab: Any) -> None:
    """Of equally long solutions; the majority goes the flat way."""
    for seed in range(10):
        population, _ = lab.run(SelfCertainty(60, power=5.0), ToyLanguage(TWO_BRANCHES), seed=seed)
        weights = {t.text: w for t, w in zip(population.traces, population.log_weights, strict=True)}
        assert min(weights["ac"], weights.get("ad", np.inf)) > max(weights["bc"], weights["bd"])

        def branch(trace: Any) -> Any:
            return trace.text[0]

        rng = np.random.default_rng(0)
        assert select.majority(population, branch, rng) == "b"
        assert select.weighted_vote(population, branch, rng) == "a"
        best = max(population.traces, key=certainty)
        assert select.argmax(population, lambda t: t.text, rng) == best.text


@pytest.mark.parametrize(
    ("certainties", "votes"), [([3.0, 1.0, 2.0], [3, 1, 2]), ([2.0, 2.0, 1.0], [3, 3, 1]), ([5.0], [1])]
)
def test_borda_votes(certainties: Any, votes: Any) -> None:
    assert _votes(np.array(certainties)).tolist() == votes


@pytest.mark.parametrize("power", [0.0, 0.3, 1.2])
def test_weights_are_powers_of_the_votes(lab: Any, power: Any) -> None:
    population, _ = lab.run(SelfCertainty(12, power), ToyLanguage(TWO_BRANCHES))
    votes = _votes(np.array([certainty(t) for t in population.traces]))
    assert np.exp(population.log_weights) == pytest.approx(votes**power)


def test_a_sampler_that_tells_no_likeliest_tokens_is_a_mistake(lab: Any) -> None:
    with pytest.raises(UserError, match="likeliest"):
        lab.run(SelfCertainty(2), Scripted(["a"]))


@pytest.mark.parametrize("power", [-0.1, float("inf")])
def test_a_power_out_of_range_is_named(power: Any) -> None:
    with pytest.raises(UserError, match=r"search\.power"):
        SelfCertainty(4, power)
