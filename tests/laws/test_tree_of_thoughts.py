"""Tree of Thoughts: recorded searches played again, and searches that can be followed by hand."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError, VerifierError
from ponder.ledger import Budget
from ponder.samplers.scripted import Scripted
from ponder.search import tree_of_thoughts as tot
from ponder.search.tree_of_thoughts import BreadthFirst, DepthFirst
from ponder.search.weights import exponential
from ponder.types import Problem, Step, Trace

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "game24_gpt4_tot_bfs.jsonl"


@pytest.fixture(scope="module")
def recorded() -> Any:
    """50 searches of the paper's code with GPT-4, four rounds each."""
    if not RECORDED.exists():
        pytest.skip("shared/data/game24_gpt4_tot_bfs.jsonl is not beside the repository")
    return [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]


class Played:
    """Proposes and evaluates what was recorded, and notes the states it was asked about."""

    def __init__(self, rounds: Any) -> None:
        self.rounds, self.asked = rounds, list[list[str]]()

    async def propose(self, ctx: Any, states: Any, width: Any) -> Any:
        self.asked.append([state.text for state in states])
        after = self.rounds[len(self.asked) - 1]["new_ys"]
        children = [s + Step(y[len(s.text) :]) for s in states for y in after if y.startswith(s.text)]
        assert [child.text for child in children] == after
        return children

    async def evaluate(self, ctx: Any, states: Any, votes: Any) -> Any:
        """A repeated text was recorded with value 0; the strategy asks about each state once."""
        now = self.rounds[len(self.asked) - 1]
        first = dict(zip(reversed(now["new_ys"]), reversed(now["values"]), strict=True))
        return [first[state.text] for state in states]


def test_all_recorded_selections_are_made_again(lab: Any, recorded: Any) -> None:
    selections = 0
    for row in recorded:
        played = Played(row["steps"])
        strategy = BreadthFirst(5, depth=4, propose=played.propose, evaluate=played.evaluate)
        population, _ = lab.run(strategy, problem=Problem(str(row["problem_id"]), row["question"]))
        made = [*played.asked[1:], [trace.text for trace in population.traces]]
        assert made == [step["select_new_ys"] for step in row["steps"]]
        assert made[-1] == [one["text"] for one in row["final"]]
        selections += len(made)
    assert (len(recorded), selections) == (50, 200)


def test_recorded_values_are_sums_of_three_verdicts(recorded: Any) -> None:
    counts = [tot.verdict(word) for word in ("sure", "likely", "impossible", "unclear")]
    sums = {round(sum(three), 6) for three in itertools.product(counts, repeat=3)}
    assert {round(value, 6) for row in recorded for step in row["steps"] for value in step["values"]} <= sums


class Digits:
    """The last digit of a trace, a tenth of it; the empty trace is never asked about."""

    async def score(self, traces: Any) -> Any:
        return [int(trace.text[-1]) / 10 for trace in traces]


async def in_order(ctx: Any, states: Any, width: Any) -> Any:
    """Children 1 to `width`; three steps end a solution."""
    return [
        state + Step(str(i), why="eos" if len(state) == 2 else "stop") for state in states for i in range(1, width + 1)
    ]


async def by_last(ctx: Any, states: Any, votes: Any) -> Any:
    return [float(state.text[-1]) for state in states]


async def all_alike(ctx: Any, states: Any, votes: Any) -> Any:
    return np.ones(len(states))


def texts(population: Any) -> Any:
    return [trace.text for trace in population.traces]


def test_breadth_first_keeps_the_best_of_each_round(lab: Any) -> None:
    population, ctx = lab.run(BreadthFirst(2, width=3, propose=in_order, evaluate=by_last))
    assert [texts(report.population) for report in ctx.reports[1:]] == [["3", "2"], ["33", "23"], ["333", "233"]]
    assert all(trace.finished for trace in population.traces)
    assert np.allclose(np.exp(population.log_weights), [3, 3])


def test_equal_values_are_kept_in_the_order_of_generation(lab: Any) -> None:
    _, ctx = lab.run(BreadthFirst(4, width=3, propose=in_order, evaluate=all_alike))
    assert texts(ctx.reports[2].population) == ["11", "12", "13", "21"]


