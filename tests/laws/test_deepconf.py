"""DeepConf, offline and online, on a language with a confident and an unsure branch."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.deepconf import DeepConf, DeepConfOnline, bottom_groups, groups, lowest_group, mean, tail
from ponder.search.uncertainty import confidences
from ponder.types import Problem, Step, Trace
from ponder.verifiers.rule import Constant

MEASURES = [bottom_groups, lowest_group, mean, tail]
SURE, UNSURE = {"p": 0.97, "q": 0.03}, {"p": 0.5, "q": 0.5}


def row(first: str, second: str, chances: dict[str, float]) -> dict[str, float]:
    return {first: chances["p"], second: chances["q"]}


BRANCHES = {
    "^": {"a": 0.5, "b": 0.5},
    "a": row("c", "d", SURE),
    "c": row("e", "f", SURE),
    "d": row("e", "f", SURE),
    "e": row("$", "g", SURE),
    "f": row("$", "g", SURE),
    "g": row("$", "g", SURE),
    "b": row("i", "j", UNSURE),
    "i": row("k", "l", UNSURE),
    "j": row("k", "l", UNSURE),
    "k": row("$", "m", UNSURE),
    "l": row("$", "m", UNSURE),
    "m": row("$", "m", UNSURE),
}
"""With groups of two, the lowest group of "a..." is (.69 + 1.77) / 2 = 1.23, and that of "b..." is .69."""
LOWEST = {"a": (-np.log(0.5) - np.log(0.97 * 0.03) / 2) / 2, "b": -np.log(0.5)}
TOKENS = {"a": 3 + 1 / 0.97, "b": 3 + 1 / 0.5}


def nobody(trace: Any) -> None:
    """No trace has an answer, so that votes never agree."""
    return


def run(lab: Any, strategy: Any, seed: int) -> Any:
    (ctx,) = lab.contexts(ToyLanguage(BRANCHES), Constant(), [seed])
    ctx.answer = nobody
    return asyncio.run(strategy(Problem("p", "ask"), ctx)), ctx


def test_measures_by_hand() -> None:
    confidence = np.array([1.0, 2.0, 3.0, 6.0])
    assert groups(confidence, 2) == pytest.approx([1.5, 2.5, 4.5])
    assert [measure(confidence, 2) for measure in (mean, tail, lowest_group, bottom_groups)] == [3.0, 4.5, 1.5, 1.5]
    assert bottom_groups(np.arange(39, -1, -1, dtype=np.float64), 1) == 1.5  # the lowest four: 0, 1, 2, 3
    assert groups(np.zeros(0), 2).tolist() == [0.0]


@settings(max_examples=50, deadline=None)
@given(
    confidence=st.lists(st.floats(0, 30), min_size=1, max_size=60).map(np.array),
    group=st.integers(1, 80),
    shift=st.floats(0, 5),
)
def test_measures_are_means_of_windows(confidence: Any, group: int, shift: float) -> None:
    windows = [confidence[i : i + group].mean() for i in range(max(1, len(confidence) - group + 1))]
    assert groups(confidence, group) == pytest.approx(windows, abs=1e-9)
    assert lowest_group(confidence, group) == pytest.approx(min(windows), abs=1e-9)
    assert min(windows) - 1e-9 <= bottom_groups(confidence, group) <= max(windows) + 1e-9
    for measure in MEASURES:
        assert measure(confidence + shift, group) == pytest.approx(measure(confidence, group) + shift, abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_to_keep_all_is_the_confidence_weighted_vote(lab: Any, measure: Any) -> None:
    population, _ = lab.run(DeepConf(12, keep=1.0, measure=measure, group=2), ToyLanguage(BRANCHES))
    assert len(population) == 12
    assert np.exp(population.log_weights) == pytest.approx([measure(confidences(t), 2) for t in population.traces])


@pytest.mark.parametrize(("keep", "left"), [(0.05, 1), (0.1, 1), (0.25, 3), (0.9, 11)])
def test_the_most_confident_share_is_kept_in_the_order_drawn(lab: Any, keep: Any, left: Any) -> None:
    language = ToyLanguage(BRANCHES)
    for seed in range(5):
        everyone, _ = lab.run(DeepConf(12, keep=1.0, measure=mean), language, seed=seed)
        kept, _ = lab.run(DeepConf(12, keep=keep, measure=mean), language, seed=seed)
        order = np.argsort(-everyone.log_weights, kind="stable")[:left]
        assert kept.traces == tuple(everyone.traces[i] for i in sorted(order))


def test_solutions_cut_by_the_limit_never_push_finished_ones_out(lab: Any) -> None:
    """The repeating branch is the more confident one, and never ends."""
    lab.max_tokens = 6
    repeating = {"^": {"a": 0.5, "b": 0.5}, "a": {"a": 0.999, "c": 0.001}, "c": {"a": 0.999, "c": 0.001}}
    language = ToyLanguage(repeating | {"b": {"$": 0.5, "b": 0.5}})
    for seed in range(10):
        everyone, _ = lab.run(DeepConf(12, keep=1.0), language, seed=seed)
        best = max(everyone.traces, key=lambda t: float(mean(confidences(t), 0)))
        assert not best.finished
        kept, _ = lab.run(DeepConf(12, keep=0.1), language, seed=seed)
        assert all(trace.finished for trace in kept.traces)


def bar_at_sure(ctx: Any) -> bool:
    """Whether at least two of eight warm-up solutions were sure, so that the .9 quantile is theirs."""
    return len(ctx.reports[0].population) >= 2


def test_online_keeps_all_above_the_bar_and_aborts_the_others_at_a_full_group(lab: Any) -> None:
    """Half of the further solutions are above it; each of the others costs the two tokens of a group, not five."""
    kept, tokens, further = [], [], 16
    for seed in range(30):
        population, ctx = run(lab, DeepConfOnline(8 + further, keep=0.1, warm_up=8, group=2, concurrent=16), seed)
        if bar_at_sure(ctx):
            assert {t.text[0] for t in population.traces} == {"a"}
            assert np.exp(population.log_weights) == pytest.approx([LOWEST["a"]] * len(population))
            kept.append(len(population) - len(ctx.reports[0].population))
            spent = [sum(cost.new_tokens for cost in report.cost.values()) for report in ctx.reports]
            tokens.append((spent[-1] - spent[0]) / further)
    assert len(kept) > 20
    assert abs(np.mean(kept) - further / 2) < 4 * np.sqrt(further * 0.25 / len(kept)), np.mean(kept)
    exact = (TOKENS["a"] + 2) / 2
    assert exact < (TOKENS["a"] + TOKENS["b"]) / 2  # what offline takes
    assert abs(np.mean(tokens) - exact) < 4 * np.std(tokens) / np.sqrt(len(tokens)), (np.mean(tokens), exact)


def test_online_aborts_nothing_before_a_group_is_full(lab: Any) -> None:
    """Longer groups than solutions: the shorter of both decides who votes, but all are grown to their ends."""
    _, ctx = run(lab, DeepConfOnline(200, keep=0.1, warm_up=8, group=2048, concurrent=192), 1)
    spent = [sum(cost.new_tokens for cost in report.cost.values()) for report in ctx.reports]
    exact = (TOKENS["a"] + TOKENS["b"]) / 2
    assert abs((spent[-1] - spent[0]) / 192 - exact) < 4 * 1.2 / np.sqrt(192)


def told(steps: list[list[float]]) -> Trace:
    """A trace whose tokens have these confidences, step by step."""
    return Trace(
        Problem("p", "ask"), tuple(Step("x", (120,) * len(s), top_logprobs=tuple((-c,) for c in s)) for s in steps)
    )


STEPS = st.lists(st.lists(st.floats(0, 5), min_size=1, max_size=6), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, group=st.integers(1, 8), bar=st.floats(0, 5))
def test_to_look_at_the_last_step_is_to_look_at_all_groups(steps: Any, group: int, bar: float) -> None:
    """A trace is aborted at the end of the first step in which a full group lies below the bar, wherever steps end."""
    strategy = DeepConfOnline(4, group=group)
    for i in range(1, len(steps) + 1):
        trace = told(steps[:i])
        known = confidences(trace)
        full = [known[j : j + group].mean() for j in range(len(known) - group + 1)]
        assume(all(abs(one - bar) > 1e-6 for one in full))
        assert strategy._fell(trace, bar) == any(one < bar for one in full)
        if strategy._fell(trace, bar):
            break


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, group=st.integers(1, 8))
def test_a_solution_that_sets_the_bar_never_falls_below_it(steps: Any, group: int) -> None:
    """Whatever the rounding of its sums."""
    strategy = DeepConfOnline(4, keep=1.0, group=group)
    trace = told(steps)
    bar = strategy._bar([replace(trace, steps=(*trace.steps[:-1], replace(trace.steps[-1], why="eos")))])
    assert not any(strategy._fell(told(steps[:i]), bar) for i in range(1, len(steps) + 1))
    assert len(strategy._voters([trace], bar)) == 1


def test_online_ends_when_the_votes_agree(lab: Any) -> None:
    same = ToyLanguage({"^": {"a": 0.9, "b": 0.1}, "a": {"$": 0.9, "b": 0.1}, "b": {"$": 0.9, "a": 0.1}})
    strategy = DeepConfOnline(64, keep=1.0, warm_up=4, group=2, concurrent=5, consensus=0.6)
    sizes = set()
    for seed in range(20):
        _, ctx = lab.run(strategy, same, seed=seed)
        for i, report in enumerate(ctx.reports):
            population = report.population
            votes = [population.weights[[t.text == text for t in population.traces]].sum() for text in ("a", "b")]
            assert (max(votes) >= 0.6 or i == 12) == (i == len(ctx.reports) - 1)
        sizes.add(len(ctx.reports))
    assert len(sizes) > 2
    assert {0, 1, 2} & {size - 1 for size in sizes}


def test_of_fewer_than_the_warm_up_all_are_whole(lab: Any) -> None:
    population, ctx = lab.run(DeepConfOnline(3, keep=1.0, group=2), ToyLanguage(BRANCHES))
    assert len(population) == 3
    assert len(ctx.reports) == 1


@pytest.mark.parametrize("strategy", [DeepConf(2), DeepConfOnline(2)])
def test_a_sampler_that_tells_no_likeliest_tokens_is_a_mistake(lab: Any, strategy: Any) -> None:
    with pytest.raises(UserError, match="likeliest"):
        lab.run(strategy, Scripted(["a"]))


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (DeepConf, "keep", 0.0),
        (DeepConf, "keep", 1.5),
        (DeepConf, "group", 0),
        (DeepConfOnline, "keep", 0.0),
        (DeepConfOnline, "warm_up", 0),
        (DeepConfOnline, "consensus", 1.1),
        (DeepConfOnline, "group", 0),
        (DeepConfOnline, "concurrent", 0),
    ],
)
def test_values_out_of_range_are_named(make: Any, key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        make(4, **{key: value})
