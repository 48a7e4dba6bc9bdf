"""Conditional sequential Monte Carlo and particle Gibbs: the exact posterior is left as it is."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.samplers.characters import EOS
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.conditional_smc import ConditionalSMC, draw, pooled
from ponder.search.particle_gibbs import ParticleGibbs
from ponder.search.weights import odds, telescoped
from ponder.types import Population, Step, Trace
from ponder.verifiers.rule import Constant

LAYERS = {
    "^": {"a": 0.6, "b": 0.4},
    "a": {"c": 0.3, "d": 0.2, "$": 0.5},
    "b": {"c": 0.2, "d": 0.3, "$": 0.5},
    "c": {"e": 0.4, "$": 0.6},
    "d": {"e": 0.6, "$": 0.4},
    "e": {"$": 1.0},
}
"""Solutions of one to three characters; any rest may follow any past of its length."""

SHARP = {"a": 0.3, "b": 0.8, "c": 0.9, "d": 0.2, "e": 0.6}


class Sharp:
    """Scores a trace by its last character, more decidedly than `Table`."""

    async def score(self, traces: Any) -> Any:
        return [SHARP[trace.text[-1]] for trace in traces]


def gains(text: Any, weight: Any, temperature: Any = 1.0) -> Any:
    """Exp of the sum of the log potentials of a solution, the step that ends it included."""
    r = np.array([1.0, *(SHARP[c] for c in text), SHARP[text[-1]]])
    return np.exp(np.sum(weight(r[1:], r[:-1])) / temperature)


def written(problem: Any, text: Any) -> Trace:
    """A finished trace, one character a step."""
    return Trace(problem, (*(Step(c, (ord(c),)) for c in text), Step("", (EOS,), why="eos")))


@dataclass
class Swept:
    """A draw from the exact posterior, then some sweeps, each from a reference drawn of the last."""

    kernel: Any
    posterior: Any
    sweeps: int = 3

    async def __call__(self, problem: Any, ctx: Any) -> Any:
        texts = list(self.posterior)
        reference = written(problem, texts[ctx.rng.choice(len(texts), p=list(self.posterior.values()))])
        for _ in range(self.sweeps):
            reference = draw(await self.kernel.sweep(problem, ctx, reference), ctx.rng)
        return Population.equal([reference])


def p_value(counts: Any, exact: Any) -> float:
    """Chi-square of counts against exact probabilities; those expected less than five times stand together."""
    total = sum(counts.values())
    assert set(counts) <= set(exact)
    rare = [key for key, p in exact.items() if total * p < 5]
    cells = [[key] for key in exact if key not in rare] + ([rare] if rare else [])
    seen = [sum(counts[key] for key in cell) for cell in cells]
    return float(chisquare(seen, [total * sum(exact[key] for key in cell) for cell in cells]).pvalue)


@pytest.mark.parametrize("ancestors", ["kept", "sampled"])
@pytest.mark.parametrize(("weight", "temperature", "threshold"), [(odds, 2.0, 1.0), (telescoped, 0.5, 0.9)])
def test_a_sweep_leaves_the_posterior_as_it_is(
    lab: Any, ancestors: Any, weight: Any, temperature: Any, threshold: Any
) -> None:
    """Solutions of uneven lengths, whatever the weight, also if resampling waits for uneven weights."""
    language = ToyLanguage(LAYERS)
    exact, _ = lab.posterior(language, lambda text: gains(text, weight, temperature))
    strategy = Swept(ConditionalSMC(2, weight, temperature, threshold, ancestors), exact)
    found = lab.many(strategy, language, Sharp(), range(120))
    assert p_value(Counter(population.traces[0].text for population, _ in found), exact) > 1e-3


def test_a_reference_alone_is_all_there_is(lab: Any) -> None:
    language = ToyLanguage(LAYERS)
    exact = {"ace": 1.0}
    population, ctx = lab.run(Swept(ConditionalSMC(1), exact), language, Sharp())
    assert population.traces[0].text == "ace"
    assert ctx.ledger.total.new_tokens == language.requests == 0


@dataclass
class Redrawn:
    """One sweep around one text; the population begins with the reference as it became."""

    kernel: Any
    text: str

    async def __call__(self, problem: Any, ctx: Any) -> Any:
        return await self.kernel.sweep(problem, ctx, written(problem, self.text))


def test_the_reference_keeps_its_past_or_has_it_redrawn(lab: Any) -> None:
    """A joined trace is finished, and of the reference's length."""
    texts: dict[Any, Any] = {}
    for ancestors in ("kept", "sampled"):
        strategy = Redrawn(ConditionalSMC(3, odds, 4.0, 1.0, ancestors), "ade")
        found = lab.many(strategy, ToyLanguage(LAYERS), Sharp(), range(25))
        assert all(trace.finished for population, _ in found for trace in population.traces)
        texts[ancestors] = {population.traces[0].text for population, _ in found}
    assert texts["kept"] == {"ade"}
    assert len(texts["sampled"]) > 2
    assert {text[-1] for text in texts["sampled"]} == {"e"}
    assert {len(text) for text in texts["sampled"]} == {3}


