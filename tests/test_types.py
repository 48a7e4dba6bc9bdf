"""Values: forking shares, equality is by tokens, weights are normalised, costs add up."""

import copy
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from ponder.types import Cost, Population, Probabilities, Problem, Score, Step, Trace

PROBLEM = Problem("p", "ask")


def step(text, why="stop", **more):
    return Step(text, tuple(map(ord, text)), why=why, **more)


# ---------------------------------------------------------------- traces


def test_forks_share_their_past():
    trunk = Trace(PROBLEM) + step("a") + step("b")
    forks = [trunk + step(letter) for letter in "cd"]
    for fork in forks:
        assert fork.steps[0] is trunk.steps[0]
        assert fork.steps[1] is trunk.steps[1]
        assert fork.problem is PROBLEM
    assert trunk.text == "ab"
    assert [fork.text for fork in forks] == ["abc", "abd"]
    assert [fork.token_ids for fork in forks] == [(97, 98, 99), (97, 98, 100)]


def test_a_trace_cannot_be_changed() -> None:
    trace = Trace(PROBLEM) + step("a")
    for name in ("steps", "problem", "closed"):
        with pytest.raises(FrozenInstanceError):
            setattr(trace, name, None)
    with pytest.raises(FrozenInstanceError):
        trace.steps[0].text = "b"


def test_equal_are_traces_of_the_same_tokens_in_the_same_steps():
    trace = Trace(PROBLEM) + step("a") + step("b")
    twin = (
        Trace(Problem("p", "another prompt, the same id"))
        + step("a", logprobs=(-1.0,))
        + step("b", cost=Cost(new_tokens=9))
    )
    assert trace == twin
    assert hash(trace) == hash(twin)
    assert len({trace, twin}) == 1
    others = [
        Trace(PROBLEM) + step("ab"),
        Trace(PROBLEM) + step("a"),
        Trace(PROBLEM) + step("a") + step("c"),
        Trace(PROBLEM) + step("a") + step("b", why="eos"),
        Trace(Problem("q", "ask")) + step("a") + step("b"),
        Trace(PROBLEM, trace.steps, closed=True),
    ]
    assert all(trace != other for other in others)
    assert len({trace, *others}) == 7
    assert trace != "ab"


def test_tokens_decide_over_text_and_text_where_there_are_no_tokens():
    assert Trace(PROBLEM) + Step("a", (1,)) == Trace(PROBLEM) + Step("b", (1,))
    assert Trace(PROBLEM) + Step("a", (1,)) != Trace(PROBLEM) + Step("a", (2,))
    assert Trace(PROBLEM) + Step("a") == Trace(PROBLEM) + Step("a")
    assert Trace(PROBLEM) + Step("a") != Trace(PROBLEM) + Step("b")


def test_a_step_cut_by_a_limit_equals_one_that_stopped_with_the_same_tokens():
    """What can follow is the same, so one request can serve both."""
    assert Trace(PROBLEM) + step("a", why="length") == Trace(PROBLEM) + step("a")


@pytest.mark.parametrize(
    ("why", "finished", "alive"),
    [("stop", False, True), ("length", False, True), ("eos", True, False), ("abort", False, False)],
)
def test_what_a_last_step_says_of_a_trace(why, finished, alive):
    trace = Trace(PROBLEM) + step("a") + step("b", why=why)
    assert trace.finished is finished
    assert trace.alive is alive
    closed = Trace(PROBLEM, trace.steps, closed=True)
    assert closed.finished is finished
    assert closed.alive is False


def test_only_the_last_step_counts_and_none_is_alive():
    assert Trace(PROBLEM).alive
    assert not Trace(PROBLEM).finished
    assert (Trace(PROBLEM) + step("a", why="eos") + step("b")).alive
    assert len(Trace(PROBLEM)) == 0
    assert Trace(PROBLEM).text == ""


def test_copies_are_equal():
    trace = Trace(PROBLEM) + step("a", why="eos")
    assert hash(trace) != 0
    assert copy.deepcopy(trace) == trace


def test_problems_are_equal_whatever_their_notes():
    assert Problem("p", "ask", {"level": 1}) == Problem("p", "ask", {"level": 2})
    assert hash(Problem("p", "ask", {"level": [1]})) == hash(PROBLEM)
    assert Problem("p", "ask") != Problem("q", "ask")


# ---------------------------------------------------------------- populations


def population(*weights):
    traces = [Trace(PROBLEM) + step(chr(97 + i)) for i in range(len(weights))]
    with np.errstate(divide="ignore"):
        return Population(tuple(traces), np.log(np.array(weights, dtype=float)))


def test_start_is_n_times_the_same_trace():
    start = Population.start(PROBLEM, 3)
    assert len(start) == 3
    assert len(set(map(id, start.traces))) == 1
    assert start.alive
    assert start.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert start.evidence == 0.0


