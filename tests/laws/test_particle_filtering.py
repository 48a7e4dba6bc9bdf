"""Particle filtering against sums that can be written down."""

from typing import Any, Literal

import numpy as np
import pytest

from ponder.protocols import Until
from ponder.samplers.scripted import Scripted
from ponder.search import resampling, select
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.weights import exponential, odds, probability, telescoped
from ponder.types import Step
from ponder.verifiers.rule import Constant

RUNS = 2000
SCHEMES = [resampling.multinomial, resampling.systematic, resampling.stratified, resampling.residual]


def odds_of(r: Any) -> Any:
    return r / (1 - r)


def product(scores: Any, text: Any, g: Any, end: Any = True) -> Any:
    """Product of the potentials along a solution, the step that ends it included."""
    r = [scores[c] for c in text] + ([scores[text[-1]]] if end else [])
    return np.prod([g(x) for x in r])


def agrees(estimates: Any, exact: Any) -> None:
    estimates = np.asarray(estimates)
    error = estimates.std(ddof=1) / np.sqrt(len(estimates))
    assert abs(estimates.mean() - exact) < 4 * error, (estimates.mean(), exact, error)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_evidence_is_unbiased(lab: Any, even: Any, scores: Any, scheme: Any) -> None:
    _, exact = lab.posterior(even, lambda text: product(scores, text, odds_of))
    strategy = ParticleFiltering(3, resampling=scheme, ess_threshold=0.8)
    agrees([np.exp(p.evidence) for p, _ in lab.many(strategy, even, seeds=range(RUNS))], exact)


@pytest.mark.parametrize("threshold", [0.05, 1.0])
def test_the_evidence_is_unbiased_however_often_particles_are_resampled(
    lab: Any, even: Any, scores: Any, threshold: Any
) -> None:
    _, exact = lab.posterior(even, lambda text: product(scores, text, lambda r: r))
    strategy = ParticleFiltering(3, weight=probability, ess_threshold=threshold)
    agrees([np.exp(p.evidence) for p, _ in lab.many(strategy, even, seeds=range(1000))], exact)


def test_the_evidence_of_uneven_solutions_is_unbiased_when_ended_ones_absorb(
    lab: Any, uneven: Any, scores: Any
) -> None:
    _, exact = lab.posterior(uneven, lambda text: product(scores, text, odds_of))
    strategy = ParticleFiltering(3, finished="absorb", ess_threshold=0.8)
    agrees([np.exp(p.evidence) for p, _ in lab.many(strategy, uneven, seeds=range(RUNS))], exact)


@pytest.mark.parametrize("finished", ["rescore", "absorb"])
def test_telescoped_weights_leave_the_last_score_alone(lab: Any, uneven: Any, scores: Any, finished: Any) -> None:
    _, exact = lab.posterior(uneven, lambda text: scores[text[-1]])
    strategy = ParticleFiltering(3, weight=telescoped, finished=finished, ess_threshold=1.0)
    agrees([np.exp(p.evidence) for p, _ in lab.many(strategy, uneven, seeds=range(1000))], exact)


def test_telescoped_weights_follow_the_survivors_of_a_resampling(lab: Any, even: Any, scores: Any) -> None:
    """Resampled every round, a survivor's next weight is its new score over its own last one."""
    strategy = ParticleFiltering(6, weight=telescoped, ess_threshold=1.0)
    for population, ctx in lab.many(strategy, even, seeds=range(20)):
        for report in ctx.reports[:3]:
            if report.population.log_evidence == 0:
                continue
            for trace, log_weight in zip(report.population.traces, report.population.log_weights, strict=True):
                r = [scores[c] for c in trace.text]
                assert log_weight == pytest.approx(np.log(r[-1] / r[-2]))
        assert population.log_evidence != 0


