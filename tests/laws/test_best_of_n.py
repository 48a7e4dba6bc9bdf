"""Best-of-N and self-consistency against closed form."""

from typing import Any

import numpy as np
import pytest

from ponder.ledger import Budget
from ponder.samplers.scripted import Scripted
from ponder.search import select
from ponder.search.best_of_n import BestOfN
from ponder.search.self_consistency import SelfConsistency
from ponder.search.weights import exponential, odds

RNG = np.random.default_rng(0)


def text(trace: Any) -> Any:
    return trace.text


class Oracle:
    """1 for the right solution, 0 for any other."""

    async def score(self, traces: Any) -> Any:
        return [float(trace.text == "ace") for trace in traces]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_with_an_oracle_it_is_pass_at_n(lab: Any, even: Any, n: Any) -> None:
    p, runs = dict(even.enumerate())["ace"], 600
    exact = 1 - (1 - p) ** n
    populations = lab.many(BestOfN(n), even, Oracle(), range(runs))
    right = np.mean([select.argmax(population, text, RNG) == "ace" for population, _ in populations])
    assert abs(right - exact) < 4 * np.sqrt(exact * (1 - exact) / runs)


def test_identical_solutions_are_scored_once(lab: Any, table: Any) -> None:
    lab.run(BestOfN(4), Scripted(["a"]), table)
    assert table.calls == 1


def test_scores_are_shared_by_equal_solutions(lab: Any, table: Any, scores: Any) -> None:
    population, ctx = lab.run(BestOfN(8, weight=exponential), Scripted(["a", "b", "c", "d"]), table)
    assert table.calls == ctx.ledger.total.verifier_calls == 4
    assert population.log_weights == pytest.approx([scores[t.text] for t in population.traces])


@pytest.mark.parametrize(("values", "best"), [([0.5, 0.8, 0.3], "0.8-1"), ([0.8, 0.5, 0.8], "0.8-0"), ([0.4], "0.4-0")])
@pytest.mark.parametrize("weight", [exponential, odds])
def test_the_first_of_the_best_wins(lab: Any, values: Any, best: Any, weight: Any) -> None:
    class Written:
        async def score(self, traces: Any) -> Any:
            return [float(trace.text.split("-")[0]) for trace in traces]

    sampler = Scripted([f"{value}-{i}" for i, value in enumerate(values)])
    population, _ = lab.run(BestOfN(len(values), weight=weight), sampler, Written())
    assert select.argmax(population, text, RNG) == best


def test_all_solutions_are_kept(lab: Any, even: Any, table: Any) -> None:
    population, _ = lab.run(BestOfN(7), even, table)
    assert len(population) == 7


def test_self_consistency_needs_no_verifier(lab: Any, even: Any, table: Any) -> None:
    population, ctx = lab.run(SelfConsistency(7), even, table)
    assert len(population) == 7
    assert np.allclose(population.weights, 1 / 7)
    assert table.calls == ctx.ledger.total.verifier_calls == 0


def test_a_verifier_out_of_budget_leaves_the_solutions_with_equal_weights(lab: Any, even: Any, table: Any) -> None:
    population, _ = lab.run(BestOfN(20), even, table, budget=Budget(verifier_calls=1))
    assert len(population) == 20
    assert np.allclose(population.weights, 1 / 20)
