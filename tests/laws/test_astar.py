"""A*-decoding and best-first search against exhaustive search on small trees."""

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy.stats import chisquare

from ponder.errors import UserError, VerifierError
from ponder.ledger import Budget
from ponder.protocols import Until
from ponder.samplers.scripted import Scripted
from ponder.search import select
from ponder.search.astar import AStar, Frontier, Node
from ponder.types import Problem, Step, Trace
from ponder.verifiers.rule import Constant

EXACT = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=8, unique=True)
SEEDS = st.integers(0, 10**6)
COSTS = st.sampled_from(["consistent", "rise", "none"])
WEIGHTS = st.sampled_from([0.0, 0.5, 1.0, 2.0])

State = tuple[str, bool]
"""What has been written, and whether it has ended."""


class Tree:
    """All solutions that some texts make, each prefix with a random score: sixteenths, so that sums are exact."""

    def __init__(self, texts: Any, seed: int) -> None:
        self.texts = texts
        rng = random.Random(seed)
        ends = [(text, True) for text in texts]
        states = sorted({(text[:i], False) for text in texts for i in range(1, len(text) + 1)} | set(ends))
        self.scores = {state: rng.randrange(17) / 16 for state in states}
        self.scored: Counter[State] = Counter()

    async def score(self, traces: Any) -> Any:
        states = [(trace.text, trace.finished) for trace in traces]
        self.scored.update(states)
        return [self.scores[state] for state in states]

    def sampler(self) -> Any:
        """Plays every continuation of a prefix, in turn."""
        return Scripted(self.texts)

    def children(self, state: State) -> list[State]:
        """In the order in which the sampler plays them."""
        rests = [text[len(state[0]) :] for text in self.texts if text.startswith(state[0])]
        return list(dict.fromkeys((state[0] + rest[:1], not rest) for rest in rests))


def f_of(tree: Tree, state: State, edge_cost: str, weight: float) -> float:
    """f of a state, from its way."""
    text, ended = state
    way = [1 - tree.scores[text[:i], False] for i in range(1, len(text) + 1)] + (
        [1 - tree.scores[state]] if ended else []
    )
    steps = list(itertools.pairwise([0.0, *way]))
    g = {
        "consistent": sum(max(0.0, before - after) for before, after in steps),
        "rise": sum(max(0.0, after - before) for before, after in steps),
        "none": 0.0,
    }[edge_cost]
    return g + weight * way[-1]


def textbook(tree: Tree, edge_cost: str, weight: float) -> tuple[list[State], list[State]]:
    """States as best-first search expands them, and all goals as it pops them; a list in place of the heap."""
    waiting: list[tuple[float, int, int, State]] = [(0.0, 0, 0, ("", False))]
    order, expanded, goals = itertools.count(1), list[State](), list[State]()
    while waiting:
        entry = min(waiting)
        waiting.remove(entry)
        state = entry[-1]
        if state[1]:
            goals.append(state)
            continue
        expanded.append(state)
        for child in tree.children(state):
            depth = len(child[0]) + child[1]
            waiting.append((f_of(tree, child, edge_cost, weight), -depth, next(order), child))
    return expanded, goals


def watch(sampler: Any) -> list[State]:
    """The states that a sampler continues, in order, from now on."""
    asked: list[State] = []
    play = sampler.sample

    async def sample(trace: Trace, n: int, until: Until, *, seed: int) -> Any:
        asked.append((trace.text, trace.finished))
        return await play(trace, n, until, seed=seed)

    sampler.sample = sample
    return asked


def found(population: Any) -> list[State]:
    return [(trace.text, trace.finished) for trace in population.traces]


