"""Diverse verifier tree search: subtrees, what they keep, and closed forms."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.dvts import DVTS
from ponder.types import Step, Trace
from ponder.verifiers.rule import Constant
from tests.laws.languages import RAGGED

SHAPES = st.sampled_from([(1, 1), (4, 4), (8, 4), (8, 2), (6, 1)])


class Scores:
    """A score for each text; keeps what it scored."""

    def __init__(self, scores: Any) -> None:
        self.scores = scores
        self.scored: dict[Trace, float] = {}

    async def score(self, traces: Any) -> Any:
        self.scored.update((trace, self.scores(trace.text)) for trace in traces)
        return [self.scored[trace] for trace in traces]


def share(text: str) -> float:
    """The share of the letters a and d."""
    return (text.count("a") + text.count("d")) / (1 + len(text))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=SHAPES, seed=st.integers(0, 10**6))
def test_subtrees_never_exchange_prefixes(lab: Any, shape: Any, seed: int) -> None:
    """Trace i of a round is a continuation of trace i of the round before, and an ended one stays as it is."""
    n, width = shape
    population, ctx = lab.run(DVTS(n, width), ToyLanguage(RAGGED), Scores(share), seed=seed)
    rounds = [report.population.traces for report in ctx.reports]
    for before, after in pairwise(rounds):
        for parent, child in zip(before, after, strict=True):
            assert child.steps[: len(parent)] == parent.steps
            assert len(child) == len(parent) + parent.alive
    assert len(population) == n // width
    assert all(trace.finished for trace in population.traces)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_a_subtree_keeps_the_best_of_its_candidates(lab: Any, n: int, seed: int) -> None:
    verifier = Scores(share)
    (trace,) = lab.run(DVTS(n, n), ToyLanguage(RAGGED), verifier, seed=seed)[0].traces
    assert trace.finished
    for depth in range(1, len(trace) + 1):
        prefix = Trace(trace.problem, trace.steps[:depth])
        assert verifier.scored[prefix] == max(s for t, s in verifier.scored.items() if len(t) == depth)


def scripted(first: Any, then: Any) -> Any:
    """Plays first steps, one a continuation, then always the same step."""
    return Scripted(lambda trace, seed: first[seed % len(first)] if not trace.steps else then)


@pytest.mark.parametrize(("score", "answer"), [(0.9, "end"), (0.5, "go on")])
def test_a_finished_candidate_competes_by_its_score_and_unfinished_siblings_are_not_reported(
    lab: Any, score: float, answer: str
) -> None:
    sampler = scripted([Step("end", why="eos"), Step("go")], Step(" on", why="eos"))
    verifier = Scores({"end": score, "go": 0.7, "go on": 0.1}.__getitem__)
    population, _ = lab.run(DVTS(2, 2), sampler, verifier)
    assert [trace.text for trace in population.traces] == [answer]


def test_a_candidate_cut_by_the_token_limit_comes_last(lab: Any) -> None:
    lab.max_tokens = 4
    verifier = Scores({"long": 0.9, "go": 0.1, "go.": 0.2}.__getitem__)
    sampler = scripted([Step("long"), Step("go")], Step(".", why="eos"))
    assert [t.text for t in lab.run(DVTS(2, 2), sampler, verifier)[0].traces] == ["go."]
    sampler = scripted([Step("long")], Step(".", why="eos"))
    assert [t.text for t in lab.run(DVTS(2, 2), sampler, verifier)[0].traces] == ["long"]


def test_traces_weigh_by_score_and_ended_subtrees_cost_nothing(lab: Any) -> None:
    """Two subtrees of one candidate each: one ends at once, the other takes three more steps."""

    def script(trace: Trace, seed: int) -> Step:
        if not trace.steps:
            return Step("a", why="eos") if seed % 2 else Step("b")
        return Step("c", why="eos" if len(trace) == 3 else "stop")

    sampler, verifier = Scripted(script), Scores(lambda text: 0.6 if text == "a" else 0.2)
    population, ctx = lab.run(DVTS(2, 1), sampler, verifier)
    assert {t.text: w for t, w in zip(population.traces, population.weights, strict=True)} == pytest.approx(
        {"a": 0.75, "bccc": 0.25}
    )
    assert sampler.requests == 4
    assert ctx.ledger.total.verifier_calls == 5


@pytest.mark.parametrize(("lookahead", "answer", "tokens"), [(0, "ax", 2 + 2 + 2), (1, "by", (2 + 2) + (2 + 1) + 2)])
def test_lookahead_is_billed_and_changes_the_selection(lab: Any, lookahead: int, answer: str, tokens: int) -> None:
    def script(trace: Trace, seed: int) -> Step:
        if not trace.steps:
            return Step("ab"[seed % 2])
        return Step({"a": "x", "b": "y"}[trace.text]) if len(trace) == 1 else Step("", why="eos")

    sampler, verifier = Scripted(script), Scores({"a": 0.9, "b": 0.1, "ax": 0.2, "by": 0.8}.__getitem__)
    population, ctx = lab.run(DVTS(2, 2, lookahead=lookahead), sampler, verifier)
    assert [trace.text for trace in population.traces] == [answer]
    assert ctx.ledger.total.new_tokens == sampler.new_tokens == tokens


def fits(populations: Any, exact: Any) -> bool:
    """Whether solutions are as frequent as they should be; those expected fewer than five times count together."""
    seen = Counter(trace.text for population in populations for trace in population.traces)
    assert set(seen) <= set(exact)
    expected = {text: p * seen.total() for text, p in exact.items()}
    pairs = [(seen[text], count) for text, count in expected.items() if count >= 5]
    rest = seen.total() - sum(pair[0] for pair in pairs), seen.total() - sum(pair[1] for pair in pairs)
    pairs += [rest] if rest[1] > 1e-6 else []
    return bool(chisquare(*zip(*pairs, strict=True)).pvalue > 1e-3)


def test_width_1_is_plain_sampling_whatever_the_verifier(lab: Any, uneven: Any) -> None:
    populations = [population for population, _ in lab.many(DVTS(4, 1), uneven, seeds=range(150))]
    assert fits(populations, dict(uneven.enumerate()))


@pytest.mark.parametrize("width", [2, 4])
def test_a_constant_verifier_is_plain_sampling(lab: Any, uneven: Any, width: int) -> None:
    populations = [p for p, _ in lab.many(DVTS(4 * width, width), uneven, Constant(0.3), range(120))]
    assert all(len(population) == 4 for population in populations)
    assert fits(populations, dict(uneven.enumerate()))


@pytest.mark.parametrize("n", [2, 4])
def test_one_subtree_is_step_level_best_of_n(lab: Any, even: Any, scores: Any, n: int) -> None:
    """A character is chosen unless all n draws are the other one, or if all are it, where the other is better."""

    def chosen(state: str, character: str) -> float:
        p = even.transitions[state][character]
        best = max(even.transitions[state], key=lambda c: scores[c]) == character
        return float(1 - (1 - p) ** n if best else p**n)

    exact = {t: chosen("^", t[0]) * chosen(t[0], t[1]) * chosen(t[1], t[2]) for t, _ in even.enumerate()}
    assert sum(exact.values()) == pytest.approx(1.0)
    assert fits([population for population, _ in lab.many(DVTS(n, n), even, seeds=range(300))], exact)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"n": 6, "width": 4}, "width=4 does not divide"),
        ({"n": 4, "width": 0}, "width=0"),
        ({"n": 4, "lookahead": -1}, "lookahead=-1"),
    ],
)
def test_arguments_out_of_range_are_named_before_any_call(arguments: Any, key: str) -> None:
    with pytest.raises(UserError, match=f"search.{key}") as caught:
        DVTS(**arguments)
    assert "allowed" in caught.value.hint