def test_ended_states_leave_the_frontier_and_stay_in_the_result(lab: Any) -> None:
    async def propose(ctx: Any, states: Any, width: Any) -> Any:
        assert all(state.alive for state in states)
        return [state + one for state in states for one in (Step("9", why="eos"), Step("1"), Step("5", why="eos"))]

    population, _ = lab.run(BreadthFirst(2, depth=3, propose=propose, evaluate=by_last))
    assert texts(population) == ["9", "5"], "both states of round 1 ended, so there is no round 2"
    population, _ = lab.run(BreadthFirst(3, depth=2, propose=propose, evaluate=by_last))
    assert texts(population) == ["9", "5", "19", "15", "11"]
    assert np.allclose(np.exp(population.log_weights), [9, 5, 9, 5, 1])


def test_equal_thoughts_are_one(lab: Any, table: Any) -> None:
    population, _ = lab.run(BreadthFirst(3, width=4), Scripted(["aaa", "aaa"]), table)
    assert texts(population) == ["aaa"]
    assert max(table.seen.values()) == 1


def test_sampled_and_scored_follow_the_sampler_and_the_verifier(lab: Any) -> None:
    sampler = Scripted(["12", "35", "30", "24"])
    population, _ = lab.run(BreadthFirst(1, width=4, depth=2), sampler, Digits())
    assert texts(population) == ["35"]


def test_selection_by_chance_is_proportional_to_value(lab: Any) -> None:
    runs = 600
    strategy = BreadthFirst(1, width=3, depth=1, propose=in_order, evaluate=by_last, selection="sample")
    found = [texts(population)[0] for population, _ in lab.many(strategy, seeds=range(runs))]
    expected = {str(i): runs * i / 6 for i in (1, 2, 3)}
    assert sum((found.count(t) - e) ** 2 / e for t, e in expected.items()) < 13.8  # p > 1e-3, 2 degrees of freedom


def test_states_drawn_twice_count_once(lab: Any) -> None:
    strategy = BreadthFirst(50, width=3, depth=1, propose=in_order, evaluate=by_last, selection="sample")
    population, _ = lab.run(strategy)
    assert sorted(texts(population)) == ["1", "2", "3"]


def test_depth_first_visits_the_best_child_first_and_turns_back(lab: Any) -> None:
    population, ctx = lab.run(DepthFirst(4, width=2, propose=in_order, evaluate=by_last))
    assert texts(population) == ["222", "221", "212", "211"]
    assert np.allclose(np.exp(population.log_weights), [2, 1, 2, 1])
    assert [texts(report.population) for report in ctx.reports[:4]] == [[""], ["2"], ["22"], ["222"]]


def test_depth_first_takes_equal_values_in_the_order_of_generation(lab: Any) -> None:
    population, _ = lab.run(DepthFirst(5, width=2, propose=in_order, evaluate=all_alike))
    assert texts(population) == ["111", "112", "121", "122", "211"]


def test_depth_first_never_visits_what_is_not_above_the_threshold(lab: Any) -> None:
    population, _ = lab.run(DepthFirst(99, width=3, threshold=1.0, propose=in_order, evaluate=by_last))
    assert texts(population) == ["".join(t) for t in itertools.product("32", repeat=3)]
    population, _ = lab.run(DepthFirst(9, width=3, threshold=3.0, propose=in_order, evaluate=by_last))
    assert texts(population) == [""], "all is pruned: the deepest state visited"


def test_depth_first_stops_after_so_many_visits(lab: Any) -> None:
    """Root, 2, 22, 222: four visits to the first solution, one more to the second."""
    for visits, found in [(1, [""]), (3, ["22"]), (4, ["222"]), (5, ["222", "221"])]:
        strategy = DepthFirst(9, width=2, max_visits=visits, propose=in_order, evaluate=by_last)
        assert texts(lab.run(strategy)[0]) == found


def test_breadth_and_depth_first_agree_when_they_see_everything(lab: Any) -> None:
    wide, _ = lab.run(BreadthFirst(27, width=3, propose=in_order, evaluate=by_last))
    deep, _ = lab.run(DepthFirst(27, width=3, propose=in_order, evaluate=by_last))
    assert set(wide.traces) == set(deep.traces)
    assert len(wide) == len(deep) == 27


