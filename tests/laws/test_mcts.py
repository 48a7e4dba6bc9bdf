"""Monte Carlo tree search: what its counts must obey, and a tree whose best leaf is known."""

import contextlib
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.protocols import Until
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search import mcts
from ponder.search.mcts import MCTS, puct, uct
from ponder.search.weights import exponential
from ponder.types import Problem, Step, Trace
from tests.laws.languages import WANDERING

DEPTH = 5
LETTERS = "abcd"


def branching(trace: Trace, seed: int) -> str:
    """Four steps in listed order wherever a prefix is continued, and any letters after them, up to five in all."""
    left = DEPTH - len(trace.text)
    rest = random.Random(f"{seed} {trace.text}").choices(LETTERS, k=max(0, left - 1))
    return LETTERS[seed % 4] + "".join(rest) if left else ""


class Additive:
    """The mean of one number for each letter and place: the value of a prefix grows with good letters alone."""

    def __init__(self, seed: int) -> None:
        self.numbers = np.random.default_rng(seed).random((DEPTH, len(LETTERS)))
        self.seen: list[str] = []

    async def score(self, traces: Any) -> Any:
        self.seen += [trace.text for trace in traces]
        return [
            float(sum(self.numbers[i, LETTERS.index(c)] for i, c in enumerate(trace.text)) / DEPTH) for trace in traces
        ]

    @property
    def best(self) -> str:
        return "".join(LETTERS[i] for i in self.numbers.argmax(axis=1))


class FoundError(Exception):
    """The best leaf was seen."""


def test_the_best_of_1024_leaves_is_found_after_few_evaluations(lab: Any) -> None:
    evaluations = []
    for seed in range(20):
        verifier = Additive(seed)

        def until_found(*given: Any, verifier: Any = verifier) -> Any:
            if verifier.best in verifier.seen:
                raise FoundError
            return uct(*given)

        strategy = MCTS(1024, selection=until_found, exploration=0.2)
        with contextlib.suppress(FoundError):
            lab.run(strategy, Scripted(branching), verifier, seed=seed)
        evaluations.append(verifier.seen.index(verifier.best) + 1)
    assert np.mean(evaluations) < 130, np.mean(evaluations)  # looking at leaves in any order takes 512 on average
    assert np.max(evaluations) < 400


@pytest.fixture
def trees(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The root of every search, as often as it reports."""
    roots: list[mcts.Node] = []
    original = MCTS._population

    def spying(self: MCTS, root: Any, answered: Any) -> Any:
        roots.append(root)
        for node in nodes(root):
            counts_hold(node)
        return original(self, root, answered)

    monkeypatch.setattr(MCTS, "_population", spying)
    return roots


def nodes(root: mcts.Node) -> list[mcts.Node]:
    """A tree's nodes, parents first."""
    found = [root]
    for node in found:
        found += node.children
    return found


def counts_hold(node: mcts.Node) -> None:
    """Its own visit and its children's; unvisited ones behind visited ones; what is explored."""
    if node.children:
        assert sum(child.visits for child in node.children) == node.visits - 1
        visited = [child.visits > 0 for child in node.children]
        assert visited == sorted(visited, reverse=True)
        priors = [child.prior for child in node.children]
        assert priors == sorted(priors, reverse=True)
        assert node.explored == all(child.explored for child in node.children)
        own = node.total - sum(child.total for child in node.children)
        assert own == pytest.approx(node.score if node.answer is not None else own)
    else:
        assert node.visits <= 1
    assert len({child.trace for child in node.children}) == len(node.children)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 24),
    width=st.integers(1, 4),
    selection=st.sampled_from([uct, puct]),
    exploration=st.sampled_from([0.0, 0.3, 2.0]),
    prior=st.sampled_from(["uniform", "logprob", "score"]),
    leaf=st.sampled_from(["rollout", "value"]),
    output=st.sampled_from(["vote", "max_value", "max_visit"]),
    seed=st.integers(0, 99),
)
def test_visits_add_up_in_every_tree(lab: Any, trees: Any, n: Any, seed: Any, **settings: Any) -> None:
    trees.clear()
    population, _ = lab.run(MCTS(n, **settings), ToyLanguage(WANDERING), seed=seed)
    root = trees[-1]
    assert root.visits == n or (root.visits < n and root.explored)
    assert any(trace.finished for trace in population.traces)
    assert len(population) == root.answers == len([node for node in nodes(root) if node.answer is not None])
    assert np.all(np.isfinite(population.log_weights))
    if settings["leaf"] == "rollout":
        assert len(population) == root.visits


