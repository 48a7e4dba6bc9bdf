"""GenSelect with a judge that reads its candidates, and one that names nobody."""

import asyncio
import re
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.search import select
from ponder.search.gen_select import GenSelect

RNG = np.random.default_rng(0)


def text(trace: Any) -> Any:
    return trace.text


class Judged(Scripted):
    """Solves with numbers in a fixed disorder; judges by a function of the candidates that it reads."""

    def __init__(self, judge: Any, numbers: Any = None) -> None:
        turns = iter(numbers or [17 * i % 31 for i in range(31)])
        self.groups: list[list[int]] = []

        def script(trace: Any, _seed: Any) -> Any:
            if not trace.problem.verbatim:
                return str(next(turns))
            self.groups.append([int(n) for n in re.findall(r"^Solution \d+:\n(\d+)", trace.problem.prompt, re.M)])
            return judge(self.groups[-1])

        super().__init__(script)


def largest(group: list[int]) -> str:
    return f"They part in size.\n\nSolution {int(np.argmax(group)) + 1}"


def questions(n: int, group: int) -> list[int]:
    """How many questions each round asks: one for each group of two or more."""
    rounds = []
    while n > 1:
        rounds.append(n // group + (n % group > 1))
        n = ceil(n / group)
    return rounds


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(1, 31), group=st.integers(2, 9))
def test_a_judge_who_is_always_right_finds_the_best_of_all(lab: Any, n: int, group: int) -> None:
    sampler = Judged(largest)
    population, ctx = lab.run(GenSelect(n, group), sampler)
    best = max(17 * i % 31 for i in range(n))
    assert len(population) == n
    assert select.argmax(population, text, RNG) == str(best)
    assert population.weights.max() == pytest.approx(1.0, abs=1e-7)
    assert len(sampler.groups) == sum(questions(n, group))
    assert all(2 <= len(one) <= group for one in sampler.groups)
    assert len(ctx.reports) == 1 + len(questions(n, group))


def test_each_round_leaves_its_winners(lab: Any) -> None:
    """The first of each group, in the order of the groups."""
    sampler = Judged(lambda _group: "Solution 1", list(range(8)))
    _, ctx = lab.run(GenSelect(8, 2), sampler)
    winners = [[int(t.text) for t, w in zip(r.population.traces, r.population.log_weights, strict=True) if w == 0]
               for r in ctx.reports]  # fmt: skip
    assert winners == [list(range(8)), [0, 2, 4, 6], [0, 4], [0]]
    assert sampler.groups == [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [4, 6], [0, 4]]


def test_where_nobody_is_named_the_most_frequent_answer_of_all_goes_on(lab: Any) -> None:
    """The group [7, 7, 8, 9] sends 8 on, which has three votes of all; [5, 6, 6, 5] a 5, the first of two alike."""
    sampler = Judged(lambda _group: "I cannot say.", [7, 7, 8, 9, 5, 6, 6, 5, 8, 8])
    population, _ = lab.run(GenSelect(10, 4), sampler)
    assert sampler.groups == [[7, 7, 8, 9], [5, 6, 6, 5], [8, 8], [8, 5, 8]]
    assert select.argmax(population, text, RNG) == "8"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.integers(0, 4), min_size=1, max_size=20), group=st.integers(2, 6))
def test_a_mute_judge_makes_it_a_majority(lab: Any, numbers: list[int], group: int) -> None:
    population, _ = lab.run(GenSelect(len(numbers), group), Judged(lambda _group: "", numbers))
    winner = int(select.argmax(population, text, RNG) or "-1")
    assert numbers.count(winner) == max(map(numbers.count, numbers))


def test_the_judge_errs_as_often_as_it_does(lab: Any) -> None:
    """A judge of pairs who is right with probability .8 sends the best through three rounds with .8^3."""
    runs, right = 120, 0

    def fallible(group: list[int]) -> str:
        best, worst = int(np.argmax(group)), int(np.argmin(group))
        return f"Solution {(best if chance.random() < 0.8 else worst) + 1}"

    chance = np.random.default_rng(5)
    for seed in range(runs):
        population, _ = lab.run(GenSelect(8, 2), Judged(fallible, [3, 1, 7, 4, 8, 2, 6, 5]), seed=seed)
        right += select.argmax(population, text, RNG) == "8"
    assert abs(right / runs - 0.8**3) < 4 * np.sqrt(0.8**3 * (1 - 0.8**3) / runs), right / runs


class Busy(Judged):
    """Counts how many questions are being answered at once."""

    now, most = 0, 0

    async def sample(self, trace: Any, n: Any, until: Any, *, seed: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(5):
            await asyncio.sleep(0)
        self.now -= 1
        return await super().sample(trace, n, until, seed=seed)


def test_the_groups_of_a_round_are_asked_at_once(lab: Any) -> None:
    sampler = Busy(largest)
    lab.run(GenSelect(30, 5), sampler)
    assert sampler.most == 6


@pytest.mark.parametrize("group", [0, 1, 2.5])
def test_a_group_of_less_than_two_is_a_mistake(group: Any) -> None:
    with pytest.raises(UserError, match=r"search\.group"):
        GenSelect(4, group)


def test_a_role_that_nobody_has_is_a_mistake(lab: Any) -> None:
    with pytest.raises(UserError, match="'judge'"):
        lab.run(GenSelect(4, judge="judge"), Judged(largest))
