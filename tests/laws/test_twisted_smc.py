"""Twisted SMC as its yaml makes it: the target is p(x) r(x), however long a solution is."""

from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf

YAML = Path(__file__).parents[2] / "conf" / "search" / "twisted_smc.yaml"


def twisted(n: int) -> Any:
    return instantiate(OmegaConf.create({"budget": {"n": n}, "search": OmegaConf.load(YAML)}).search)


def test_the_evidence_is_the_mean_final_score(lab: Any, uneven: Any, scores: Any) -> None:
    exact = sum(p * scores[text[-1]] for text, p in uneven.enumerate())
    estimates = [np.exp(population.evidence) for population, _ in lab.many(twisted(4), uneven, seeds=range(200))]
    assert abs(np.mean(estimates) - exact) < 4 * np.std(estimates, ddof=1) / np.sqrt(200)


def test_many_particles_are_near_the_model_weighted_by_the_final_score(lab: Any, uneven: Any, scores: Any) -> None:
    exact, _ = lab.posterior(uneven, lambda text: scores[text[-1]])
    population, _ = lab.run(twisted(4000), uneven)
    for text, p in exact.items():
        pairs = zip(population.traces, population.weights, strict=True)
        assert abs(sum(weight for trace, weight in pairs if trace.text == text) - p) < 0.03


def test_without_resampling_weights_are_the_last_scores(lab: Any, uneven: Any, scores: Any) -> None:
    population, _ = lab.run(twisted(2), uneven)
    assert population.log_evidence == 0  # two particles of scores .3 to .7 never fall below half
    expected = [np.log(scores[trace.text[-1]]) for trace in population.traces]
    assert np.allclose(population.log_weights, expected)