@EXACT
@given(TEXTS, SEEDS)
def test_the_first_solution_has_the_least_f_of_all_and_nothing_above_it_is_expanded(
    lab: Any, texts: Any, seed: int
) -> None:
    tree = Tree(texts, seed)
    sampler = tree.sampler()
    expanded = watch(sampler)
    population, _ = lab.run(AStar(len(texts)), sampler, tree)
    f = {(text, True): f_of(tree, (text, True), "consistent", 1.0) for text in texts}
    (goal,) = found(population)
    assert f[goal] == min(f.values())
    assert all(f_of(tree, state, "consistent", 1.0) <= f[goal] for state in expanded if state[0])
    # Everything below the optimum had to be expanded.
    below = [s for s in tree.scores if not s[1] and f_of(tree, s, "consistent", 1.0) < f[goal]]
    assert set(below) <= set(expanded)


@EXACT
@given(TEXTS, SEEDS, COSTS, WEIGHTS)
def test_it_expands_what_the_textbook_expands_in_the_same_order(
    lab: Any, texts: Any, seed: int, edge_cost: Any, weight: float
) -> None:
    """Ties, which sixteenths make common, break by depth and then insertion."""
    tree = Tree(texts, seed)
    sampler = tree.sampler()
    asked = watch(sampler)
    population, _ = lab.run(AStar(len(texts), edge_cost=edge_cost, weight=weight, goals=None), sampler, tree)
    expanded, goals = textbook(tree, edge_cost, weight)
    assert asked == expanded
    assert found(population) == goals
    assert set(tree.scored.values()) == {1}
    assert set(tree.scored) == set(tree.scores)


@EXACT
@given(TEXTS, SEEDS, st.integers(2, 4), st.sampled_from([0.0, 0.5, 1.0]))
def test_wider_rounds_find_a_solution_as_good(lab: Any, texts: Any, seed: int, width: int, weight: float) -> None:
    """Up to weight 1; and goals come in the order of f."""
    tree = Tree(texts, seed)
    strategy = AStar(width * len(texts), width=width, weight=weight)
    population, _ = lab.run(strategy, tree.sampler(), tree)
    f = {(text, True): f_of(tree, (text, True), "consistent", weight) for text in texts}
    assert f[found(population)[0]] == min(f.values())
    strategy = AStar(width * len(texts), width=width, weight=weight, goals=None)
    population, _ = lab.run(strategy, tree.sampler(), tree)
    assert [f[goal] for goal in found(population)] == sorted(f.values())


def test_consistent_costs_spare_expansions(lab: Any) -> None:
    """All texts of three letters out of three: 40 prefixes, the whole texts included."""
    texts = ["".join(letters) for letters in itertools.product("abc", repeat=3)]
    for seed in range(5):
        expansions = []
        for goals in (None, 1):
            sampler = Tree(texts, seed).sampler()
            lab.run(AStar(len(texts), goals=goals), sampler, Tree(texts, seed))
            expansions.append(sampler.requests)
        assert expansions[0] == 40
        assert 4 <= expansions[1] < 30


def scored(**scores: float) -> Any:
    """A verifier that knows each text; an end counts as its text, unless it is named with a trailing underscore."""

    class Scored:
        async def score(self, traces: Any) -> Any:
            return [
                scores.get(trace.text + "_", scores[trace.text]) if trace.finished else scores[trace.text]
                for trace in traces
            ]

    return Scored()


@pytest.mark.parametrize(
    ("edge_cost", "weight", "kept"),
    [
        ("consistent", 1.0, True),  # 1/8, then 3/8 for "a" and its end; 1/2, then 1/2 for "b" and its end
        ("rise", 1.0, False),  # 1/4, 3/4; 1, 9/16
        ("none", 1.0, False),  # 1/8, 3/8; 1/2, 1/16
        ("consistent", 3.0, False),  # 3/8, 9/8; 3/2, 5/8
    ],
)
def test_only_consistent_costs_up_to_weight_1_keep_the_promise(
    lab: Any, edge_cost: Any, weight: float, kept: bool
) -> None:
    """All settle for the end of "a" before they look behind "b"; that is right only if f never falls."""
    tree = Tree(["a", "b"], 0)
    tree.scores = {("a", False): 7 / 8, ("a", True): 5 / 8, ("b", False): 1 / 2, ("b", True): 15 / 16}
    population, _ = lab.run(AStar(2, edge_cost=edge_cost, weight=weight), tree.sampler(), tree)
    assert found(population) == [("a", True)]
    least = min(f_of(tree, (text, True), edge_cost, weight) for text in "ab")
    assert (f_of(tree, ("a", True), edge_cost, weight) == least) is kept


