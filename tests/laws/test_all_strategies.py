"""What every strategy owes: reproducible, independent of company, honest, within its budget."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.samplers.scripted import ToyLanguage
from ponder.search.best_of_n import BestOfN
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.resampling import multinomial
from ponder.search.self_consistency import SelfConsistency
from ponder.types import Problem

STRATEGIES = {
    "best_of_n": BestOfN,
    "self_consistency": SelfConsistency,
    "particle_filtering": ParticleFiltering,
    "particle_filtering_as_in_the_paper": lambda n: ParticleFiltering(n, resampling=multinomial, ess_threshold=1.0),
    "particle_filtering_absorbing": lambda n: ParticleFiltering(n, finished="absorb", ess_threshold=0.9),
}
every_strategy = pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES)


def seen(population: Any) -> Any:
    return [t.key for t in population.traces], population.log_weights.tolist(), population.evidence


@every_strategy
def test_same_seed_same_population_other_seed_another(lab: Any, uneven: Any, make: Any) -> None:
    one, again, other = (seen(lab.run(make(12), uneven, seed=seed)[0]) for seed in (1, 1, 2))
    assert one == again
    assert one != other


class Slow(ToyLanguage):
    """Answers after a while that differs from request to request, so that requests overtake each other."""

    async def sample(self, trace: Any, n: Any, until: Any, *, seed: Any) -> Any:
        for _ in range(seed % 7):
            await asyncio.sleep(0)
        return await super().sample(trace, n, until, seed=seed)


@every_strategy
@pytest.mark.parametrize("together", [1, 5, 30])
def test_alone_equals_in_company(lab: Any, uneven: Any, make: Any, together: Any) -> None:
    problems = [Problem(f"p{i}", f"ask {i}") for i in range(30)]
    alone = [seen(lab.run(make(6), uneven, seed=i, problem=p)[0]) for i, p in enumerate(problems)]
    slow = Slow(uneven.transitions)
    backwards = lab.many(make(6), slow, seeds=list(range(30))[::-1], problems=problems[::-1], together=together)
    assert alone == [seen(population) for population, _ in backwards][::-1]


@every_strategy
def test_the_ledger_equals_the_tokens_emitted(lab: Any, uneven: Any, table: Any, make: Any) -> None:
    done = lab.many(make(9), uneven, table, range(20))
    assert sum(ctx.ledger.total.new_tokens for _, ctx in done) == uneven.new_tokens
    assert sum(ctx.ledger.total.prompt_tokens for _, ctx in done) == uneven.prompt_tokens
    assert sum(ctx.ledger.total.verifier_calls for _, ctx in done) == table.calls


@every_strategy
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ceiling=st.integers(1, 80), n=st.integers(1, 12), seed=st.integers(0, 1000))
def test_a_ceiling_of_new_tokens_is_never_exceeded(lab: Any, make: Any, ceiling: Any, n: Any, seed: Any) -> None:
    language = ToyLanguage({"^": {"a": 0.6, "b": 0.4}, "a": {"a": 0.5, "b": 0.3, "$": 0.2}, "b": {"a": 0.9, "$": 0.1}})
    population, ctx = lab.run(make(n), language, seed=seed, budget=Budget(new_tokens=ceiling))
    assert language.new_tokens == ctx.ledger.total.new_tokens <= ceiling
    assert len(population) <= n


@every_strategy
def test_out_of_budget_returns_the_best_so_far(lab: Any, even: Any, make: Any) -> None:
    """24 tokens suffice for 6 solutions of 4; a search for 12 has something to show all the same."""
    population, ctx = lab.run(make(12), even, budget=Budget(new_tokens=24))
    assert len(population) > 0
    assert any(trace.steps for trace in population.traces)
    assert seen(population) == seen(ctx.reports[-1].population)


@every_strategy
def test_one_solution_is_enough(lab: Any, uneven: Any, make: Any) -> None:
    population, _ = lab.run(make(1), uneven)
    assert len(population) == 1
    assert population.traces[0].finished


@every_strategy
def test_finished_solutions_stop_costing(lab: Any, make: Any) -> None:
    sampler = ToyLanguage({"^": {"$": 1.0}})
    _population, ctx = lab.run(make(5), sampler)
    assert sampler.requests == 1
    assert ctx.ledger.total.new_tokens == 5


@every_strategy
def test_the_last_report_is_the_result(lab: Any, uneven: Any, make: Any) -> None:
    population, ctx = lab.run(make(5), uneven)
    assert seen(ctx.reports[-1].population) == seen(population)
    tokens = [sum(cost.new_tokens for cost in report.cost.values()) for report in ctx.reports]
    assert tokens == sorted(tokens)


@every_strategy
@pytest.mark.parametrize("n", [0, -1, 2.5, "4", None])
def test_n_below_one_is_a_mistake(make: Any, n: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.n={n!r}"):
        make(n)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ess_threshold", 0.0),
        ("ess_threshold", 1.5),
        ("ess_threshold", float("nan")),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", float("inf")),
        ("finished", "drop"),
    ],
)
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}") as caught:
        ParticleFiltering(4, **{key: value})
    assert "allowed" in caught.value.hint
