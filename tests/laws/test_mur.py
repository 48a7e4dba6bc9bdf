"""Momentum uncertainty reasoning against its recursion and closed form."""

from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.samplers.scripted import Scripted
from ponder.search.mur import MUR
from ponder.types import Step

RUNS = 300
ALWAYS, NEVER = 1e300, 1e-300


def fits(populations: Any, exact: Any) -> None:
    """Whether the solutions' texts follow a distribution: chi-square, p above 1e-3."""
    counts = Counter(population.traces[0].text for population, _ in populations)
    assert set(counts) <= {text for text, p in exact.items() if p > 0}
    expected = np.array(list(exact.values()))
    observed = [counts[text] for text in exact]
    assert chisquare(observed, expected / expected.sum() * sum(observed)).pvalue > 1e-3, (counts, exact)


@pytest.mark.parametrize("strategy", [MUR(4, gamma=NEVER), MUR(1, gamma=ALWAYS)])
def test_never_drawing_again_is_plain_sampling(lab: Any, even: Any, table: Any, strategy: Any) -> None:
    done = lab.many(strategy, even, table, range(RUNS))
    fits(done, dict(even.enumerate()))
    assert table.calls == 0
    assert even.new_tokens == 4 * RUNS


def test_always_drawing_again_is_best_of_n_at_each_step_but_the_first(
    lab: Any, even: Any, table: Any, scores: Any
) -> None:
    """The chance that the best of n is the worse of two characters is that all n are."""
    n = 3

    def best(state: str) -> dict[str, float]:
        row = sorted(even.transitions[state].items(), key=lambda pair: scores.get(pair[0], 0.0))
        worse = row[0][1] ** n if len(row) == 2 else 0.0
        return {row[0][0]: worse, row[-1][0]: 1 - worse}

    exact = {a + b + c: even.transitions["^"][a] * best(a)[b] * best(b)[c] for a in "ab" for b in "cd" for c in "ef"}
    assert sum(exact.values()) == pytest.approx(1.0)
    fits(lab.many(MUR(n, gamma=ALWAYS), even, table, range(RUNS)), exact)
    assert even.new_tokens == RUNS * (1 + 3 * n)


def test_an_oracle_at_each_step_finds_the_rare_solution(lab: Any, even: Any) -> None:
    class Oracle:
        async def score(self, traces: Any) -> Any:
            return [float("ace".startswith(trace.text)) for trace in traces]

    done = lab.many(MUR(4, gamma=ALWAYS), even, Oracle(), range(200))
    exact = 0.6 * (1 - 0.3**4) * (1 - 0.5**4)
    found = np.mean([population.traces[0].text == "ace" for population, _ in done])
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / 200)


class Told:
    """Steps of given uncertainty; a step drawn again has another one, and the verifier prefers it."""

    def __init__(self, uncertainties: Any, again: float = 0.0) -> None:
        self.drawn: Counter[int] = Counter()
        self.uncertainties, self.again = uncertainties, again

    def __call__(self, trace: Any, seed: Any) -> Step:
        at = len(trace)
        self.drawn[at] += 1
        u = self.uncertainties[at] if self.drawn[at] == 1 else self.again
        return Step("x" if self.drawn[at] == 1 else "y", (self.drawn[at],), (-u,), "stop" if at < 3 else "eos")


class Later:
    async def score(self, traces: Any) -> Any:
        return [float(trace.text.endswith("y")) for trace in traces]


@pytest.mark.parametrize(
    ("start", "uncertainties", "again"),
    [
        # zero: M = .05, then .3 > .05 + .105: again, u = 0, M = .045; .16 > .150: again; M = .0405; .1 < .146
        ("zero", [0.5, 0.3, 0.16, 0.1], [1, 2]),
        # as above, but .149 < .150 is sure, so that M = .0554, and .161 > .1608
        ("zero", [0.5, 0.3, 0.149, 0.161], [1, 3]),
        # first: M = .5; .3 < .605, M = .48; .59 > .585: again, u = 0, M = .432; .54 > .537: again
        ("first", [0.5, 0.3, 0.59, 0.54], [2, 3]),
        ("first", [0.5, 0.3, 0.58, 0.54], []),
    ],
)
def test_the_momentum_follows_a_hand_computation(
    lab: Any, start: Literal["zero", "first"], uncertainties: Any, again: Any
) -> None:
    told = Told(uncertainties)
    population, _ = lab.run(MUR(3, start=start), Scripted(told), Later())
    assert [at for at in range(4) if told.drawn[at] == 3] == again
    assert [at for at in range(4) if told.drawn[at] == 1] == sorted({0, 1, 2, 3} - set(again))
    assert population.traces[0].text == "".join("y" if at in again else "x" for at in range(4))


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.floats(0, 0.99))
def test_momentum_is_an_exponentially_weighted_sum(uncertainties: Any, alpha: float) -> None:
    t = len(uncertainties)
    past = alpha ** np.arange(t - 1, -1, -1)
    found = {}
    starts: list[Literal["zero", "first"]] = ["zero", "first"]
    for start in starts:
        momentum, strategy = 0.0, MUR(2, alpha=alpha, start=start)
        for i, u in enumerate(uncertainties):
            momentum = strategy.momentum(momentum, u, first=i == 0)
        found[start] = momentum
    weighted = (1 - alpha) * float(past @ uncertainties)
    assert found["zero"] == pytest.approx(weighted, abs=1e-9)
    assert found["first"] == pytest.approx(weighted + alpha**t * uncertainties[0], abs=1e-9)


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0.01, 100))
def test_uncertain_is_the_papers_comparison(u: float, momentum: float, gamma: float) -> None:
    if abs(u - momentum + np.log(gamma)) > 1e-9:
        assert MUR(2, gamma=gamma).uncertain(u, momentum) == (np.exp(u) > np.exp(momentum) / gamma)


def test_a_smaller_gamma_draws_fewer_steps_again(lab: Any, even: Any, table: Any) -> None:
    spent = []
    for gamma in (0.3, 0.9, 1.5):
        done = lab.many(MUR(4, gamma=gamma), even, table, range(60))
        spent.append(sum(ctx.ledger.total.new_tokens for _, ctx in done))
    assert 60 * 4 < spent[0] < spent[1] < spent[2] <= 60 * 13


def test_a_budget_that_ends_in_a_branch_leaves_the_step_drawn_first(lab: Any, even: Any) -> None:
    population, _ = lab.run(MUR(8, gamma=ALWAYS), even, budget=Budget(new_tokens=4))
    assert len(population.traces[0]) == 2
    population, _ = lab.run(MUR(8, gamma=ALWAYS), even, budget=Budget(verifier_calls=1))
    assert len(population.traces[0]) == 2


def test_a_sampler_without_log_probabilities_is_refused(lab: Any) -> None:
    with pytest.raises(UserError, match="log-probability"):
        lab.run(MUR(2), Scripted(["abc"]))


@pytest.mark.parametrize(
    ("key", "value"),
    [("alpha", 1.0), ("alpha", -0.1), ("gamma", 0.0), ("gamma", float("nan")), ("gamma", float("inf")), ("start", "u")],
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}") as caught:
        MUR(4, **{key: value})
    assert "allowed" in caught.value.hint
