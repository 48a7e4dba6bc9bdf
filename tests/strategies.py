"""Every strategy that a yaml in conf/search describes, for tests that all of them are under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ponder.errors import UserError

SEARCHES = sorted((Path(__file__).parents[1] / "conf" / "search").glob("*.yaml"))


class Made:
    """A strategy of a yaml, its size as given."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.node = OmegaConf.load(path)

    def __call__(self, n: Any) -> Any:
        try:
            return instantiate(OmegaConf.create({"budget": {"n": n}, "search": self.node}).search)
        except InstantiationException as error:
            raise error.__cause__ or error from None

    def at_least(self, n: int) -> Any:
        """The smallest size from n on that its shape allows, doubling."""
        while True:
            try:
                return self(n)
            except UserError:
                n *= 2
                if n > 64:
                    raise


STRATEGIES: dict[str, Any] = {path.stem: Made(path) for path in SEARCHES}
every_strategy = pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES)
