"""Statistics of stored samples against closed forms and brute force."""

from __future__ import annotations

import random
from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.scripts.metrics import (
    Pool,
    best_of_k,
    g_pass_at_k,
    mean_g_pass_at_k,
    mean_interval,
    paired,
    pass_at_k,
    vote_at_k,
    wilson,
)

Sample = tuple[str | None, float]


def pool(samples: list[Sample], gold: str = "a") -> Pool:
    return Pool([a for a, _ in samples], [a == gold for a, _ in samples], [w for _, w in samples])


samples = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([0.0, -1.0, -2.5, 3.0, -np.inf])),
    min_size=1,
    max_size=6,
)


def vote_of(chosen: tuple[Sample, ...], by: str) -> float:
    """A vote in the given order, written plainly: ties by the other tally, then first seen."""
    parsed = [(a, w) for a, w in chosen if a is not None]
    if not parsed:
        return 0.0
    best = None
    for answer in dict.fromkeys(a for a, _ in parsed):
        count = sum(a == answer for a, _ in parsed)
        weight = round(sum(float(np.exp(w)) for a, w in parsed if a == answer), 9)
        key = (count, weight) if by == "majority" else (weight, count)
        if best is None or key > best[0]:
            best = (key, answer)
    assert best is not None
    return float(best[1] == "a")


def best_of(chosen: tuple[Sample, ...]) -> float:
    """The first of the highest, parsed before unparsed."""
    return float(max(chosen, key=lambda s: (s[0] is not None, s[1]))[0] == "a")