def test_temperature_divides_the_log_potential(lab: Any, even: Any, scores: Any) -> None:
    _, exact = lab.posterior(even, lambda text: product(scores, text, lambda r: odds_of(r) ** 0.5))
    strategy = ParticleFiltering(3, temperature=2.0, ess_threshold=0.8)
    agrees([np.exp(p.evidence) for p, _ in lab.many(strategy, even, seeds=range(1000))], exact)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_posterior_over_answers_converges(lab: Any, even: Any, scores: Any, scheme: Any) -> None:
    exact, _ = lab.posterior(even, lambda text: product(scores, text, odds_of))
    distance = []
    for n, runs in [(2, 300), (8, 200), (64, 80)]:
        mean = dict.fromkeys(exact, 0.0)
        for population, _ in lab.many(ParticleFiltering(n, resampling=scheme), even, seeds=range(runs)):
            for trace, weight in zip(population.traces, population.weights, strict=True):
                mean[trace.text] += weight / runs
        distance.append(0.5 * sum(abs(mean[text] - p) for text, p in exact.items()))
    assert distance[0] > distance[1] > distance[2]
    assert distance[2] < 0.05  # 80 x 64 correlated particles on 8 answers


def test_one_population_of_many_particles_is_near_the_posterior(lab: Any, uneven: Any, scores: Any) -> None:
    exact, _ = lab.posterior(uneven, lambda text: product(scores, text, odds_of))
    population, _ = lab.run(ParticleFiltering(5000, finished="absorb"), uneven)
    for text, p in exact.items():
        mass = sum(w for t, w in zip(population.traces, population.weights, strict=True) if t.text == text)
        assert mass == pytest.approx(p, abs=0.03)


@pytest.mark.parametrize("weight", [odds, probability, telescoped, exponential])
def test_a_constant_verifier_is_plain_sampling(lab: Any, uneven: Any, weight: Any) -> None:
    strategy, runs = ParticleFiltering(4, weight=weight, ess_threshold=0.5), 250
    exact = dict(uneven.enumerate())
    counts: dict[str, int] = {}
    for population, _ in lab.many(strategy, uneven, Constant(0.8), range(runs)):
        assert np.allclose(population.weights, 0.25)
        for trace in population.traces:
            counts[trace.text] = counts.get(trace.text, 0) + 1
    chi2 = sum((counts[text] - 4 * runs * p) ** 2 / (4 * runs * p) for text, p in exact.items())
    assert chi2 < 18.5  # 99.9 % point of chi-square with 4 degrees of freedom


class Place:
    """The score that stands at the end of a solution."""

    async def score(self, traces: Any) -> Any:
        return [float(trace.text[-2:]) for trace in traces]