def test_a_search_of_width_1_goes_down_one_line_and_ends(lab: Any, trees: Any) -> None:
    lab.run(MCTS(50, width=1), ToyLanguage({"^": {"a": 1.0}, "a": {"b": 1.0}, "b": {"$": 1.0}}))
    root = trees[-1]
    assert [node.trace.text for node in nodes(root)] == ["", "a", "ab", "ab"]
    assert [node.visits for node in nodes(root)] == [4, 3, 2, 1]
    assert root.explored


def test_a_root_with_only_ends_is_explored_after_each_was_seen(lab: Any, table: Any, trees: Any) -> None:
    population, ctx = lab.run(MCTS(50, width=6), ToyLanguage({"^": {"$": 1.0}}), table)
    assert trees[-1].visits == len(population) == 2
    assert trees[-1].explored
    assert ctx.ledger.total.new_tokens == 1 + 6
    assert table.calls == 1


def test_explored_subtrees_are_not_visited_again(lab: Any, trees: Any) -> None:
    """Nothing but four solutions of two letters: 1 + 2 + 4 + 4 prefixes, each visited once for itself."""
    both = {"^": {"a": 0.5, "b": 0.5}, "a": {"c": 0.5, "d": 0.5}, "b": {"c": 0.5, "d": 0.5}}
    lab.run(MCTS(999, width=30), ToyLanguage({**both, "c": {"$": 1.0}, "d": {"$": 1.0}}))
    assert trees[-1].visits == len(nodes(trees[-1])) == 11
    assert all(node.explored for node in nodes(trees[-1]))


def test_unvisited_children_come_first_the_likeliest_before_the_others(lab: Any, trees: Any) -> None:
    language = ToyLanguage({"^": {"a": 0.2, "b": 0.5, "c": 0.3}, "a": {"a": 1.0}, "b": {"a": 1.0}, "c": {"a": 1.0}})
    lab.max_tokens = 9
    lab.run(MCTS(4, width=40, prior="logprob", exploration=0.0), language)
    children = trees[-1].children
    assert [child.trace.text for child in children] == ["b", "c", "a"]
    assert np.allclose([child.prior for child in children], [0.5, 0.3, 0.2])
    assert [child.visits for child in children] == [1, 1, 1]


def test_priors_by_score_are_the_scores(lab: Any, trees: Any, even: Any, scores: Any) -> None:
    lab.run(MCTS(2, width=20, prior="score"), even)
    assert {child.trace.text: child.prior for child in trees[-1].children} == {"a": scores["a"], "b": scores["b"]}


def test_log_probabilities_are_needed_for_the_prior(lab: Any) -> None:
    with pytest.raises(UserError, match="log-probability"):
        lab.run(MCTS(2, prior="logprob"), Scripted(["aa", "bb"]))


def test_bounds_are_those_of_the_papers() -> None:
    means, visits, priors = np.array([0.5, 0.2]), np.array([4.0, 1.0]), np.array([0.25, 0.75])
    assert np.allclose(uct(means, visits, priors, 6, 0.5), means + 0.5 * np.sqrt(np.log(6) / visits))
    assert np.allclose(puct(means, visits, priors, 6, 0.5), means + 0.5 * priors * np.sqrt(6) / (1 + visits))


def test_one_simulation_is_one_sample(lab: Any, table: Any, even: Any) -> None:
    population, _ = lab.run(MCTS(1), even, table)
    assert len(population) == 1
    assert (even.requests, table.calls) == (1, 1)
    assert population.traces[0].finished


def test_a_vote_weighs_by_score_and_a_maximum_picks_the_best(lab: Any, even: Any, scores: Any) -> None:
    vote, _ = lab.run(MCTS(12), even)
    values = np.array([scores[trace.text[-1]] for trace in vote.traces])
    assert np.allclose(np.exp(vote.log_weights), values)
    best, _ = lab.run(MCTS(12, output="max_value"), even)
    assert best.traces == vote.traces
    assert np.flatnonzero(best.log_weights == 0).tolist() == [np.argmax(values)]
    assert np.exp(np.sort(best.log_weights)[-2]) == pytest.approx(1e-9)
    raw, _ = lab.run(MCTS(12, weight=exponential), even)
    assert np.allclose(raw.log_weights, values)


