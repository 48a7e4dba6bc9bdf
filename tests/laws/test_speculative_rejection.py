"""Speculative rejection beside best-of-N, on solutions whose tokens can be counted."""

from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.samplers.scripted import Scripted
from ponder.search import select
from ponder.search.speculative_rejection import SpeculativeRejection
from ponder.types import Step

RNG = np.random.default_rng(0)


def text(trace: Any) -> Any:
    return trace.text


class Oracle:
    """1 for the right solution, 0.1 for any other text."""

    async def score(self, traces: Any) -> Any:
        return [1.0 if trace.text == "ace" else 0.1 for trace in traces]


class First:
    """Looks at the first character only: what it thinks of a prefix, it thinks of the solution."""

    async def score(self, traces: Any) -> Any:
        return [0.9 if trace.text.startswith("b") else 0.2 for trace in traces]


@pytest.mark.parametrize(("n", "reject"), [(3, 0.0), (3, 0.3), (2, 0.4)])
def test_a_share_too_small_to_drop_anyone_is_best_of_n(lab: Any, even: Any, n: Any, reject: Any) -> None:
    runs, p = 120, dict(even.enumerate())["ace"]
    exact = 1 - (1 - p) ** n
    done = lab.many(SpeculativeRejection(n, reject, every=1), even, Oracle(), range(runs))
    assert all(len(population) == n for population, _ in done)
    right = np.mean([select.argmax(population, text, RNG) == "ace" for population, _ in done])
    assert abs(right - exact) < 4 * np.sqrt(exact * (1 - exact) / runs)


@pytest.mark.parametrize(
    ("reject", "every", "tokens", "left"),
    [
        (0.0, 1, 32, 8),  # best-of-n: 8 solutions of 4 tokens
        (0.5, 1, 8 + 4 + 2 + 1, 1),
        (0.5, 2, 8 + 8 + 4 + 4, 4),
        (0.25, 1, 8 + 6 + 5 + 4, 4),
        (0.99, 1, 8 + 1 + 1 + 1, 1),
        (0.5, 9, 32, 8),
    ],
)
def test_what_is_dropped_costs_no_more_tokens(
    lab: Any, even: Any, reject: Any, every: Any, tokens: Any, left: Any
) -> None:
    population, ctx = lab.run(SpeculativeRejection(8, reject, every), even)
    assert ctx.ledger.total.new_tokens == tokens
    assert len(population) == left
    assert all(trace.finished for trace in population.traces)


def test_a_verifier_that_knows_from_the_start_loses_nothing(lab: Any, even: Any) -> None:
    """Some of four begins with "b" with probability 1 - .6^4, and then the winner does, at half the tokens."""
    runs, exact = 150, 1 - 0.6**4
    done = lab.many(SpeculativeRejection(4, every=1), even, First(), range(runs))
    good = np.mean([(select.argmax(population, text, RNG) or "").startswith("b") for population, _ in done])
    assert abs(good - exact) < 4 * np.sqrt(exact * (1 - exact) / runs), (good, exact)


def test_the_worst_go(lab: Any, even: Any, scores: Any) -> None:
    for population, ctx in lab.many(SpeculativeRejection(8, every=1), even, seeds=range(20)):
        grown = [report.population for report in ctx.reports]
        for before, after in zip(grown[::2], grown[1::2], strict=True):
            worst = max((scores[t.text[-1]] for t in before.traces if t not in after.traces), default=0.0)
            assert worst <= min(scores[t.text[-1]] for t in after.traces)
        assert population is grown[-1]


def test_a_poor_solution_that_ended_stays_and_competes(lab: Any) -> None:
    """It ended before the first checkpoint, and only growing ones are dropped."""

    def script(trace: Any, seed: Any) -> Any:
        if not trace.steps:
            return Step("c", why="eos") if seed % 4 == 0 else Step("a")
        return Step("d", why="eos" if len(trace) == 2 else "stop")

    done = lab.many(SpeculativeRejection(12, every=1), Scripted(script), seeds=range(10))
    for population, ctx in done:
        first = ctx.reports[0].population
        ended = sum(t.finished for t in first.traces)
        assert ended >= 3
        assert sum(t.text == "c" for t in population.traces) == ended
        assert select.argmax(population, text, RNG) == "add"


def test_the_budget_ends_between_checkpoints_with_the_last_weights(lab: Any, even: Any) -> None:
    population, _ = lab.run(SpeculativeRejection(8), even, budget=Budget(new_tokens=20))
    assert len(population) == 4
    assert [len(t) for t in population.traces] == [3] * 4
    assert set(np.round(np.exp(population.log_weights), 6)) <= {0.3, 0.8}


@pytest.mark.parametrize(("key", "value"), [("reject", 1.0), ("reject", -0.1), ("every", 0)])
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        SpeculativeRejection(4, **{key: value})
