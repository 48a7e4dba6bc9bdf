"""Selection: who may win, and who wins."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.search.select import SELECTORS, all_answers, argmax, majority, sample, weighted_vote
from ponder.types import Population, Problem, Step, Trace

RNG = np.random.default_rng(0)
PROBLEM = Problem("p", "ask")


def answer(trace: Any) -> Any:
    return trace.text or None


def population(answers: Any, log_weights: Any = None, why: Any = "eos") -> Any:
    whys = [why] * len(answers) if isinstance(why, str) else why
    traces = [Trace(PROBLEM, (Step(a or "", why=w),)) for a, w in zip(answers, whys, strict=True)]
    return Population(tuple(traces), np.zeros(len(answers)) if log_weights is None else np.array(log_weights))


def test_majority() -> None:
    assert majority(population("abaca"), answer, RNG) == "a"


def test_a_tie_goes_to_the_heavier_then_to_the_first_seen() -> None:
    assert majority(population("abba", np.log([0.1, 0.4, 0.4, 0.1])), answer, RNG) == "b"
    assert majority(population("abba"), answer, RNG) == "a"
    assert majority(population("baab"), answer, RNG) == "b"
    # .1 + .2 and .3 differ in floating point only.
    assert majority(population("abab", np.log([0.3, 0.1, 0.1, 0.3])), answer, RNG) == "a"


def test_best_of_n_weighted_vote_and_majority() -> None:
    votes = population("122", [0.9, 0.4, 0.4])
    assert (argmax(votes, answer, RNG), weighted_vote(votes, answer, RNG), majority(votes, answer, RNG)) == (
        "1",
        "2",
        "2",
    )


def test_the_weighted_vote_sums_weights_not_log_weights() -> None:
    assert weighted_vote(population("122", np.log([0.9, 0.4, 0.4])), answer, RNG) == "1"
    assert weighted_vote(population("122", np.log([0.9, 0.5, 0.5])), answer, RNG) == "2"


@pytest.mark.parametrize(("scores", "best"), [([0.5, 0.8, 0.3], "1"), ([0.8, 0.5, 0.8], "0"), ([0.2], "0")])
def test_argmax_takes_the_first_of_the_best(scores: Any, best: Any) -> None:
    assert argmax(population([str(i) for i in range(len(scores))], scores), answer, RNG) == best


@pytest.mark.parametrize("name", SELECTORS)
def test_an_unparsed_answer_never_wins_while_a_parsed_one_exists(name: Any) -> None:
    votes = population([None, None, None, "7"], [9.0, 9.0, 9.0, -50.0])
    assert SELECTORS[name](votes, answer, np.random.default_rng(0)) == "7"
    assert SELECTORS[name](population([None, None]), answer, np.random.default_rng(0)) is None
    assert SELECTORS[name](population([]), answer, np.random.default_rng(0)) is None


@pytest.mark.parametrize("name", SELECTORS)
def test_truncated_answers_count_only_when_no_finished_one_does(name: Any) -> None:
    mixed = population(["1", "1", "2"], [5.0, 5.0, 0.0], why=["length", "stop", "eos"])
    assert SELECTORS[name](mixed, answer, np.random.default_rng(0)) == "2"
    unparsed = population(["1", "1", None], [5.0, 5.0, 0.0], why=["length", "stop", "eos"])
    assert SELECTORS[name](unparsed, answer, np.random.default_rng(0)) == "1"


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("log_weights", [[-1e5, -1e5], [-np.inf, -np.inf], [1e5, 1e5]])
def test_extreme_weights(name: Any, log_weights: Any) -> None:
    assert SELECTORS[name](population("ab", log_weights), answer, np.random.default_rng(0)) in {"a", "b"}


def test_sampling_follows_the_weights() -> None:
    rng, votes = np.random.default_rng(1), population("aab", np.log([0.1, 0.2, 0.7]))
    drawn = [sample(votes, answer, rng) for _ in range(4000)]
    assert drawn.count("b") / 4000 == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / 4000))


def test_all_answers_names_every_selector() -> None:
    answers = all_answers(population("122", [0.9, 0.4, 0.4]), answer, np.random.default_rng(0))
    assert list(answers) == ["argmax", "sample", "majority", "weighted_vote"]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.floats(-5, 5))
def test_a_common_factor_of_the_weights_changes_nothing(answers: Any, shift: Any) -> None:
    log_weights = np.linspace(0, 1, len(answers))
    plain, shifted = population(answers, log_weights), population(answers, log_weights + shift)
    for select in (argmax, majority, weighted_vote):
        assert select(plain, answer, RNG) == select(shifted, answer, RNG)