@pytest.mark.parametrize("seed", range(6))
def test_the_most_visited_path_leads_to_the_answer(lab: Any, trees: Any, seed: Any) -> None:
    strategy = MCTS(25, exploration=1.0, output="max_visit")
    population, _ = lab.run(strategy, Scripted(branching), Additive(seed), seed=seed)
    node = trees[-1]
    while node.children:
        node = max(node.children, key=lambda child: (child.visits, child.mean))
    (chosen,) = np.flatnonzero(population.log_weights == 0)
    assert population.traces[chosen] is node.answer


def test_values_of_prefixes_need_no_rollout_and_an_answer_comes_all_the_same(lab: Any, even: Any, table: Any) -> None:
    population, ctx = lab.run(MCTS(2, leaf="value"), even, table)
    assert len(population) == 1
    assert population.traces[0].finished
    assert all(trace.steps for trace in table.seen), "the empty solution is not scored"
    assert [report.population.traces[0].finished for report in ctx.reports] == [False, False, True]
    assert len(ctx.reports[-2].population.traces[0]) == 1


def test_values_of_prefixes_lead_to_good_leaves_too(lab: Any) -> None:
    """Of leaves between about .2 and .8, an answer within .03 of the best after 60 simulations."""
    missing = []
    for seed in range(8):
        verifier = Additive(seed)
        strategy = MCTS(60, leaf="value", exploration=0.1, output="max_value")
        population, _ = lab.run(strategy, Scripted(branching), verifier, seed=seed)
        (chosen,) = np.flatnonzero(population.log_weights == 0)
        best = verifier.numbers.max(axis=1).mean()
        found = np.mean([verifier.numbers[i, LETTERS.index(c)] for i, c in enumerate(population.traces[chosen].text)])
        missing.append(best - found)
    assert np.mean(missing) < 0.03, missing


def test_an_answer_after_the_last_simulation_keeps_the_ceiling(lab: Any) -> None:
    for ceiling in range(1, 30):
        _, ctx = lab.run(MCTS(3, leaf="value"), ToyLanguage(WANDERING), budget=Budget(new_tokens=ceiling))
        assert ctx.ledger.total.new_tokens <= ceiling


def test_solutions_that_never_end_are_not_completed(lab: Any, trees: Any) -> None:
    lab.max_steps, lab.max_tokens = 2, 2
    population, _ = lab.run(MCTS(99, leaf="value"), ToyLanguage({"^": {"a": 1.0}, "a": {"a": 1.0}}))
    assert trees[-1].explored
    assert [trace.closed for trace in population.traces] == [True]


def test_what_is_completed_can_still_go_on(lab: Any) -> None:
    """The better child, "a", is a dead end."""

    def draw(trace: Trace, seed: int) -> Any:
        if trace.steps:
            return "c"
        return Step("a", why="abort") if seed % 2 else Step("b")

    population, _ = lab.run(MCTS(3, width=2, leaf="value"), Scripted(draw))
    assert [(trace.text, trace.finished) for trace in population.traces] == [("a", False), ("bc", True)]


def test_paths_follow_visits_before_means() -> None:
    start = Trace(Problem("p", "ask"))
    children = [mcts.Node(start, visits=v, total=v * mean) for v, mean in [(2, 0.9), (5, 0.2), (5, 0.6), (0, 0.0)]]
    root = mcts.Node(start, children=children, visits=13)
    assert mcts._most_visited(root) == [root, children[2]]
    assert mcts._most_visited(root, lambda child: child.visits < 5) == [root, children[0]]


def test_the_steps_of_a_trace_are_the_runs(lab: Any, trees: Any) -> None:
    lab.step = Until(stop=("\n",))
    lab.run(MCTS(9, width=3), Scripted(["c\na", "c\nb", "d"]))
    assert [node.trace.text for node in nodes(trees[-1])] == ["", "c\n", "d", "c\na", "c\nb"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", 0),
        ("exploration", -0.1),
        ("exploration", float("nan")),
        ("prior", "even"),
        ("leaf", "greedy"),
        ("output", "best"),
    ],
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        MCTS(4, **{key: value})
