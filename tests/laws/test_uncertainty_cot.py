"""Uncertainty-guided steps against closed form."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.uncertainty_cot import MEASURES, UncertaintyCoT
from ponder.types import Step

RUNS = 300


def fits(populations: Any, exact: Any) -> None:
    counts = Counter(population.traces[0].text for population, _ in populations)
    assert set(counts) <= {text for text, p in exact.items() if p > 0}
    likely = {text: p for text, p in exact.items() if p > 0}
    observed = [counts[text] for text in likely]
    expected = np.array(list(likely.values())) / sum(likely.values()) * sum(observed)
    assert chisquare(observed, expected).pvalue > 1e-3, (counts, exact)


def best(row: Any, n: int) -> dict[str, float]:
    """The likeliest of n draws from a row of two; that is the rarer one only if all are."""
    rare, likely = sorted(row, key=lambda token: row[token])
    return {rare: row[rare] ** n, likely: 1 - row[rare] ** n}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("n", "threshold"), [(4, float("inf")), (1, 0.0)])
def test_without_branches_it_is_plain_sampling(
    lab: Any, even: Any, table: Any, measure: Any, n: int, threshold: float
) -> None:
    fits(lab.many(UncertaintyCoT(n, measure, threshold), even, table, range(RUNS)), dict(even.enumerate()))
    assert even.new_tokens == 4 * RUNS
    assert table.calls == 0


@pytest.mark.parametrize("measure", MEASURES)
def test_threshold_nought_branches_at_each_step(lab: Any, measure: Any) -> None:
    """At every step the likeliest of n: for a row of two, the rarer one only if all n are."""
    n, rows = 3, {"^": {"a": 0.6, "b": 0.4}, "a": {"c": 0.7, "d": 0.3}, "b": {"c": 0.2, "d": 0.8}}
    language = ToyLanguage({**rows, "c": {"$": 1.0}, "d": {"$": 1.0}})
    exact = {a + b: best(rows["^"], n)[a] * best(rows[a], n)[b] for a in "ab" for b in "cd"}
    fits(lab.many(UncertaintyCoT(n, measure, 0.0), language, seeds=range(RUNS)), exact)
    assert language.new_tokens == RUNS * 3 * n


@pytest.mark.parametrize(
    ("measure", "threshold"),
    # The entropies are .673 after the start, .611 and .500 next; the margins 1 - |p - q| are .8, .6 and .4.
    [("entropy", 0.64), ("margin", 0.7)],
)
def test_only_unsure_steps_branch(lab: Any, even: Any, measure: Any, threshold: float) -> None:
    """Here the first step (.6 to .4), and the one after c, where e and f are even: a tie, so that nothing is gained."""
    rows = even.transitions
    exact = {a + b + c: best(rows["^"], 5)[a] * rows[a][b] * rows[b][c] for a in "ab" for b in "cd" for c in "ef"}
    done = lab.many(UncertaintyCoT(5, measure, threshold), even, seeds=range(RUNS))
    fits(done, exact)
    after_c = sum(population.traces[0].text[1] == "c" for population, _ in done)
    assert even.new_tokens == RUNS * (5 + 3) + after_c * 4


@pytest.mark.parametrize(
    ("measure", "uncertainty"),
    [
        ("entropy", -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.1 * np.log(0.1))),
        ("margin", 0.8),
        ("mean", 1.5),
    ],
)
def test_the_measures(measure: Any, uncertainty: float) -> None:
    first, second = tuple(np.log([0.5, 0.3, 0.1])), tuple(np.log([0.99, 0.01]))
    step = Step("xy", (1, 2), (-1.0, -2.0), top_logprobs=(first, second))
    assert UncertaintyCoT(2, measure).uncertainty(step) == pytest.approx(uncertainty)
    assert UncertaintyCoT(2, measure).uncertainty(Step("")) == 0.0


def test_a_certain_step_has_no_uncertainty() -> None:
    step = Step("x", (1,), (0.0,), top_logprobs=((0.0, -np.inf),))
    for measure in ("entropy", "margin", "mean"):
        assert UncertaintyCoT(2, measure).uncertainty(step) == 0.0
    assert UncertaintyCoT(2, "margin").uncertainty(Step("x", (1,), (0.0,), top_logprobs=((0.0,),))) == 0.0


def test_the_longer_of_equally_likely_steps_is_at_no_disadvantage(lab: Any) -> None:
    told = iter([Step("short", (1,), (-0.5,), "eos"), Step("long", (1, 2, 3), (-0.4, -0.4, -0.4), "eos")])
    population, _ = lab.run(UncertaintyCoT(2, "mean", 0.0), Scripted(lambda trace, seed: next(told)))
    assert population.traces[0].text == "long"


def test_a_budget_that_ends_in_a_branch_leaves_the_step_drawn_first(lab: Any, even: Any) -> None:
    population, _ = lab.run(UncertaintyCoT(8, threshold=0.0), even, budget=Budget(new_tokens=4))
    assert len(population.traces[0]) == 1


@pytest.mark.parametrize(("measure", "words"), [("entropy", "likeliest tokens"), ("mean", "log-probability")])
def test_a_sampler_that_does_not_tell_is_refused(lab: Any, measure: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        lab.run(UncertaintyCoT(2, measure), Scripted(["abc"]))


@pytest.mark.parametrize(("key", "value"), [("threshold", -0.1), ("threshold", float("nan")), ("measure", "max")])
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}") as caught:
        UncertaintyCoT(4, **{key: value})
    assert "allowed" in caught.value.hint