@pytest.mark.parametrize("threshold", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_best_of_the_finished_is_never_lost(lab: Any, scheme: Any, threshold: Any) -> None:
    sampler = Scripted(["0.6", "a.5", "b.5", "c.5"])
    strategy = ParticleFiltering(4, resampling=scheme, ess_threshold=threshold)
    lab.step = Until(stop=("\n",))
    for population, _ in lab.many(strategy, sampler, Place(), range(50)):
        assert select.argmax(population, lambda t: t.text, np.random.default_rng(0)) == "0.6"


class One:
    """Nearly sure of solutions that begin with "d", and of no other."""

    async def score(self, traces: Any) -> Any:
        return [0.999 if trace.text.startswith("d") else 0.01 for trace in traces]


@pytest.mark.parametrize(("threshold", "beginnings"), [(0.2, "abcd"), (0.3, "d"), (1.0, "d")])
def test_particles_are_resampled_when_the_sample_size_falls_below_the_threshold(
    lab: Any, threshold: Any, beginnings: Any
) -> None:
    """One of four particles has all the weight: an effective sample size of 1, a quarter of n."""
    strategy = ParticleFiltering(4, ess_threshold=threshold)
    population, ctx = lab.run(strategy, Scripted(["ax", "bx", "cx", "dx"]), One())
    assert "".join(t.text[0] for t in ctx.reports[0].population.traces) == "abcd"
    assert "".join(sorted({t.text[0] for t in population.traces})) == beginnings


@pytest.mark.parametrize("finished", ["rescore", "absorb"])
def test_finished_particles_cost_nothing(lab: Any, uneven: Any, table: Any, finished: Any) -> None:
    """However many rounds follow, each distinct trace is scored once, and no ended one is continued."""
    population, ctx = lab.run(ParticleFiltering(16, finished=finished, ess_threshold=1.0), uneven, table)
    assert set(table.seen.values()) == {1}
    assert ctx.ledger.total.verifier_calls == table.calls
    assert all(trace.finished for trace in population.traces)


def test_a_finished_particle_is_neither_stepped_nor_scored_again(lab: Any, table: Any) -> None:
    """Of two particles one ends after a round; the next rounds send one request each."""

    def script(trace: Any, seed: Any) -> Any:
        if not trace.steps:
            return Step("a", why="eos") if seed % 2 else Step("b")
        return Step("c", why="eos" if len(trace) == 5 else "stop")

    sampler = Scripted(script)
    population, _ctx = lab.run(ParticleFiltering(2, ess_threshold=0.001), sampler, table)
    assert sorted(len(t) for t in population.traces) == [1, 6]
    assert sampler.requests == 6
    assert table.calls == 2 + 5


def test_an_ended_particle_keeps_its_weight_or_gains_its_potential_again(lab: Any, table: Any, scores: Any) -> None:
    def script(trace: Any, seed: Any) -> Any:
        if not trace.steps:
            return Step("a", why="eos") if seed % 2 else Step("b")
        return Step("c", why="eos")

    logit = {c: np.log(odds_of(scores[c])) for c in "abc"}
    modes: list[tuple[Literal["rescore", "absorb"], int]] = [("absorb", 1), ("rescore", 2)]
    for finished, rounds in modes:
        strategy = ParticleFiltering(2, ess_threshold=0.001, finished=finished)
        population, _ = lab.run(strategy, Scripted(script), table)
        weights = {t.text: w for t, w in zip(population.traces, population.log_weights, strict=True)}
        assert weights == pytest.approx({"a": rounds * logit["a"], "bc": logit["b"] + logit["c"]})


def test_three_steps_are_three_rounds(lab: Any, table: Any) -> None:
    lab.max_steps = 3
    population, ctx = lab.run(ParticleFiltering(2), Scripted(["aaaaaaaaaa"]), table)
    assert [len(t) for t in population.traces] == [3, 3]
    assert len(ctx.reports) == 3
    assert not any(t.finished for t in population.traces)


def test_an_end_without_delimiter_ends_after_one_round(lab: Any, table: Any) -> None:
    lab.step = Until(stop=("\n\n",))
    population, ctx = lab.run(ParticleFiltering(2), Scripted(["a"]), table)
    assert len(ctx.reports) == 1
    assert all(t.finished for t in population.traces)


def test_certain_scores_keep_weights_finite(lab: Any, even: Any) -> None:
    for weight in (odds, probability, telescoped):
        for value in (0.0, 1.0):
            population, _ = lab.run(ParticleFiltering(4, weight=weight), even, Constant(value))
            assert np.all(np.isfinite(population.log_weights))
            assert np.isfinite(population.evidence)


@pytest.mark.parametrize(
    ("final", "rounds", "temperatures"),
    [(0.5, 2, [2, 1.25, 0.5, 0.5]), (3.0, 4, [2, 2.25, 2.5, 2.75]), (None, 1, [2] * 4)],
)
def test_the_temperature_moves_in_a_straight_line_and_stays(
    lab: Any, even: Any, final: Any, rounds: Any, temperatures: Any
) -> None:
    """Equal weights are not resampled, so they show each round's potential."""
    strategy = ParticleFiltering(2, temperature=2.0, final_temperature=final, annealing_steps=rounds)
    _, ctx = lab.run(strategy, even, Constant(0.8))
    totals = [report.population.log_weights[0] for report in ctx.reports]
    assert np.diff([0.0, *totals]) == pytest.approx(np.log(4) / np.array(temperatures))


def test_the_last_report_is_the_result_also_if_resampling_leaves_ended_particles_only(lab: Any, uneven: Any) -> None:
    found = lab.many(ParticleFiltering(2, ess_threshold=1.0), uneven, seeds=range(40))
    assert all(ctx.reports[-1].population is population for population, ctx in found)
    assert any(len(ctx.reports) > max(len(t) for r in ctx.reports for t in r.population.traces) for _, ctx in found)
