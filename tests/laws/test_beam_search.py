"""Beam search: survivors, ends, lookahead, and what is left of it without a verifier."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.protocols import Picking, Until
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.beam_search import BeamSearch
from ponder.search.lookahead import foresee, foresight
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.weights import exponential
from ponder.types import Population, Problem, Step, Trace
from ponder.verifiers.rule import Constant
from tests.laws.languages import RAGGED

SHAPES = st.sampled_from([(1, 1), (4, 4), (8, 4), (8, 2), (6, 3), (6, 1)])


def watch(sampler: Any) -> Any:
    """How often each prefix is continued, by depth, from now on."""
    asked: defaultdict[int, Counter[Trace]] = defaultdict(Counter)
    play = sampler.sample

    async def sample(trace: Trace, n: int, until: Until, *, seed: int) -> Any:
        asked[len(trace)][trace] += n
        return await play(trace, n, until, seed=seed)

    sampler.sample = sample
    return asked


class Share:
    """The share of the letters a and d; keeps what it scored."""

    def __init__(self) -> None:
        self.scored: dict[Trace, float] = {}

    async def score(self, traces: Any) -> Any:
        scores = [(trace.text.count("a") + trace.text.count("d")) / (1 + len(trace.text)) for trace in traces]
        self.scored.update(zip(traces, scores, strict=True))
        return scores


class LastDigit:
    """The last digit of a solution, in tenths."""

    async def score(self, traces: Any) -> Any:
        return [int(trace.text[-1]) / 10 for trace in traces]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=SHAPES, seed=st.integers(0, 10**6))
def test_the_best_survive_and_each_goes_on_in_width_ways(lab: Any, shape: Any, seed: int) -> None:
    (n, width), sampler, verifier = shape, ToyLanguage(RAGGED), Share()
    asked = watch(sampler)
    lab.run(BeamSearch(n, width), sampler, verifier, seed=seed)
    assert asked.pop(0).total() == n
    for depth, survivors in asked.items():
        live = {trace: score for trace, score in verifier.scored.items() if len(trace) == depth and trace.alive}
        assert len(survivors) <= n // width
        assert survivors.total() <= n
        assert all(times % width == 0 for times in survivors.values())
        dropped = [score for trace, score in live.items() if trace not in survivors]
        assert min(live[trace] for trace in survivors) >= max(dropped, default=0.0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=SHAPES, seed=st.integers(0, 10**6))
def test_it_ends_when_n_have_finished_or_none_is_alive(lab: Any, shape: Any, seed: int) -> None:
    (n, width), sampler = shape, ToyLanguage(RAGGED)
    asked = watch(sampler)
    population, ctx = lab.run(BeamSearch(n, width), sampler, Share(), seed=seed)
    completed = [sum(trace.finished for trace in report.population.traces) for report in ctx.reports]
    assert len(ctx.reports) == len(asked)
    assert all(count < n for count in completed[:-1])
    assert completed == sorted(completed)
    assert len(population) == completed[-1] < 2 * n
    moved = asked[len(asked) - 1].total()
    assert completed[-1] >= n or completed[-1] - sum(completed[-2:-1]) == moved


def first(*steps: str | Step) -> Any:
    """A script: these first steps, one a continuation, then "0" and an end."""

    def script(trace: Trace, seed: int) -> Step | str:
        return steps[seed % len(steps)] if not trace.steps else Step("0", why="eos")

    return Scripted(script)


def test_a_finished_beam_is_kept_and_takes_no_place_among_the_survivors(lab: Any) -> None:
    sampler = first(Step("1", why="eos"), Step("9"), Step("8"), Step("2"))
    asked = watch(sampler)
    population, ctx = lab.run(BeamSearch(4, 2), sampler, LastDigit())
    assert {trace.text: times for trace, times in asked[1].items()} == {"9": 2, "8": 2}
    assert [trace.text for trace in ctx.reports[0].population.traces] == ["1"]
    assert sorted(trace.text for trace in population.traces) == ["1", "80", "80", "90", "90"]


def test_beams_cut_by_a_limit_are_no_answers_while_any_finished(lab: Any) -> None:
    def script(trace: Trace, seed: int) -> Step:
        return Step("1", why="eos") if not trace.steps and seed % 4 == 0 else Step("9")

    lab.max_steps = 3
    population, ctx = lab.run(BeamSearch(4, 2), Scripted(script), LastDigit())
    assert len(ctx.reports) == 3
    assert [trace.text for trace in population.traces] == ["1"]
    population, _ = lab.run(BeamSearch(4, 2), Scripted(lambda *_: Step("9")), LastDigit())
    assert [trace.text for trace in population.traces] == ["999"] * 4


def test_finished_beams_weigh_by_score(lab: Any) -> None:
    sampler = first(Step("1", why="eos"), Step("3", why="eos"), Step("4", why="eos"), Step("2", why="eos"))
    population, _ = lab.run(BeamSearch(4, 2), sampler, LastDigit())
    assert {t.text: w for t, w in zip(population.traces, population.weights, strict=True)} == pytest.approx(
        {"1": 0.1, "2": 0.2, "3": 0.3, "4": 0.4}
    )
    population, _ = lab.run(BeamSearch(4, 2, weight=exponential), sampler, Constant(-7.0))
    assert np.allclose(population.log_weights, -7.0)


class Turning:
    """Likes "a" until it is seen where it leads."""

    async def score(self, traces: Any) -> Any:
        return [{"a": 0.9, "b": 0.1, "ax": 0.2, "by": 0.8}[trace.text] for trace in traces]


def turning() -> Any:
    def script(trace: Trace, seed: int) -> Step:
        if not trace.steps:
            return Step("ab"[seed % 2])
        return Step({"a": "x", "b": "y"}[trace.text]) if len(trace) == 1 else Step("", why="eos")

    return Scripted(script)


@pytest.mark.parametrize(
    ("lookahead", "answer", "tokens", "scored"),
    [
        (0, "ax", 2 + 2 + 2, 2 + 1 + 1),
        (1, "by", (2 + 2) + (2 + 1) + 2, 2 + 1),  # two different beams roll on, then two equal ones
        (2, "by", (2 + 4) + (2 + 1) + 2, 2),
    ],
)
def test_lookahead_is_billed_and_changes_the_selection(
    lab: Any, lookahead: int, answer: str, tokens: int, scored: int
) -> None:
    sampler = turning()
    population, ctx = lab.run(BeamSearch(2, 2, lookahead=lookahead), sampler, Turning())
    assert [trace.text for trace in population.traces] == [answer] * 2
    assert ctx.ledger.total.new_tokens == sampler.new_tokens == tokens
    assert ctx.ledger.total.verifier_calls == scored


async def test_looking_ahead_is_greedy_and_equal_traces_roll_once(lab: Any, even: Any, table: Any) -> None:
    ends = set()
    for ctx in lab.contexts(even, table, range(30)):
        trace = Trace(Problem("p", "ask")) + Step("b", (ord("b"),))
        ahead = await foresee(ctx, [trace], 2)
        ends.add(ahead[0].text)
        before = even.new_tokens
        assert (await foresight(ctx, [trace] * 5, 2)).tolist() == [0.35] * 5
        assert even.new_tokens == before + 2
    assert ends == {"bdf"}


def test_a_single_beam_is_greedy_sampling_at_temperature_0(lab: Any, even: Any) -> None:
    greedy = even.varied(Picking(temperature=0.0))
    assert {lab.run(BeamSearch(1, 1), greedy, seed=seed)[0].traces[0].text for seed in range(20)} == {"ace"}


def test_a_single_beam_is_a_single_particle_token_for_token(lab: Any, uneven: Any) -> None:
    for seed in range(40):
        beam, particle = (
            lab.run(strategy, uneven, seed=seed)[0] for strategy in (BeamSearch(1, 1), ParticleFiltering(1))
        )
        assert beam.traces == particle.traces


def counts(populations: Any, language: Any) -> Any:
    """Observed and expected counts of each solution."""
    seen = Counter(trace.text for population in populations for trace in population.traces)
    exact = dict(language.enumerate())
    assert set(seen) <= set(exact)
    return [seen[text] for text in exact], [p * seen.total() for p in exact.values()]


@pytest.mark.parametrize(("n", "runs"), [(1, 300), (4, 150)])
def test_width_1_is_plain_sampling_whatever_the_verifier(lab: Any, uneven: Any, n: int, runs: int) -> None:
    populations = [population for population, _ in lab.many(BeamSearch(n, 1), uneven, seeds=range(runs))]
    assert all(len(population) == n for population in populations)
    assert chisquare(*counts(populations, uneven)).pvalue > 1e-3


def test_a_constant_verifier_leaves_each_beam_a_plain_sample_where_lengths_are_equal(lab: Any, even: Any) -> None:
    """The beams of a run share beginnings, so one of each run is counted."""
    done = lab.many(BeamSearch(4, 4), even, Constant(0.8), range(250))
    one = [Population.equal(population.traces[seed % 4 : seed % 4 + 1]) for seed, (population, _) in enumerate(done)]
    assert chisquare(*counts(one, even)).pvalue > 1e-3


def test_step_level_selection_in_closed_form(lab: Any, even: Any, scores: Any) -> None:
    """n beams of one survivor: a character is chosen unless all n draws are the other one, where the other is worse."""
    n, runs = 3, 250
    seen = Counter(p.traces[0].text for p, _ in lab.many(BeamSearch(n, n), even, seeds=range(runs)))

    def chosen(state: str, character: str) -> float:
        better = scores[character] > max(scores[c] for c in even.transitions[state] if c != character)
        p = even.transitions[state][character]
        return float(1 - (1 - p) ** n if better else p**n)

    # The last character is not selected: all beams of the last live round end.
    exact = {
        text: chosen("^", text[0]) * chosen(text[0], text[1]) * chosen(text[1], text[2]) for text, _ in even.enumerate()
    }
    assert sum(exact.values()) == pytest.approx(1.0)
    common = [text for text in exact if runs * exact[text] >= 5]
    observed = [seen[text] for text in common] + [runs - sum(seen[text] for text in common)]
    expected = [runs * exact[text] for text in common] + [runs * (1 - sum(exact[text] for text in common))]
    assert chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"n": 6, "width": 4}, "width=4 does not divide"),
        ({"n": 2, "width": 4}, "width=4 does not divide"),
        ({"n": 4, "width": 0}, "width=0"),
        ({"n": 4, "width": 2.0}, "width=2.0"),
        ({"n": 4, "lookahead": -1}, "lookahead=-1"),
        ({"n": 4, "lookahead": 0.5}, "lookahead=0.5"),
    ],
)
def test_arguments_out_of_range_are_named_before_any_call(arguments: Any, key: str) -> None:
    with pytest.raises(UserError, match=f"search.{key}") as caught:
        BeamSearch(**arguments)
    assert "allowed" in caught.value.hint
