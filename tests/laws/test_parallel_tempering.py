"""Parallel tempering: sweeps and swaps leave the chains' joint distribution as it is."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from ponder.errors import UserError
from ponder.samplers.characters import EOS
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.conditional_smc import draw
from ponder.search.parallel_tempering import ParallelTempering
from ponder.search.weights import odds, telescoped
from ponder.types import Population, Step, Trace
from ponder.verifiers.rule import Constant

SHORT = {"^": {"a": 0.6, "b": 0.4}, "a": {"c": 0.5, "$": 0.5}, "b": {"c": 0.3, "$": 0.7}, "c": {"$": 1.0}}
SHARP = {"a": 0.2, "b": 0.5, "c": 0.9}
TEMPERATURES = (1.0, 3.0)


class Sharp:
    async def score(self, traces: Any) -> Any:
        return [SHARP[trace.text[-1]] for trace in traces]


def gains(text: Any, weight: Any, temperature: Any) -> Any:
    """Exp of the sum of the log potentials of a solution, the step that ends it included."""
    r = np.array([1.0, *(SHARP[c] for c in text), SHARP[text[-1]]])
    return np.exp(np.sum(weight(r[1:], r[:-1])) / temperature)


def posteriors(lab: Any, weight: Any) -> Any:
    """The exact distribution of each chain."""
    language = ToyLanguage(SHORT)
    return [lab.posterior(language, lambda text, t=t: gains(text, weight, t))[0] for t in TEMPERATURES]


@dataclass
class Moved:
    """References drawn from the exact posteriors; sweeps of all chains if wanted; then swaps."""

    tempering: Any
    posteriors: Any
    sweeps: int

    async def __call__(self, problem: Any, ctx: Any) -> Any:
        references = []
        for exact in self.posteriors:
            text = list(exact)[ctx.rng.choice(len(exact), p=list(exact.values()))]
            steps = [*(Step(c, (ord(c),)) for c in text), Step("", (EOS,), why="eos")]
            references.append(Trace(problem, tuple(steps)))
        for _ in range(self.sweeps):
            chains = zip(self.tempering.chains, references, strict=True)
            references = [draw(await chain.sweep(problem, ctx, given), ctx.rng) for chain, given in chains]
        return Population.equal(await self.tempering.swapped(references, ctx))


@pytest.mark.parametrize(("weight", "sweeps", "runs"), [(odds, 0, 600), (telescoped, 0, 600), (odds, 1, 150)])
def test_the_chains_joint_distribution_stays_as_it_is(lab: Any, weight: Any, sweeps: Any, runs: Any) -> None:
    cold, hot = posteriors(lab, weight)
    exact = {(one, other): p * q for one, p in cold.items() for other, q in hot.items()}
    strategy = Moved(ParallelTempering(4, TEMPERATURES, 1, weight, 0.9), (cold, hot), sweeps)
    found = lab.many(strategy, ToyLanguage(SHORT), Sharp(), range(runs))
    counts = Counter(tuple(trace.text for trace in population.traces) for population, _ in found)
    rare = [pair for pair in exact if runs * exact[pair] < 5]
    cells = [[pair] for pair in exact if pair not in rare] + ([rare] if rare else [])
    seen = [sum(counts[pair] for pair in cell) for cell in cells]
    assert chisquare(seen, [runs * sum(exact[pair] for pair in cell) for cell in cells]).pvalue > 1e-3


def test_a_swap_towards_the_cold_chain_is_certain_and_another_has_its_chance(lab: Any) -> None:
    """G(b) - G(a) = log .5 - log .2 under telescoped weights."""

    @dataclass
    class Given:
        texts: tuple[str, str]

        async def __call__(self, problem: Any, ctx: Any) -> Any:
            steps = [(Step(c, (ord(c),)), Step("", (EOS,), why="eos")) for c in self.texts]
            references = [Trace(problem, pair) for pair in steps]
            strategy = ParallelTempering(4, TEMPERATURES, 1)
            return Population.equal([(await strategy.swapped(references, ctx))[0] for _ in range(500)])

    climbing, _ = lab.run(Given(("a", "b")), ToyLanguage(SHORT), Sharp())
    assert {trace.text for trace in climbing.traces} == {"b"}
    falling, _ = lab.run(Given(("b", "a")), ToyLanguage(SHORT), Sharp())
    chance = np.exp((np.log(0.2) - np.log(0.5)) * (1 - 1 / 3))
    share = np.mean([trace.text == "a" for trace in falling.traces])
    assert abs(share - chance) < 4 * np.sqrt(chance * (1 - chance) / 500)


def test_the_population_is_the_first_chains(lab: Any) -> None:
    language = ToyLanguage(SHORT)
    population, ctx = lab.run(ParallelTempering(24, (1.0, 2.0, 4.0), 2), language, Sharp())
    assert len(population) == 8  # 24 particles, 3 chains, 2 iterations
    assert ctx.ledger.total.samples == 3 * (4 + 3)
    assert all(trace.finished for trace in population.traces)


def test_the_first_chains_mean_is_near_the_posterior(lab: Any) -> None:
    exact, _ = posteriors(lab, telescoped)
    mean = dict.fromkeys(exact, 0.0)
    for population, _ in lab.many(ParallelTempering(128, TEMPERATURES, 16), ToyLanguage(SHORT), Sharp(), range(8)):
        for trace, weight in zip(population.traces, population.weights, strict=True):
            mean[trace.text] += weight / 8
    assert 0.5 * sum(abs(mean[text] - p) for text, p in exact.items()) < 0.07


def test_a_constant_verifier_is_plain_sampling(lab: Any) -> None:
    language = ToyLanguage(SHORT)
    found = lab.many(ParallelTempering(8, TEMPERATURES, 2), language, Constant(0.7), range(80))
    assert all(np.allclose(population.weights, 0.25) for population, _ in found)
    counts = Counter(population.traces[i].text for population, _ in found for i in (0, 1, 3))  # 2 is the reference
    exact = dict(language.enumerate())
    assert chisquare([counts[text] for text in exact], [240 * p for p in exact.values()]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("n", "temperatures", "iterations", "named"),
    [(10, (1.0, 2.0), 4, "multiples of 8 from 16 on"), (8, (1.0, 2.0), 4, "from 16 on"), (3, (1.0, 2.0), 1, "from 2")],
)
def test_chains_and_iterations_share_the_particles(n: Any, temperatures: Any, iterations: Any, named: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.n={n}") as caught:
        ParallelTempering(n, temperatures, iterations)
    assert named in caught.value.hint


@pytest.mark.parametrize("temperatures", [(), (2.0, 4.0), (1.0, 1.0), (1.0, 4.0, 2.0), (1.0, float("inf")), (0.0, 1.0)])
def test_temperatures_rise_from_one(temperatures: Any) -> None:
    with pytest.raises(UserError, match=r"search\.temperatures="):
        ParallelTempering(64, temperatures)


@pytest.mark.parametrize(("key", "value"), [("iterations", 0), ("ess_threshold", 0.0), ("ancestors", "lost")])
def test_values_out_of_range_are_named(key: Any, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value!r}"):
        ParallelTempering(64, **{key: value})
