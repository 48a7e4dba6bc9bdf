"""Statistical honesty: 95 % intervals hold the truth in 95 of 100 experiments, and equal methods differ in 5 of 100.

Each test simulates 1,000 experiments whose truth is known. With 1,000 of them a rate of 95 % is seen between 93.6 and
96.4 % (two standard errors); the tests allow 93 to 97, and for the 5 % of a test what chance allows at 1 in 1,000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ponder.scripts.comparing import at_cost
from ponder.scripts.metrics import Pool, best_of_k, mean_interval, paired, pass_at_k, vote_at_k, wilson
from ponder.scripts.points import Point
from ponder.scripts.reach import reach
from ponder.scripts.results import COSTS

EXPERIMENTS = 1000
Values = dict[int, list[float]]


def difficulties(rng: np.random.Generator, questions: int) -> Any:
    """The chance of a right answer, question by question: many easy ones, many hard ones."""
    return rng.beta(0.8, 0.6, size=questions)


MEAN = 0.8 / 1.4  # of that law


def runs(rng: np.random.Generator, chance: Any, seeds: int) -> Values:
    """0 or 1 for each question and seed."""
    return {i: (rng.random(seeds) < p).astype(float).tolist() for i, p in enumerate(chance)}


def share(of: Callable[[np.random.Generator], bool], experiments: int = EXPERIMENTS) -> float:
    """In how many of the experiments something held."""
    return float(np.mean([of(np.random.default_rng([7, i])) for i in range(experiments)]))


@pytest.mark.parametrize(("questions", "seeds"), [(100, 1), (50, 3), (100, 8)])
def test_an_interval_of_an_accuracy_holds_the_truth(questions: int, seeds: int) -> None:
    def holds(rng: np.random.Generator) -> bool:
        _, (low, high) = mean_interval(runs(rng, difficulties(rng, questions), seeds))
        return low <= MEAN <= high

    assert 0.93 <= share(holds) <= 0.97


def test_an_interval_of_an_expectation_over_subsets_holds_the_truth() -> None:
    """pass@4 from pools of 16: the truth is the mean of 1 - (1 - p)^4 over the law of p."""
    truth = 1 - float(stats.beta(0.8, 0.6).expect(lambda p: (1 - p) ** 4))

    def holds(rng: np.random.Generator) -> bool:
        right = rng.binomial(16, difficulties(rng, 60))
        _, (low, high) = mean_interval({i: [pass_at_k(16, int(c), 4)] for i, c in enumerate(right)})
        return low <= truth <= high

    assert 0.93 <= share(holds) <= 0.97


def two(rng: np.random.Generator, seeds: int, gain: float, questions: int = 80) -> tuple[Values, Values]:
    """Two methods on the same questions; the first gets right a share `gain` of what the second gets wrong."""
    chance = difficulties(rng, questions)
    return runs(rng, chance + gain * (1 - chance), seeds), runs(rng, chance, seeds)


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_of_a_paired_difference_holds_the_truth(seeds: int) -> None:
    def holds(rng: np.random.Generator) -> bool:
        found = paired(*two(rng, seeds, gain=0.25))
        return found.low <= 0.25 * (1 - MEAN) <= found.high

    assert 0.93 <= share(holds) <= 0.97


def test_equal_methods_differ_in_five_of_a_hundred() -> None:
    rate = share(lambda rng: paired(*two(rng, 3, gain=0.0)).p <= 0.05)
    low, high = stats.binom.ppf([0.0005, 0.9995], EXPERIMENTS, 0.05) / EXPERIMENTS
    assert low <= rate <= high


def test_with_one_seed_the_test_is_exact_and_so_never_more_often_wrong() -> None:
    """Exact McNemar: its p-values are few, so that the rate is below 5 %, by as much as they are coarse."""
    rate = share(lambda rng: paired(*two(rng, 1, gain=0.0)).p <= 0.05)
    assert 0.01 <= rate <= stats.binom.ppf(0.9995, EXPERIMENTS, 0.05) / EXPERIMENTS


def test_a_real_gain_is_found() -> None:
    assert share(lambda rng: paired(*two(rng, 3, gain=0.3)).p <= 0.05, 200) > 0.9


def test_votes_of_a_pool_are_unbiased() -> None:
    """The mean over pools of the vote among 5 of 12 is the chance that a fresh vote of 5 is right."""
    chance = [0.45, 0.35, 0.2]
    fresh = np.random.default_rng(0).multinomial(5, chance, size=200_000)
    wins = fresh == fresh.max(axis=1, keepdims=True)
    truth = float((wins[:, 0] / wins.sum(axis=1)).mean())

    def vote(rng: np.random.Generator) -> float:
        answers = [str(one) for one in rng.choice(3, size=12, p=chance)]
        return vote_at_k(Pool(answers, [a == "0" for a in answers], [0.0] * 12), 5, "majority").value

    votes = [vote(np.random.default_rng([1, i])) for i in range(EXPERIMENTS)]
    assert abs(np.mean(votes) - truth) < 4 * np.std(votes) / np.sqrt(EXPERIMENTS) + 0.003


def test_best_of_a_pool_is_unbiased() -> None:
    """Scores that tell right from wrong with noise: the best of 4 of 12 is right as often as the best of a fresh 4."""
    rng = np.random.default_rng(0)
    right = rng.random((200_000, 4)) < 0.4
    truth = float(np.take_along_axis(right, (right + rng.normal(size=right.shape)).argmax(axis=1)[:, None], 1).mean())

    def best(rng: np.random.Generator) -> float:
        good = rng.random(12) < 0.4
        pool = Pool(["a" if one else "b" for one in good], good.tolist(), (good + rng.normal(size=12)).tolist())
        return best_of_k(pool, 4).value

    found = [best(np.random.default_rng([2, i])) for i in range(EXPERIMENTS)]
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / np.sqrt(EXPERIMENTS) + 0.003


def test_wilson_holds_the_truth() -> None:
    for p in (0.1, 0.5, 0.9):
        ends = [wilson(c, 100) for c in range(101)]
        held = sum(stats.binom.pmf(c, 100, p) for c, (low, high) in enumerate(ends) if low <= p <= high)
        assert 0.93 <= held <= 0.97


def curve(method: str, rng: np.random.Generator, chance: Any, costs: list[float], gains: list[float]) -> list[Point]:
    """A method whose accuracy at each cost is known: chance + gain (1 - chance), three seeds."""
    made = []
    for n, (cost, gain) in enumerate(zip(costs, gains, strict=True), start=1):
        values: Any = runs(rng, chance + gain * (1 - chance), 3)
        spent: Any = dict.fromkeys(values, dict.fromkeys(COSTS, 0.0) | {"new_tokens": cost})
        bill: Any = dict.fromkeys(COSTS, 0.0) | {"new_tokens": cost}
        mean = float(np.mean([*values.values()]))
        made.append(Point(method, n, "run", mean, 0, 1, len(values), 3, failed=0, values=values, spent=spent, **bill))
    return made


GAINS = [0.0, 0.2, 0.4, 0.6]


@pytest.mark.slow
def test_an_interval_of_what_it_costs_to_be_right_holds_the_truth() -> None:
    """Accuracy rises by equal steps at each doubling of the cost, so the true ratio of the two methods is 3.

    Where a curve crosses a level is no smooth function of it: the percentile interval is wider than it need be.
    """
    target = MEAN + 0.3 * (1 - MEAN)

    def holds(rng: np.random.Generator) -> bool:
        chance = difficulties(rng, 150)
        dear = curve("dear", rng, chance, [300.0, 600.0, 1200.0, 2400.0], GAINS)
        cheap = curve("cheap", rng, chance, [100.0, 200.0, 400.0, 800.0], GAINS)
        need = reach([*dear, *cheap], target)["dear"]["new_tokens"]
        return need.ratio is not None and need.ratio_low <= 3.0 <= need.ratio_high

    assert 0.93 <= share(holds) <= 0.995


def test_accuracy_at_a_cost_lies_between_two_points() -> None:
    rng = np.random.default_rng(0)
    line = curve("m", rng, difficulties(rng, 50), [100.0, 400.0], [0.0, 0.5])
    middle = at_cost(line, "new_tokens", 200.0)
    mean = float(np.mean([*middle.values()]))
    assert mean == pytest.approx((line[0].accuracy + line[1].accuracy) / 2)
    assert at_cost(line, "new_tokens", 400.0) == line[1].values
    assert at_cost(line, "new_tokens", 100.0) == line[0].values
