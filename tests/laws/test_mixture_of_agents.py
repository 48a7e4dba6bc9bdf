"""Mixture-of-agents: layers, roles and their bills, and what stands beside the aggregate."""

import asyncio
from typing import Any

import numpy as np
import pytest

from ponder.context import Context, Setup
from ponder.errors import UserError
from ponder.ledger import Ledger
from ponder.search import select
from ponder.search.mixture_of_agents import MixtureOfAgents
from ponder.types import Problem
from tests.laws.speaking import Speaker, prompts

RNG = np.random.default_rng(0)


def test_each_layer_sees_the_whole_layer_before(lab: Any) -> None:
    model = Speaker({"solve": list("abc"), "layer": list("def"), "aggregate": ["z"]})
    population, _ = lab.run(MixtureOfAgents(3), model)
    assert [trace.text for trace in population.traces] == list("defz")
    assert select.argmax(population, lambda trace: trace.text, RNG) == "z"
    *layer, last = prompts(model)[3:]
    assert len(layer) == 3
    assert all(f"Attempt {i}:\n{text}" in prompt for prompt in layer for i, text in enumerate("abc", start=1))
    assert all(f"Attempt {i}:\n{text}" in last for i, text in enumerate("def", start=1))


def test_several_models_propose_in_turn_and_are_billed_apart() -> None:
    one, other = (Speaker({"solve": list(text), "aggregate": ["zz"]}) for text in ("ac", "b"))
    ctx = Context(Setup({"policy": one, "other": other}), Ledger(), np.random.default_rng(0))
    strategy = MixtureOfAgents(3, layers=1, proposers=["policy", "other"], aggregator="other")
    population = asyncio.run(strategy(Problem("p", "ask"), ctx))
    assert [trace.text for trace in population.traces] == ["a", "c", "b", "zz"]
    assert ctx.ledger.spent["policy"].new_tokens == 4
    assert ctx.ledger.spent["other"].new_tokens == 2 + 3
    assert [len(report.population) for report in ctx.reports][-2:] == [3, 4]


@pytest.mark.parametrize("given", [{"layers": 0}, {"proposers": []}, {"proposers": "policy"}])
def test_arguments_out_of_range(given: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{next(iter(given))}"):
        MixtureOfAgents(2, **given)