@pytest.mark.parametrize(("n", "c", "k", "expected"), [(10, 3, 1, 0.3), (5, 4, 2, 1.0), (8, 0, 3, 0.0), (4, 4, 4, 1.0)])
def test_pass_at_k(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "c", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1)])
def test_pass_at_k_refuses(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        pass_at_k(n, c, k)


@given(st.integers(1, 300), st.data())
def test_pass_at_k_is_the_hypergeometric_formula(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    assert pass_at_k(n, c, k) == pytest.approx(1 - comb(n - c, k) / comb(n, k), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(samples, st.data())
def test_expectations_equal_brute_force(drawn: list[Sample], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, min(4, len(drawn))))
    orders = [order for chosen in combinations(drawn, k) for order in permutations(chosen)]
    assert best_of_k(pool(drawn), k).value == pytest.approx(np.mean([best_of(o) for o in orders]))
    for by in ("majority", "weighted_vote"):
        found = vote_at_k(pool(drawn), k, by)
        assert found.value == pytest.approx(np.mean([vote_of(o, by) for o in orders]))
        assert found.stderr == 0.0


@settings(deadline=None, max_examples=30)
@given(samples, st.randoms(use_true_random=False))
def test_order_does_not_matter(drawn: list[Sample], chance: random.Random) -> None:
    mixed = chance.sample(drawn, len(drawn))
    for k in range(1, len(drawn) + 1):
        assert best_of_k(pool(drawn), k) == best_of_k(pool(mixed), k)
        assert vote_at_k(pool(drawn), k, "weighted_vote") == vote_at_k(pool(mixed), k, "weighted_vote")
        assert vote_at_k(pool(drawn), k, "majority") == vote_at_k(pool(mixed), k, "majority")


def test_many_subsets_are_averaged_with_an_error() -> None:
    rng = np.random.default_rng(1)
    drawn: list[Sample] = [
        (str(rng.choice(["a", "b", "c"], p=[0.4, 0.35, 0.25])), float(rng.normal())) for _ in range(30)
    ]
    mixed = [drawn[i] for i in rng.permutation(30)]
    found = vote_at_k(pool(drawn), 5, "majority", seed=3)
    assert found == vote_at_k(pool(mixed), 5, "majority", seed=3)
    exact = np.mean([vote_of(chosen, "majority") for chosen in combinations(drawn, 5)])
    assert 0 < found.stderr < 0.02
    assert abs(found.value - exact) < 4 * found.stderr


def test_the_whole_pool_is_one_vote() -> None:
    answers: list[Sample] = [("1", 0.9), ("2", 0.4), ("2", 0.4)]
    assert best_of_k(pool(answers, "1"), 3).value == 1.0
    assert vote_at_k(pool(answers, "2"), 3, "majority").value == 1.0
    assert vote_at_k(pool(answers, "2"), 3, "weighted_vote").value == 1.0


def test_majority_ties_go_to_the_weight_and_then_are_fair() -> None:
    assert vote_at_k(pool([("a", 0.0), ("b", 1.0)]), 2, "majority").value == 0.0
    assert vote_at_k(pool([("a", 0.0), ("b", 0.0)]), 2, "majority").value == 0.5
    assert best_of_k(pool([("a", 0.0), ("b", 0.0)]), 2).value == 0.5


def test_unparsed_answers_never_win() -> None:
    drawn: list[Sample] = [(None, 9.0), (None, 9.0), ("a", -5.0)]
    assert best_of_k(pool(drawn), 3).value == 1.0
    assert vote_at_k(pool(drawn), 3, "majority").value == 1.0
    unparsed = Pool([None, None], [True, False], [1.0, float("nan")])
    assert best_of_k(unparsed, 1).value == vote_at_k(unparsed, 1, "weighted_vote").value == 0.0


def test_cut_off_samples_win_only_alone() -> None:
    answers, weights = ["a", "b", "b"], [-5.0, 0.0, 0.0]
    mixed = Pool(answers, [True, False, False], weights, finished=[True, False, False])
    for found in (best_of_k(mixed, 2), vote_at_k(mixed, 2, "majority"), vote_at_k(mixed, 2, "weighted_vote")):
        assert found.value == pytest.approx(2 / 3)


def test_far_smaller_weights_still_rank() -> None:
    drawn: list[Sample] = [("c", 0.0), ("a", -900.0), ("b", -901.0), ("b", -901.0)]
    assert vote_at_k(pool(drawn), 3, "weighted_vote").value == pytest.approx(np.mean([0, 0, 0, 1]))


def test_wilson() -> None:
    assert wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((1 - 0.277533, 1.0), abs=1e-6)
    with pytest.raises(ValueError, match="n >= 1"):
        wilson(0, 0)


def test_interval_over_problems() -> None:
    single = {i: [float(i < 8)] for i in range(10)}
    assert mean_interval(single) == (0.8, wilson(8, 10))
    repeated = {i: [float(i < 40)] * 5 for i in range(50)}
    mean, (low, high) = mean_interval(repeated)
    assert mean == 0.8
    assert high - low > 0.15, "five copies of a problem are no five problems"
    assert mean_interval(repeated) == mean_interval(repeated)
    assert mean_interval({i: [1.0, 1.0] for i in range(10)})[1] == wilson(10, 10)
    assert mean_interval({"only": [0.3]}) == (0.3, (0.0, 1.0))


def test_mcnemar() -> None:
    a = {i: [float(i < 9)] for i in range(20)}
    b = {i: [float(i == 9)] for i in range(25)}
    found = paired(a, b)
    assert (found.value, found.questions, found.test) == (pytest.approx(0.4), 20, "McNemar")
    assert found.p == pytest.approx(2 * (1 + 10) / 2**10)  # 9 against 1 of 10 discordant pairs
    assert found.low < 0.4 < found.high
    assert paired(a, a).p == 1.0


def test_sign_flip() -> None:
    a = {i: [1.0, 0.5] for i in range(5)}
    b = {i: [0.0, 0.5] for i in range(5)}
    found = paired(a, b)
    assert (found.test, found.p) == ("sign-flip", pytest.approx(2 / 2**5))
    assert paired({1: [0.5]}, {1: [0.0]}) == (0.5, -1.0, 1.0, 1.0, 1, "sign-flip")
    with pytest.raises(ValueError, match="no problem in common"):
        paired({1: [1.0]}, {2: [1.0]})


@settings(max_examples=60)
@given(st.integers(1, 7), st.data())
def test_g_pass_at_k_counts_subsets(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    right = [i < c for i in range(n)]
    for threshold in (0.0, 0.3, 0.5, 0.75, 1.0):
        hits = [sum(chosen) >= max(1, threshold * k - 1e-9) for chosen in combinations(right, k)]
        assert g_pass_at_k(n, c, k, threshold) == pytest.approx(sum(hits) / comb(n, k))
    assert g_pass_at_k(n, c, k, 0.0) == pytest.approx(pass_at_k(n, c, k))
    assert 0.0 <= mean_g_pass_at_k(n, c, k) <= g_pass_at_k(n, c, k, 0.5) + 1e-12


@pytest.mark.parametrize(("n", "c", "k", "threshold"), [(3, 4, 1, 0.5), (3, 1, 4, 0.5), (3, 1, 1, 1.5), (3, 1, 0, 0.5)])
def test_g_pass_at_k_refuses_what_cannot_be(n: int, c: int, k: int, threshold: float) -> None:
    with pytest.raises(ValueError, match=r"must lie|k="):
        g_pass_at_k(n, c, k, threshold)