def replying(proposals: str, judgements: Any) -> Any:
    """A model that proposes these lines and judges a trace by its last character."""

    def reply(trace: Trace, seed: int) -> Any:
        if "Suggest" in trace.problem.prompt:
            return proposals
        steps = trace.problem.prompt.split("Steps so far:\n")[1].split("\n\nCan ")[0]
        return judgements[steps.strip()[-1]][seed % 3]

    return Scripted(reply)


def test_proposed_turns_each_line_into_a_step_and_valued_sums_the_verdicts(lab: Any) -> None:
    judgements = {
        "a": ["Fine.\nsure", "No doubt.\nSure.", "Hm.\nlikely"],
        "b": ["impossible", "likely", "It is likely\nimpossible"],
        "c": ["no idea", "", "sure, or likely, or nothing at all"],
    }
    model = replying("1. take a\n\n- take b\ntake c END\nEND\n", judgements)
    strategy = BreadthFirst(3, depth=1, propose=tot.proposed, evaluate=tot.valued)
    population, ctx = lab.run(strategy, model)
    assert texts(population) == ["take c\n\n", "take a\n\n", "take b\n\n"], "ended states stand first"
    assert [trace.finished for trace in population.traces] == [True, False, False]
    assert np.allclose(np.exp(population.log_weights), [1e-7, 41, 1.002])
    assert ctx.ledger.total.new_tokens == model.new_tokens
    assert ctx.ledger.total.verifier_calls == 0


def test_proposals_end_at_the_width_and_at_the_step_limit(lab: Any) -> None:
    lab.max_steps = 2
    model = replying("a\nb\nc", {key: ["likely"] * 3 for key in "abc"})
    population, _ = lab.run(BreadthFirst(9, width=2, propose=tot.proposed, evaluate=tot.valued), model)
    assert len(population) == 4
    assert all(trace.closed and len(trace) == 2 for trace in population.traces)


def test_a_search_ends_where_nothing_is_proposed(lab: Any) -> None:
    async def short(ctx: Any, states: Any, width: Any) -> Any:
        return [state + Step(c) for state in states for c in "12" if len(state) < 2]

    wide, ctx = lab.run(BreadthFirst(3, propose=short, evaluate=by_last))
    assert texts(wide) == ["22", "12", "21"]
    assert texts(ctx.reports[-1].population) == texts(wide)
    deep, _ = lab.run(DepthFirst(3, propose=short, evaluate=by_last))
    assert texts(deep) == ["22"]
    silent = replying("\n1.\nEND", {})
    assert texts(lab.run(BreadthFirst(2, propose=tot.proposed), silent)[0]) == [""]


def test_asking_keeps_its_ceiling(lab: Any) -> None:
    for ceiling in (1, 9, 17, 40, 100):
        model = replying("a\nb\nc END", {key: ["likely", "sure", "impossible"] for key in "abc"})
        strategy = BreadthFirst(4, propose=tot.proposed, evaluate=tot.valued)
        _, ctx = lab.run(strategy, model, budget=Budget(new_tokens=ceiling))
        assert ctx.ledger.total.new_tokens == model.new_tokens <= ceiling


@pytest.mark.parametrize(
    ("reply", "counts"),
    [("sure", 20.0), ("so it is **likely**.", 1.0), ("sure\nimpossible", 0.001), ("Sure thing", 0.0), ("", 0.0)],
)
def test_the_last_word_of_the_last_line_is_the_verdict(reply: Any, counts: Any) -> None:
    assert tot.verdict(reply) == counts


def test_negative_values_need_another_weight(lab: Any) -> None:
    async def negative(ctx: Any, states: Any, votes: Any) -> Any:
        return [-1.0] * len(states)

    with pytest.raises(VerifierError, match=r"weights\.exponential"):
        lab.run(BreadthFirst(2, propose=in_order, evaluate=negative))
    population, _ = lab.run(BreadthFirst(2, propose=in_order, evaluate=negative, weight=exponential))
    assert np.allclose(population.log_weights, -1)


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (BreadthFirst, "width", 0),
        (BreadthFirst, "votes", 0),
        (BreadthFirst, "depth", 0),
        (BreadthFirst, "selection", "best"),
        (DepthFirst, "width", 1.5),
        (DepthFirst, "votes", -1),
        (DepthFirst, "threshold", float("nan")),
        (DepthFirst, "max_visits", 0),
    ],
)
def test_values_out_of_range_are_named(make: Any, key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        make(4, **{key: value})
