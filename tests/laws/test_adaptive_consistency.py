"""Adaptive consistency against its Beta criterion and the Markov chain of its counts."""

import asyncio
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search import select
from ponder.search.adaptive_consistency import AdaptiveConsistency, lead
from ponder.types import Problem

RNG = np.random.default_rng(0)


def text(trace: Any) -> Any:
    return trace.text


@pytest.mark.parametrize(
    ("first", "second", "exact"), [(2, 2, 0.5), (3, 0, 0.9375), (4, 0, 0.96875), (5, 1, 0.9375), (0, 0, 0.5)]
)
def test_the_criterion(first: Any, second: Any, exact: Any) -> None:
    assert lead(first, second) == pytest.approx(exact)


@settings(deadline=None)
@given(first=st.integers(0, 200), second=st.integers(0, 200))
def test_the_criterion_is_an_integral_of_the_beta_density(first: int, second: int) -> None:
    assert lead(first, second) == pytest.approx(beta(first + 1, second + 1).sf(0.5), abs=1e-12)
    assert lead(first, second) + lead(second, first) == pytest.approx(1.0)


@pytest.mark.parametrize(("threshold", "after"), [(0.9, 3), (0.95, 4), (0.99, 6), (1.0, 20)])
def test_unanimous_answers_stop(lab: Any, threshold: Any, after: Any) -> None:
    population, ctx = lab.run(AdaptiveConsistency(20, threshold), Scripted(["a"]))
    assert len(population) == after
    assert len(ctx.reports) == after


def chain(p: float, n: int, threshold: float) -> tuple[float, float]:
    """Expected samples, and the probability that the likelier of two answers wins, first seen first in a tie."""

    @cache
    def ahead(a: int, b: int, first: str) -> tuple[float, float]:
        if a + b == n or lead(max(a, b), min(a, b)) > threshold:
            return 0.0, float(a > b or (a == b and first == "a"))
        one, other = ahead(a + 1, b, first or "a"), ahead(a, b + 1, first or "b")
        return 1 + p * one[0] + (1 - p) * other[0], p * one[1] + (1 - p) * other[1]

    return ahead(0, 0, "")


@pytest.mark.parametrize(("p", "n", "threshold"), [(0.7, 10, 0.9), (0.9, 12, 0.9)])
def test_samples_and_accuracy_are_those_of_the_markov_chain(lab: Any, p: Any, n: Any, threshold: Any) -> None:
    language, runs = ToyLanguage({"^": {"a": p, "b": 1 - p}, "a": {"$": 1.0}, "b": {"$": 1.0}}), 250
    samples, accuracy = chain(p, n, threshold)
    done = lab.many(AdaptiveConsistency(n, threshold), language, seeds=range(runs))
    counts = np.array([len(population) for population, _ in done])
    assert abs(counts.mean() - samples) < 4 * counts.std() / np.sqrt(runs), (counts.mean(), samples)
    right = np.mean([select.majority(population, text, RNG) == "a" for population, _ in done])
    assert abs(right - accuracy) < 4 * np.sqrt(accuracy * (1 - accuracy) / runs), (right, accuracy)


def test_a_batch_is_drawn_whole_between_two_looks(lab: Any) -> None:
    assert len(lab.run(AdaptiveConsistency(20, batch=3), Scripted(["a"]))[0]) == 6
    assert len(lab.run(AdaptiveConsistency(5, batch=3), Scripted(["a"]))[0]) == 5


def test_solutions_without_an_end_or_an_answer_do_not_vote(lab: Any, table: Any) -> None:
    lab.max_tokens = 3
    cases: list[tuple[str, Any]] = [("endless", text), ("a", lambda _: None)]
    for words, answer in cases:
        (ctx,) = lab.contexts(Scripted([words]), table, [0])
        ctx.answer = answer
        assert len(asyncio.run(AdaptiveConsistency(10)(Problem("p", "ask"), ctx))) == 10


@pytest.mark.parametrize(("key", "value"), [("threshold", 0.4), ("threshold", 1.1), ("batch", 0)])
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        AdaptiveConsistency(4, **{key: value})
