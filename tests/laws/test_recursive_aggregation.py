"""Recursive self-aggregation: subsets, rounds, what is seen, and a law of a population that only copies."""

from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.search.recursive_aggregation import RecursiveAggregation
from tests.laws.speaking import Speaker, prompts


def test_each_member_is_written_from_k_of_the_round_before(lab: Any) -> None:
    model = Speaker({"solve": list("abcd"), "round": ["w", "x", "y", "z", "W", "X", "Y", "Z"]})
    population, _ = lab.run(RecursiveAggregation(4, k=2, rounds=2), model)
    assert [trace.text for trace in population.traces] == list("WXYZ")
    asked = prompts(model)[4:]  # after the four solutions
    assert len(asked) == 8
    for i, prompt in enumerate(asked):
        seen = [line for line in prompt.splitlines() if len(line) == 1]
        assert len(set(seen)) == 2
        assert set(seen) <= set("abcd" if i < 4 else "wxyz")


def test_no_round_is_self_consistency(lab: Any) -> None:
    model = Speaker({"solve": list("abc")})
    population, _ = lab.run(RecursiveAggregation(3, rounds=0), model)
    assert [trace.text for trace in population.traces] == list("abc")


def test_a_subset_is_never_larger_than_the_population(lab: Any) -> None:
    model = Speaker({"solve": ["a"], "round": ["b"]})
    population, _ = lab.run(RecursiveAggregation(1, k=4, rounds=1), model)
    assert [trace.text for trace in population.traces] == ["b"]
    assert "1 attempts" in prompts(model)[1]


def test_members_are_chosen_evenly(lab: Any) -> None:
    """A model that copies the first attempt it sees: each of 4 members is copied with chance 1/4."""

    def first(trace: Any) -> str:
        return str(next(line for line in trace.problem.prompt.splitlines() if len(line) == 1))

    counts = dict.fromkeys("abcd", 0)
    for seed in range(300):
        model = Speaker({"solve": list("abcd"), "round": [first]})
        population, _ = lab.run(RecursiveAggregation(4, k=2, rounds=1), model, seed=seed)
        for trace in population.traces:
            counts[trace.text] += 1
    share = np.array([*counts.values()]) / 1200
    assert np.abs(share - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 1200)


@pytest.mark.parametrize(("key", "value"), [("k", 0), ("rounds", -1)])
def test_arguments_out_of_range(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value}"):
        RecursiveAggregation(4, **{key: value})
