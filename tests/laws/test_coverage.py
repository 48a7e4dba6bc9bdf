"""Coverage: what the samples of `search=coverage` estimate is the chance that one of k is right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ponder.scripts.metrics import pass_at_k


def coverage(n: int) -> Any:
    node = OmegaConf.load(Path(__file__).parents[2] / "conf" / "search" / "coverage.yaml")
    return instantiate(OmegaConf.create({"budget": {"n": n}, "search": node}).search)


@pytest.mark.parametrize("k", [1, 4, 10])
def test_pass_at_k_is_unbiased(lab: Any, even: Any, k: Any) -> None:
    n, runs, p = 10, 250, dict(even.enumerate())["ace"]
    done = lab.many(coverage(n), even, seeds=range(runs))
    found = np.array([pass_at_k(n, sum(t.text == "ace" for t in population.traces), k) for population, _ in done])
    assert abs(found.mean() - (1 - (1 - p) ** k)) < 4 * found.std() / np.sqrt(runs)