def test_equal_children_are_one_node_and_were_paid_for(lab: Any, table: Any) -> None:
    sampler = Scripted(["ab"])
    population, ctx = lab.run(AStar(5), sampler, table)
    assert [trace.text for trace in population.traces] == ["ab"]
    assert sampler.requests == 3
    assert ctx.ledger.total.new_tokens == sampler.new_tokens == 3 * 5
    assert ctx.ledger.total.verifier_calls == table.calls == 3


def test_a_round_expands_the_best_prefixes_together(lab: Any) -> None:
    """Four candidates a round: from one prefix at first, then two from each of two."""
    sampler = Scripted(["aaa", "bbb"])
    asked = watch(sampler)
    _, ctx = lab.run(AStar(4, width=2, goals=None, max_expansions=3), sampler, Constant(0.5))
    assert [state[0] for state in asked] == ["", "a", "b"]
    assert [sum(cost.new_tokens for cost in report.cost.values()) for report in ctx.reports] == [2, 6]


@pytest.mark.parametrize("edge_cost", ["consistent", "none"])
def test_a_constant_verifier_is_plain_sampling(lab: Any, uneven: Any, edge_cost: Any) -> None:
    """Every child ties, the first of the deepest goes on."""
    runs, exact = 120, dict(uneven.enumerate())
    done = lab.many(AStar(3, edge_cost=edge_cost), uneven, Constant(0.25), range(runs))
    seen = Counter(trace.text for population, _ in done for trace in population.traces)
    assert seen.total() == runs
    assert chisquare([seen[t] for t in exact], [runs * p for p in exact.values()]).pvalue > 1e-3


@pytest.mark.parametrize("most", [1, 2, 7])
def test_expansions_are_bounded_and_the_best_so_far_is_returned(lab: Any, most: int) -> None:
    """No solution ends within seven expansions: the best prefixes are what there is."""
    sampler = Scripted(["ab" * 20, "ba" * 20, "bb" * 20])
    verifier = scored(**{"".join(t): 0.5 + 0.01 * len(t) for k in range(9) for t in itertools.product("ab", repeat=k)})
    population, _ = lab.run(AStar(3, max_expansions=most), sampler, verifier)
    assert sampler.requests == most
    assert max(len(trace) for trace in population.traces) == most == len(population.traces[0])
    assert not any(trace.finished for trace in population.traces)


def test_before_the_first_goal_the_best_finished_solution_is_reported(lab: Any) -> None:
    """Two ends are known after a round of six tokens; "y" promises more until the budget ends, after 6 + 4 + 4."""

    def script(trace: Trace, seed: int) -> Step:
        if not trace.steps:
            return [Step("w", why="eos"), Step("x", why="eos"), Step("y"), Step("z")][seed % 4]
        return Step("y")

    verifier = scored(w=0.2, x=0.4, y=0.9, z=0.1, yy=0.9, yyy=0.9)
    population, ctx = lab.run(AStar(4), Scripted(script), verifier, budget=Budget(new_tokens=15))
    assert [report.population.traces[0].text for report in ctx.reports] == ["x", "x", "x"]
    assert found(population) == [("x", True)]


def test_solutions_cut_by_a_limit_are_dead_ends(lab: Any) -> None:
    def script(trace: Trace, seed: int) -> Step:
        if not trace.steps:
            return [Step("long"), Step("x")][seed % 2]
        return Step("y", why="eos")

    lab.max_tokens = 4
    verifier = scored(long=1.0, x=0.2, xy=0.2)
    assert found(lab.run(AStar(2), Scripted(script), verifier)[0]) == [("xy", True)]
    assert found(lab.run(AStar(2), Scripted(lambda *_: Step("long")), verifier)[0]) == [("long", False)]


