"""REBASE: how a budget is shared, and what is left of it without a verifier."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy.special import softmax
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.protocols import Until
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.rebase import Rebase, allocate
from ponder.types import Step, Trace
from ponder.verifiers.rule import Constant
from tests.laws.languages import RAGGED

REWARDS = st.lists(st.floats(0, 1), min_size=1, max_size=20)
TEMPERATURES = st.one_of(st.floats(0.01, 10), st.just(float("inf")))


@given(REWARDS, st.integers(0, 300), TEMPERATURES)
def test_shares_sum_to_the_budget_and_a_higher_reward_never_gets_less(
    rewards: Any, budget: int, temperature: float
) -> None:
    widths = allocate(np.array(rewards), budget, temperature)
    assert widths.sum() == budget
    assert widths.min() >= 0
    ordered = widths[np.argsort(rewards, kind="stable")]
    strictly = np.diff(np.sort(rewards)) > 1e-9
    assert np.all(np.diff(ordered)[strictly] >= 0)


@given(REWARDS, st.integers(0, 300), st.floats(0.05, 10))
def test_shares_are_those_of_the_softmax_within_one(rewards: Any, budget: int, temperature: float) -> None:
    expected = budget * softmax(np.array(rewards) / temperature)
    assert np.all(np.abs(allocate(np.array(rewards), budget, temperature) - expected) < 1 + 1e-6)


@given(REWARDS, st.integers(0, 300))
def test_an_infinite_temperature_shares_evenly_and_a_small_one_not_at_all(rewards: Any, budget: int) -> None:
    widths = allocate(np.array(rewards), budget, float("inf"))
    assert widths.max() - widths.min() <= 1
    even = allocate(np.zeros(len(rewards)), budget, float("inf")).tolist()
    assert even == sorted(widths, reverse=True)  # what is left goes to the first of equals
    tenths = np.round(np.array(rewards), 1)
    best = tenths == tenths.max()
    assert allocate(tenths, budget, 1e-3)[best].sum() == budget


@pytest.mark.parametrize(
    ("rewards", "budget", "widths"),
    [
        ([0.9, 0.5, 0.1], 8, [7, 1, 0]),  # of 6.93, 0.94, 0.13
        ([0.5, 0.5, 0.5, 0.5], 6, [2, 2, 1, 1]),  # each rounded by itself: 8
        ([0.3] * 8, 3, [1, 1, 1, 0, 0, 0, 0, 0]),  # each rounded by itself: none
        ([0.8, 0.6], 4, [3, 1]),  # of 2.92, 1.08
        ([0.1], 5, [5]),
    ],
)
def test_shares_by_hand(rewards: Any, budget: int, widths: Any) -> None:
    assert allocate(np.array(rewards), budget, 0.2).tolist() == widths


def watch(sampler: Any) -> Any:
    """How often each prefix is continued, by depth, from now on."""
    asked: defaultdict[int, Counter[str]] = defaultdict(Counter)
    play = sampler.sample

    async def sample(trace: Trace, n: int, until: Until, *, seed: int) -> Any:
        asked[len(trace)][trace.text] += n
        return await play(trace, n, until, seed=seed)

    sampler.sample = sample
    return asked


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_a_round_moves_n_less_the_finished_and_the_tree_has_n_leaves(lab: Any, n: int, seed: int) -> None:
    sampler = ToyLanguage(RAGGED)
    asked = watch(sampler)
    population, ctx = lab.run(Rebase(n), sampler, seed=seed)
    completed = [0] + [sum(trace.finished for trace in report.population.traces) for report in ctx.reports]
    assert [asked[depth].total() for depth in range(len(asked))] == [n - count for count in completed[:-1]]
    assert len(population) == n
    assert all(trace.finished for trace in population.traces)


class LastDigit:
    """The last digit of a solution, in tenths."""

    async def score(self, traces: Any) -> Any:
        return [int(trace.text[-1]) / 10 for trace in traces]


def test_each_prefix_goes_on_in_as_many_ways_as_it_earns(lab: Any) -> None:
    """Of four prefixes one has finished, so three are shared out: 2.61, 0.35 and 0.04, and two to the largest rests."""

    def script(trace: Trace, seed: int) -> Step:
        if not trace.steps:
            return [Step("1", why="eos"), Step("9"), Step("5"), Step("0")][seed % 4]
        return Step("7", why="eos")

    sampler = Scripted(script)
    asked = watch(sampler)
    population, _ = lab.run(Rebase(4), sampler, LastDigit())
    assert dict(asked[1]) == {"9": 3}
    weights = {(t.text, round(w, 6)) for t, w in zip(population.traces, population.weights, strict=True)}
    assert weights == {("1", round(0.1 / 2.2, 6)), ("97", round(0.7 / 2.2, 6))}
    asked.clear()
    lab.run(Rebase(4, temperature=1.0), sampler, LastDigit())  # 1.42, 0.95, 0.63 of 3
    assert dict(asked[1]) == {"9": 1, "5": 1, "0": 1}


def test_a_prefix_cut_by_a_limit_is_no_answer_and_leaves_its_share_to_others(lab: Any) -> None:
    def script(trace: Trace, seed: int) -> Step:
        if not trace.steps:
            return [Step("9999"), Step("5")][seed % 2]
        return Step("7", why="eos")

    lab.max_tokens = 4
    sampler = Scripted(script)
    asked = watch(sampler)
    population, _ = lab.run(Rebase(2), sampler, LastDigit())
    assert dict(asked[1]) == {"5": 2}
    assert [trace.text for trace in population.traces] == ["57", "57"]


@pytest.mark.parametrize(("lookahead", "answer", "tokens"), [(0, "ax", 2 + 2 + 2), (1, "by", (2 + 2) + (2 + 1) + 2)])
def test_lookahead_is_billed_and_changes_the_shares(lab: Any, lookahead: int, answer: str, tokens: int) -> None:
    class Turning:
        async def score(self, traces: Any) -> Any:
            return [{"a": 0.9, "b": 0.1, "ax": 0.2, "by": 0.8}[trace.text] for trace in traces]

    def script(trace: Trace, seed: int) -> Step:
        if not trace.steps:
            return Step("ab"[seed % 2])
        return Step({"a": "x", "b": "y"}[trace.text]) if len(trace) == 1 else Step("", why="eos")

    sampler = Scripted(script)
    population, ctx = lab.run(Rebase(2, lookahead=lookahead), sampler, Turning())
    assert [trace.text for trace in population.traces] == [answer] * 2
    assert ctx.ledger.total.new_tokens == sampler.new_tokens == tokens


@pytest.mark.parametrize(
    ("strategy", "verifier"),
    [(Rebase(4, temperature=float("inf")), None), (Rebase(4), Constant(0.3)), (Rebase(1), None)],
    ids=["infinite temperature", "constant verifier", "n = 1"],
)
def test_plain_sampling(lab: Any, uneven: Any, strategy: Any, verifier: Any) -> None:
    runs = 200 // strategy.n + 50
    populations = [population for population, _ in lab.many(strategy, uneven, verifier, range(runs))]
    seen = Counter(trace.text for population in populations for trace in population.traces)
    exact = dict(uneven.enumerate())
    assert seen.total() == runs * strategy.n
    assert set(seen) <= set(exact)
    assert chisquare([seen[t] for t in exact], [p * seen.total() for p in exact.values()]).pvalue > 1e-3


def test_a_verifier_moves_the_distribution(lab: Any, even: Any, scores: Any) -> None:
    """The first character of two solutions, in closed form: shares 2 : 0 where the rewards are .7 and .4."""
    widths = allocate(np.array([scores["a"], scores["b"]]), 2, 0.2).tolist()
    assert widths == [2, 0]
    done = lab.many(Rebase(2), even, seeds=range(250))
    a = sum(all(trace.text[0] == "a" for trace in population.traces) for population, _ in done)
    exact = 1 - 0.4**2  # unless both begin with b
    assert abs(a / 250 - exact) < 4 * np.sqrt(exact * (1 - exact) / 250)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), "warm", True])
def test_a_temperature_out_of_range_is_named(value: Any) -> None:
    with pytest.raises(UserError, match=rf"search.temperature={value!r}") as caught:
        Rebase(4, temperature=value)
    assert "allowed" in caught.value.hint
    with pytest.raises(UserError, match=r"search.lookahead=-1"):
        Rebase(4, lookahead=-1)


def test_a_yaml_can_say_infinity() -> None:
    assert Rebase(4, temperature=OmegaConf.create("temperature: .inf").temperature).temperature == float("inf")