def test_the_second_sweep_has_one_fresh_particle_less_and_the_reference_at_no_cost(lab: Any, table: Any) -> None:
    language = ToyLanguage(LAYERS)
    for seed in range(10):
        population, ctx = lab.run(ParticleGibbs(8, iterations=2), language, table, seed)
        assert len(population) == 8
        assert population.traces[4] in population.traces[:4]
        assert ctx.ledger.total.samples == 4 + 3
        assert np.exp(population.log_weights[:4]).sum() == pytest.approx(np.exp(population.log_weights[4:]).sum())


def test_the_evidence_is_the_first_sweeps(lab: Any) -> None:
    (one, ctx), _ = lab.many(ParticleGibbs(8, iterations=2), ToyLanguage(LAYERS), Sharp(), range(2))
    first = next(report.population for report in ctx.reports[::-1] if len(report.population) == 4)
    assert one.evidence == pytest.approx(first.evidence)
    assert pooled([first, first]).evidence == pytest.approx(first.evidence)


def distance(found: Any, exact: Any) -> float:
    """Total variation between the runs' mean weights and the posterior."""
    mean = dict.fromkeys(exact, 0.0)
    for population, _ in found:
        for trace, weight in zip(population.traces, population.weights, strict=True):
            mean[trace.text] += weight / len(found)
    return float(0.5 * sum(abs(mean[text] - p) for text, p in exact.items()))


def test_more_sweeps_come_nearer_to_the_posterior(lab: Any) -> None:
    """Two particles a sweep: one sweep is biased, many are not."""
    language = ToyLanguage(LAYERS)
    exact, _ = lab.posterior(language, lambda text: gains(text, telescoped, 0.5))
    distances = []
    for sweeps, runs in ((1, 150), (16, 15)):
        strategy = ParticleGibbs(2 * sweeps, iterations=sweeps, temperature=0.5)
        distances.append(distance(lab.many(strategy, language, Sharp(), range(runs)), exact))
    assert distances[0] > 0.12
    assert distances[1] < distances[0] - 0.03


def test_a_constant_verifier_is_plain_sampling(lab: Any) -> None:
    language = ToyLanguage(LAYERS)
    found = lab.many(ParticleGibbs(4, iterations=2), language, Constant(0.7), range(100))
    assert all(np.allclose(population.weights, 0.25) for population, _ in found)
    counts = Counter(population.traces[i].text for population, _ in found for i in (0, 1, 3))  # 2 is the reference
    assert p_value(counts, dict(language.enumerate())) > 1e-3


@pytest.mark.parametrize(
    ("n", "iterations", "named"), [(8, 3, "1, 2, 4, 8"), (4, 4, "from 8 on"), (4, 0, "from 1"), (1, 2, "1")]
)
def test_iterations_share_the_particles(n: Any, iterations: Any, named: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.iterations={iterations}") as caught:
        ParticleGibbs(n, iterations=iterations)
    assert named in caught.value.hint


@pytest.mark.parametrize(("key", "value"), [("temperature", 0.0), ("ess_threshold", 1.5), ("ancestors", "lost")])
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        ParticleGibbs(8, **{key: value})


def test_one_iteration_is_one_filter_of_any_size(lab: Any) -> None:
    population, _ = lab.run(ParticleGibbs(3, iterations=1), ToyLanguage(LAYERS), Sharp())
    assert len(population) == 3


@pytest.mark.parametrize("ceiling", [None, 3, 9, 20, 35])
def test_reading_for_ancestors_is_billed_and_bounded(lab: Any, table: Any, ceiling: Any) -> None:
    language = ToyLanguage(LAYERS)
    strategy = ParticleGibbs(12, iterations=3, weight=odds, ess_threshold=1.0, ancestors="sampled")
    population, ctx = lab.run(strategy, language, table, budget=Budget(new_tokens=ceiling))
    assert ctx.ledger.total.new_tokens == language.new_tokens <= (ceiling or 1000)
    assert ctx.ledger.total.prompt_tokens == language.prompt_tokens
    assert ctx.ledger.total.verifier_calls == table.calls
    assert max(table.seen.values(), default=0) <= 1
    assert np.all(np.isfinite(population.log_weights))
    again, _ = lab.run(strategy, ToyLanguage(LAYERS), budget=Budget(new_tokens=ceiling))
    assert again.traces == population.traces


def test_redrawing_ancestors_needs_a_sampler_that_reads(lab: Any, table: Any) -> None:
    strategy = ParticleGibbs(8, iterations=2, weight=odds, ess_threshold=1.0, ancestors="sampled")
    with pytest.raises(UserError, match="`read`"):
        lab.run(strategy, Scripted(["ade", "bce", "bde", "ace"]), table)
