"""What every strategy owes: reproducible, independent of company, honest, within its budget.

Every yaml in conf/search is one, and so under these laws from its first day.
"""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.resampling import multinomial
from ponder.types import Problem
from tests.laws.languages import WANDERING
from tests.strategies import every_strategy


def seen(population: Any) -> Any:
    return [t.key for t in population.traces], population.log_weights.tolist(), population.evidence


@every_strategy
def test_same_seed_same_population_other_seed_another(lab: Any, make: Any) -> None:
    language = ToyLanguage(WANDERING)
    one, again = (seen(lab.run(make.at_least(8), language, seed=seed)[0]) for seed in (1, 1))
    assert one == again
    assert any(seen(lab.run(make.at_least(8), language, seed=seed)[0]) != one for seed in (2, 3, 4))


class Slow(ToyLanguage):
    """Answers after a while that differs from request to request, so that requests overtake each other."""

    async def sample(self, trace: Any, n: Any, until: Any, *, seed: Any) -> Any:
        for _ in range(seed % 7):
            await asyncio.sleep(0)
        return await super().sample(trace, n, until, seed=seed)


@every_strategy
@pytest.mark.parametrize("together", [1, 4, 12])
def test_alone_equals_in_company(lab: Any, uneven: Any, make: Any, together: Any) -> None:
    problems, strategy = [Problem(f"p{i}", f"ask {i}") for i in range(12)], make.at_least(8)
    alone = [seen(lab.run(strategy, uneven, seed=i, problem=p)[0]) for i, p in enumerate(problems)]
    slow = Slow(uneven.transitions)
    backwards = lab.many(strategy, slow, seeds=list(range(12))[::-1], problems=problems[::-1], together=together)
    assert alone == [seen(population) for population, _ in backwards][::-1]


@every_strategy
def test_the_ledger_equals_the_tokens_emitted(lab: Any, uneven: Any, table: Any, make: Any) -> None:
    done = lab.many(make.at_least(8), uneven, table, range(20))
    assert sum(ctx.ledger.total.new_tokens for _, ctx in done) == uneven.new_tokens > 0
    assert sum(ctx.ledger.total.prompt_tokens for _, ctx in done) == uneven.prompt_tokens
    assert sum(ctx.ledger.total.verifier_calls for _, ctx in done) == table.calls


@every_strategy
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ceiling=st.integers(1, 120), n=st.sampled_from([1, 2, 4, 8]), seed=st.integers(0, 1000))
def test_a_ceiling_of_new_tokens_is_never_exceeded(lab: Any, make: Any, ceiling: Any, n: Any, seed: Any) -> None:
    language = ToyLanguage(WANDERING)
    population, ctx = lab.run(make.at_least(n), language, seed=seed, budget=Budget(new_tokens=ceiling))
    assert language.new_tokens == ctx.ledger.total.new_tokens <= ceiling
    assert np.all(np.isfinite(population.log_weights))


@every_strategy
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ceiling=st.integers(1, 20), seed=st.integers(0, 1000))
def test_a_ceiling_of_verifier_calls_is_never_exceeded(
    lab: Any, uneven: Any, table: Any, make: Any, ceiling: Any, seed: Any
) -> None:
    before = table.calls
    _, ctx = lab.run(make.at_least(4), uneven, table, seed=seed, budget=Budget(verifier_calls=ceiling))
    assert table.calls - before == ctx.ledger.total.verifier_calls <= ceiling


@every_strategy
def test_out_of_budget_returns_the_best_so_far(lab: Any, even: Any, make: Any) -> None:
    """24 tokens make 6 solutions of 4; a search for 8 or more has something to show all the same."""
    population, ctx = lab.run(make.at_least(8), even, budget=Budget(new_tokens=24))
    assert len(population) > 0
    assert any(trace.steps for trace in population.traces)
    assert seen(population) == seen(ctx.reports[-1].population)


@every_strategy
def test_the_least_size_is_enough(lab: Any, uneven: Any, make: Any) -> None:
    population, _ = lab.run(make.at_least(1), uneven)
    assert any(trace.finished for trace in population.traces)


@every_strategy
def test_nothing_is_scored_twice_and_ended_traces_cost_nothing(lab: Any, uneven: Any, table: Any, make: Any) -> None:
    """ToyLanguage refuses to continue a finished trace."""
    lab.run(make.at_least(8), uneven, table)
    assert max(table.seen.values(), default=0) <= 1
    ended = ToyLanguage({"^": {"$": 1.0}})
    _, ctx = lab.run(make.at_least(8), ended)
    assert ended.requests > 0
    assert ctx.ledger.total.new_tokens == ended.new_tokens


@every_strategy
def test_the_last_report_is_the_result(lab: Any, uneven: Any, make: Any) -> None:
    for population, ctx in lab.many(make.at_least(8), uneven, seeds=range(8)):
        assert ctx.reports[-1].population is population
        tokens = [sum(cost.new_tokens for cost in report.cost.values()) for report in ctx.reports]
        assert tokens == sorted(tokens)


@every_strategy
def test_solutions_cut_by_the_step_limit_end_the_search(lab: Any, make: Any) -> None:
    lab.max_steps = 3
    endless = ToyLanguage({"^": {"a": 1.0}, "a": {"a": 0.5, "b": 0.5}, "b": {"a": 1.0}})
    lab.max_tokens = 3
    population, _ = lab.run(make.at_least(4), endless)
    assert len(population) > 0
    assert not any(trace.finished for trace in population.traces)
    assert all(len(trace.token_ids) <= 3 for trace in population.traces)


@every_strategy
@pytest.mark.parametrize("n", [0, -1, 2.5, "four", None])
def test_n_below_one_is_a_mistake(make: Any, n: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.n={n!r}"):
        make(n)


@every_strategy
def test_there_is_a_page(make: Any) -> None:
    """The yaml's first line names it, and the page says how the strategy is called."""
    root = Path(__file__).parents[2]
    first = (root / "conf" / "search" / f"{make.name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    page = root / first.removeprefix("# ").split()[0]
    assert page.parent.name == "docs"
    assert f"search={make.name}" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ess_threshold", 0.0),
        ("ess_threshold", 1.5),
        ("ess_threshold", float("nan")),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", float("inf")),
        ("final_temperature", 0.0),
        ("annealing_steps", 0),
        ("finished", "drop"),
    ],
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}") as caught:
        ParticleFiltering(4, **{key: value})
    assert "allowed" in caught.value.hint


@pytest.mark.parametrize("finished", ["rescore", "absorb"])
def test_variants_of_particle_filtering_keep_their_ceiling(lab: Any, uneven: Any, finished: Any) -> None:
    for ceiling in (1, 7, 30):
        strategy = ParticleFiltering(9, resampling=multinomial, ess_threshold=1.0, finished=finished)
        _, ctx = lab.run(strategy, uneven, budget=Budget(new_tokens=ceiling))
        assert ctx.ledger.total.new_tokens <= ceiling
