"""Hedged sampling: one greedy solution, the others from the tempered and truncated language."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.protocols import Picking
from ponder.samplers.toy_language import ToyLanguage
from ponder.search import select
from ponder.search.hedged_sampling import HedgedSampling
from ponder.search.weights import probability
from tests.laws.speaking import Speaker


class Watched(ToyLanguage):
    """Notes how each request picks, and how many solutions it asks for."""

    seen: list[tuple[Any, int]]
    picking: Picking | None = None

    def varied(self, picking: Picking) -> Any:
        other = super().varied(picking)
        other.picking = picking
        return other

    async def sample(self, trace: Any, n: Any, until: Any, *, seed: Any) -> Any:
        self.seen.append((self.picking, n))
        return await super().sample(trace, n, until, seed=seed)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_exactly_one_is_greedy(lab: Any, even: Any, n: Any) -> None:
    language = Watched(even.transitions)
    language.seen = []
    population, _ = lab.run(HedgedSampling(n), language)
    warm = [(Picking(temperature=0.7, min_p=0.1), n - 1)] if n > 1 else []
    assert language.seen == [(Picking(temperature=0.0), 1), *warm]
    assert len(population) == n
    assert np.allclose(population.weights, 1 / n)


def test_the_first_is_the_likeliest_at_each_token_whatever_the_seed(lab: Any, even: Any) -> None:
    runs = lab.many(HedgedSampling(3), even, seeds=range(40))
    assert {population.traces[0].text for population, _ in runs} == {"ace"}
    assert len({population.traces[1].text for population, _ in runs}) > 2


@pytest.mark.parametrize(("temperature", "min_p"), [(0.7, 0.0), (1.3, 0.0), (0.7, 0.3)])
def test_the_others_follow_the_tempered_language(lab: Any, even: Any, temperature: Any, min_p: Any) -> None:
    tempered = {}
    for state, row in even.transitions.items():
        hot = {token: p ** (1 / temperature) for token, p in row.items()}
        kept = {token: p for token, p in hot.items() if p >= min_p * max(hot.values())}
        tempered[state] = {token: p / sum(kept.values()) for token, p in kept.items()}
    exact = dict(ToyLanguage(tempered).enumerate())
    population, _ = lab.run(HedgedSampling(2001, temperature, min_p), even)
    texts = [t.text for t in population.traces[1:]]
    counts = [texts.count(text) for text in exact]
    assert sum(counts) == 2000
    assert chisquare(counts, [2000 * p for p in exact.values()]).pvalue > 1e-3


def test_a_budget_for_one_solution_leaves_the_greedy_one(lab: Any, even: Any) -> None:
    population, _ = lab.run(HedgedSampling(8), even, budget=Budget(new_tokens=4))
    assert [t.text for t in population.traces] == ["ace"]


@pytest.mark.parametrize(
    ("key", "value"), [("temperature", 0.0), ("temperature", float("inf")), ("min_p", -0.1), ("min_p", 1.1)]
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        HedgedSampling(4, **{key: value})


def test_a_verifier_may_choose(lab: Any) -> None:
    """X-MBR by exact agreement: the answer that most others support; without `weight` no verifier is asked."""

    class Agreement:
        range = (0.0, 1.0)

        def compare(self, traces: Any) -> list[float]:
            return [sum(other.text == trace.text for other in traces) / len(traces) for trace in traces]

    replies: Any = {"solve": ["four", "five", "five"]}
    population, ctx = lab.run(HedgedSampling(3, weight=probability), Speaker(replies), Agreement())
    assert select.argmax(population, lambda trace: trace.text, np.random.default_rng(0)) == "five"
    assert ctx.ledger.total.verifier_calls == 2  # distinct texts
    _, ctx = lab.run(HedgedSampling(3), Speaker(replies), Agreement())
    assert ctx.ledger.total.verifier_calls == 0