def test_weights_are_normalised_whatever_their_scale():
    for shift in (-2000.0, 0.0, 2000.0):
        shifted = population(1, 3, 4).reweight([shift] * 3)
        assert shifted.weights.tolist() == pytest.approx([0.125, 0.375, 0.5])
        assert shifted.evidence == pytest.approx(shift + np.log(8 / 3))


def test_weights_are_uniform_when_all_are_zero():
    assert population(0, 0).weights.tolist() == [0.5, 0.5]
    assert population(0, 1).weights.tolist() == [0.0, 1.0]
    assert Population.equal([]).weights.tolist() == []


@pytest.mark.parametrize(
    ("weights", "ess"), [((1, 1, 1, 1), 4), ((1, 0, 0, 0), 1), ((5, 5), 2), ((3, 1), 1.6), ((7,), 1)]
)
def test_effective_sample_size(weights, ess):
    assert population(*weights).ess == pytest.approx(ess)


def test_reweighting_multiplies_and_leaves_the_old_one_alone():
    old = population(1, 2)
    new = old.reweight(np.log([3.0, 0.5]))
    assert new.weights.tolist() == pytest.approx([0.75, 0.25])
    assert old.weights.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert new.traces == old.traces


def test_replacing_traces_keeps_weights_and_evidence():
    old = Population(population(1, 3).traces, np.log([1.0, 3.0]), log_evidence=2.5)
    new = old.replace([trace + step("z") for trace in old.traces])
    assert [trace.text for trace in new.traces] == ["az", "bz"]
    assert new.weights.tolist() == pytest.approx([0.25, 0.75])
    assert new.log_evidence == 2.5


def test_resampling_asks_the_scheme_and_moves_the_mean_weight_into_the_evidence():
    asked = []

    def scheme(weights, n, rng):
        asked.append((weights.tolist(), n, rng))
        return np.array([2, 0, 2])

    rng = np.random.default_rng(0)
    old = population(1, 3, 4)
    new = old.resample(scheme, rng)
    assert asked == [([pytest.approx(0.125), pytest.approx(0.375), pytest.approx(0.5)], 3, rng)]
    assert [trace.text for trace in new.traces] == ["c", "a", "c"]
    assert new.traces[0] is old.traces[2]
    assert new.log_weights.tolist() == [0, 0, 0]
    assert new.log_evidence == pytest.approx(np.log(8 / 3))
    assert new.evidence == pytest.approx(old.evidence)
    again = new.reweight(np.log([2.0, 2.0, 2.0])).resample(scheme, rng)
    assert again.evidence == pytest.approx(np.log(8 / 3) + np.log(2))


def test_alive_if_any_trace_is():
    done, open_ = Trace(PROBLEM) + step("a", why="eos"), Trace(PROBLEM)
    assert Population.equal([done, open_]).alive
    assert not Population.equal([done, done]).alive
    assert not Population.equal([]).alive


@pytest.mark.parametrize("weights", [np.zeros(1), np.zeros(3), np.zeros((2, 1)), np.float64(0)])
def test_a_weight_for_each_trace(weights):
    with pytest.raises(ValueError, match="2 traces need as many log weights"):
        Population((Trace(PROBLEM), Trace(PROBLEM)), weights)


# ---------------------------------------------------------------- costs and scores

NUMBERED = Cost(*range(1, len(fields(Cost)) + 1))


def test_costs_add_and_multiply_field_by_field():
    names = [field.name for field in fields(Cost)]
    assert (NUMBERED + NUMBERED * 2).asdict() == {name: 3 * (i + 1) for i, name in enumerate(names)}
    assert NUMBERED * 2 + NUMBERED * -1 == NUMBERED
    assert Cost() == NUMBERED + NUMBERED * -1
    assert sum([NUMBERED, NUMBERED], Cost()) == NUMBERED * 2
    assert Cost() == NUMBERED * 0
    assert set(Cost().asdict().values()) == {0}


def test_a_score_is_a_float_that_knows_more():
    score = Score(0.25, [0.5, 0.25], Cost(verifier_tokens=7))
    assert isinstance(score, float)
    assert score == 0.25
    assert score + 1 == 1.25
    assert sorted([Score(0.9), 0.5, score]) == [0.25, 0.5, 0.9]
    assert np.array([score, Score(1.0)]).tolist() == [0.25, 1.0]
    assert score.steps == (0.5, 0.25)
    assert score.cost == Cost(verifier_tokens=7)
    assert (Score(1.0).steps, Score(1.0).cost) == ((), Cost())


def test_probabilities_are_a_tuple_with_a_cost():
    found = Probabilities([0.25, 0.75], Cost(new_tokens=1))
    assert tuple(found) == (0.25, 0.75)
    assert found.cost == Cost(new_tokens=1)
    assert Probabilities([1.0]).cost == Cost()
