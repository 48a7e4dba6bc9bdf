"""Soft tree search against the distribution that it estimates."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search import soft_tree_search
from ponder.search.soft_tree_search import Node, SoftTreeSearch
from ponder.types import Problem, Step, Trace
from ponder.verifiers.rule import Constant
from tests.laws.languages import WANDERING

SAMPLINGS = ["sample", "argmax"]


def distance(population: Any, exact: Any) -> Any:
    """Total variation between a population's weights and exact probabilities."""
    mass = dict.fromkeys(exact, 0.0)
    for trace, weight in zip(population.traces, population.weights, strict=True):
        mass[trace.text] += weight
    return 0.5 * sum(abs(mass[text] - p) for text, p in exact.items())


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_distance_to_the_posterior_falls_with_rollouts(lab: Any, even: Any, scores: Any, sampling: Any) -> None:
    """p(x) exp(lambda r(x)) on eight solutions; 4, 32 and 256 rollouts."""
    exact, _ = lab.posterior(even, lambda text: np.exp(5.0 * scores[text[-1]]))
    means = []
    for n, runs in [(4, 24), (32, 10), (256, 2)]:
        found = lab.many(SoftTreeSearch(n, sampling=sampling), even, seeds=range(runs))
        means.append(np.mean([distance(population, exact) for population, _ in found]))
    assert means[0] > 1.3 * means[1] > 1.3 * 1.3 * means[2], means
    assert means[2] < 0.2, means


def test_the_mean_of_many_searches_is_near_the_posterior(lab: Any, uneven: Any, scores: Any) -> None:
    exact, _ = lab.posterior(uneven, lambda text: np.exp(2.0 * scores[text[-1]]))
    mass: Counter[str] = Counter()
    for population, _ in lab.many(SoftTreeSearch(24, inverse_temperature=2.0), uneven, seeds=range(40)):
        for trace, weight in zip(population.traces, population.weights, strict=True):
            mass[trace.text] += weight / 40
    assert 0.5 * sum(abs(mass[text] - p) for text, p in exact.items()) < 0.05


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_constant_score_leaves_the_language_model(lab: Any, uneven: Any, sampling: Any) -> None:
    strategy = SoftTreeSearch(40, sampling=sampling)
    found = [population for population, _ in lab.many(strategy, uneven, Constant(0.5), range(20))]
    exact = dict(uneven.enumerate())
    assert np.mean([distance(population, exact) for population in found]) < 0.25  # 40 independent samples: about .1
    assert [population.evidence for population in found] == pytest.approx([2.5] * 20)


def test_always_widening_is_importance_sampling(lab: Any, even: Any, scores: Any) -> None:
    """2 N^1 children are never reached: all rollouts start at the root, and shares are frequencies."""
    population, _ = lab.run(SoftTreeSearch(30, widening=2.0, widening_power=1.0), even)
    plain = SoftTreeSearch(30, widening=1e9)
    assert lab.run(plain, even)[0].traces == population.traces
    assert len({trace.text for trace in population.traces}) == len(population.traces)
    counts = np.exp(population.log_weights - [5.0 * scores[trace.text[-1]] for trace in population.traces]) * 30
    assert np.allclose(counts, np.round(counts))
    assert counts.sum() == pytest.approx(30)


@pytest.fixture
def roots(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The root of every search, as often as it reports."""
    seen: list[Node] = []
    original = SoftTreeSearch._population

    def spying(self: Any, root: Any) -> Any:
        seen.append(root)
        return original(self, root)

    monkeypatch.setattr(SoftTreeSearch, "_population", spying)
    return seen


def nodes(root: Node) -> list[Node]:
    """A tree's nodes, parents first."""
    found = [root]
    for node in found:
        found += node.children.values()
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 24),
    sampling=st.sampled_from(SAMPLINGS),
    widening=st.sampled_from([0.5, 1.0, 2.0]),
    widening_power=st.sampled_from([0.0, 0.5, 1.0]),
    inverse_temperature=st.sampled_from([0.5, 5.0, 300.0]),
    seed=st.integers(0, 99),
)
def test_counts_and_values_agree_in_every_tree(lab: Any, roots: Any, n: Any, seed: Any, **settings: Any) -> None:
    roots.clear()
    population, _ = lab.run(SoftTreeSearch(n, **settings), ToyLanguage(WANDERING), seed=seed)
    root, heat = roots[-1], settings["inverse_temperature"]
    assert root.visits == n
    for node in nodes(root):
        if node.children:
            assert node.trace.alive
            assert node.visits == sum(child.visits for child in node.children.values())
            soft = logsumexp(heat * node.values() + node.log_shares()) / heat
            assert node.value == pytest.approx(soft)
            assert node.values().min() - 1e-9 <= node.value <= node.values().max() + 1e-9
        assert node is root or 1 <= node.draws <= node.visits
    assert logsumexp(population.log_weights) == pytest.approx(heat * root.value)
    assert population.evidence == pytest.approx(heat * root.value)
    assert np.all(np.isfinite(population.log_weights))