def test_goals_vote_by_score_and_one_goal_is_the_answer_of_argmax(lab: Any) -> None:
    sampler, verifier = Scripted(["a", "b", "c"]), scored(a=0.9, b=0.6, b_=0.3, c=0.75)
    rng = np.random.default_rng(0)
    population, _ = lab.run(AStar(3), sampler, verifier)
    assert select.argmax(population, lambda t: t.text, rng) == "a"
    population, _ = lab.run(AStar(3, goals=2), sampler, verifier)
    assert [trace.text for trace in population.traces] == ["a", "c"]
    population, _ = lab.run(AStar(3, goals=None), sampler, verifier)
    assert population.weights == pytest.approx(np.array([0.9, 0.75, 0.3]) / 1.95)
    assert select.weighted_vote(population, lambda t: "d" if t.text in "bc" else t.text, rng) == "d"


def test_the_frontier_breaks_ties_by_depth_and_then_insertion() -> None:
    problem = Problem("p", "ask")

    def node(text: str, f: float, why: Any = "stop") -> Node:
        trace = Trace(problem, tuple(Step(c, why=why if c == text[-1] else "stop") for c in text))
        return Node(trace, r=0.5, g=0.0, f=f)

    frontier = Frontier(Node(Trace(problem), 1.0, 0.0, 0.0))
    assert [waiting.depth for waiting in frontier.pop_prefixes(3)] == [0]
    frontier.push([node("a", 0.5), node("bc", 0.5), node("de", 0.5), node("f", 0.25), node("xg", 0.5, "eos")])
    assert [waiting.trace.text for waiting in frontier.best(9, finished=False)] == ["f", "bc", "de", "a"]
    assert [waiting.trace.text for waiting in frontier.best(1, finished=True)] == ["xg"]
    assert frontier.pop_goals(9) == []
    assert [waiting.trace.text for waiting in frontier.pop_prefixes(9)] == ["f", "bc", "de"]
    assert frontier.pop_prefixes(9) == []
    assert [waiting.trace.text for waiting in frontier.pop_goals(9)] == ["xg"]
    assert [waiting.trace.text for waiting in frontier.pop_prefixes(9)] == ["a"]


@pytest.mark.parametrize("value", [1.5, -0.25])
def test_scores_outside_0_and_1_are_the_verifiers_mistake(lab: Any, even: Any, value: float) -> None:
    with pytest.raises(VerifierError, match=rf"{value:g}, outside \[0, 1\]"):
        lab.run(AStar(2), even, Constant(value))
    lab.run(AStar(2), even, Constant(1.0 + 1e-7))


def test_best_first_is_a_star_without_costs() -> None:
    node = OmegaConf.load(Path(__file__).parents[2] / "conf" / "search" / "best_first.yaml")
    assert instantiate(OmegaConf.create({"budget": {"n": 4}, "search": node}).search) == AStar(4, edge_cost="none")


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"n": 6, "width": 4}, "width=4 does not divide"),
        ({"n": 4, "width": 0}, "width=0"),
        ({"n": 4, "edge_cost": "fall"}, "edge_cost='fall'"),
        ({"n": 4, "weight": -0.5}, "weight=-0.5"),
        ({"n": 4, "weight": float("nan")}, "weight=nan"),
        ({"n": 4, "weight": float("inf")}, "weight=inf"),
        ({"n": 4, "goals": 0}, "goals=0"),
        ({"n": 4, "goals": 1.5}, "goals=1.5"),
        ({"n": 4, "max_expansions": 0}, "max_expansions=0"),
    ],
)
def test_arguments_out_of_range_are_named_before_any_call(arguments: Any, key: str) -> None:
    with pytest.raises(UserError, match=f"search.{key}") as caught:
        AStar(**arguments)
    assert "allowed" in caught.value.hint