def test_each_rollout_is_one_request_and_no_prefix_is_scored(lab: Any, even: Any, table: Any) -> None:
    _, ctx = lab.run(SoftTreeSearch(20), even, table)
    assert even.requests == 20
    assert all(trace.finished for trace in table.seen)
    assert len(ctx.reports) == 20


def test_a_node_widens_with_the_root_of_its_visits(lab: Any, roots: Any, even: Any) -> None:
    for n in (4, 16, 49):
        lab.run(SoftTreeSearch(n, widening=1.0), even)
        assert roots[-1].drawn == np.ceil(np.sqrt(n - 1))


def test_descent_is_proportional_to_share_and_exponential_value() -> None:
    strategy, trace = SoftTreeSearch(1, inverse_temperature=2.0), Trace(Problem("p", "ask"))
    root = Node(trace)
    for text, draws, value in [("a", 3, 0.2), ("b", 1, 0.9), ("c", 2, 0.5)]:
        root.children[trace + Step(text)] = Node(trace + Step(text), draws=draws, value=value)
    rng, runs = np.random.default_rng(0), 4000
    counts = Counter(strategy._chosen(root, rng).trace.text for _ in range(runs))
    expected = np.array([3, 1, 2]) * np.exp(2 * np.array([0.2, 0.9, 0.5]))
    expected *= runs / expected.sum()
    chi2 = sum((counts[text] - e) ** 2 / e for text, e in zip("abc", expected, strict=True))
    assert chi2 < 13.8  # p > 1e-3, 2 degrees of freedom
    assert SoftTreeSearch(1, sampling="argmax")._chosen(root, rng).trace.text == "b"


def test_the_greedy_variant_follows_the_best_branch(lab: Any, roots: Any) -> None:
    """ "d" scores .8 and "e" .6; two draws at each node, then always the better one."""
    language = ToyLanguage({"^": {"x": 0.5, "y": 0.5}, "x": {"d": 1.0}, "y": {"e": 1.0}, "d": {"$": 1}, "e": {"$": 1}})
    strategy = SoftTreeSearch(30, sampling="argmax", widening_power=0.0)
    lab.many(strategy, language, seeds=range(8))
    both = {id(root): root for root in roots if len(root.children) == 2}.values()
    assert both
    for root in both:
        visits = {child.trace.text: child.visits for child in root.children.values()}
        assert visits == {"x": 29, "y": 1}


def test_equal_draws_share_a_node_and_count(lab: Any, roots: Any) -> None:
    population, _ = lab.run(SoftTreeSearch(9), Scripted(["ace"]), Constant(0.5))
    assert [trace.text for trace in population.traces] == ["ace"]
    assert population.log_weights == pytest.approx([2.5])
    assert roots[-1].visits == 9


def test_growing_adds_every_step_once() -> None:
    start = Trace(Problem("p", "ask"))
    rollout = start + Step("a") + Step("b") + Step("", why="eos")
    root = Node(start)
    for times in (1, 2):
        path = soft_tree_search.grow([root], rollout)
        assert [node.trace for node in path[1:]] == [start + Step("a"), start + Step("a") + Step("b"), rollout]
        assert [node.draws for node in path] == [0, times, times, times]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inverse_temperature", 0.0),
        ("inverse_temperature", float("inf")),
        ("sampling", "greedy"),
        ("widening", 0.0),
        ("widening_power", -0.5),
        ("widening_power", 1.5),
    ],
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        SoftTreeSearch(4, **{key: value})
