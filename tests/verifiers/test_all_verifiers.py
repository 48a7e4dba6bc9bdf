"""What holds for every verifier: each yaml in conf/verifier is under these laws from its first day.

Judges are scripted, reward models are tiny random checkpoints of their families on transformers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from ponder.context import Setup
from ponder.ledger import Budget, BudgetExhausted
from ponder.samplers.scripted import Scripted
from ponder.search.best_of_n import BestOfN
from ponder.search.weights import exponential
from ponder.types import Cost, Problem, Score, Step, Trace
from ponder.verifiers.check import findings, spelled
from tests import tiny_families
from tests.verifiers.asking import AWKWARD, Talker, solution

pytestmark = pytest.mark.filterwarnings("default")  # torch and transformers are imported
CONF = Path(__file__).parents[2] / "conf" / "verifier"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "none")

TINY = {
    "qwen": "qwen",
    "embedded": "qwen",
    "skywork": "skywork",
    "math_shepherd": "math_shepherd",
    "rlhflow": "rlhflow",
    "math_psa": "math_psa",
    "trl": "trl",
    "pure": "pure",
}
"""By family, the checkpoint that stands for it."""

MARKS = "a <extra_0> ки b\n\n\n\n\nc + d\n- <|im_end|> <|eot_id|> (Yes/No)? Yes"
"""What ends steps, or is special, to one model or another."""

GOING = Trace(Problem("What is 2 + 3?", "What is 2 + 3?"), (Step("2 + 3 = ", why="length"),))
TRACES = [
    *AWKWARD,
    GOING,
    replace(GOING, closed=True),
    solution(MARKS, f"{MARKS}\n\n", question=MARKS),
    solution(*[f"{i} + 1 = {i + 1}\n\n" for i in range(12)]),
]


def says(trace: Trace, seed: int) -> str:
    """A reply that most verifiers can read, and in a third of the cases none can."""
    if seed % 3 == 0:
        return "I would rather talk about the weather."
    return (
        "Step 1: fine \\boxed{correct}. The first wrong step is \\boxed{1}. Scores: \\boxed{7, 4, 2}. Best: \\boxed{1}."
    )


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of tiny checkpoints by name, each built when it is first asked for."""
    folder, known = tmp_path_factory.mktemp("tiny"), {}

    def found(name: str) -> str:
        if name not in known:
            builders = tiny_families.FAMILIES | tiny_families.OUTCOMES
            known[name] = str(builders[name](folder / name))
        return known[name]

    return found


@pytest.fixture(params=NAMES)
def made(request: pytest.FixtureRequest, checkpoints: Any) -> Iterator[Any]:
    """Makes the verifier of a yaml, given its judge; nothing else of the yaml is changed than where its model lies."""
    GlobalHydra.instance().clear()
    with initialize_config_module("ponder.conf", version_base="1.3", job_name="test"):
        config = compose("run", [f"verifier={request.param}", "sampler=scripted"]).verifier
    lighten(config, checkpoints)
    opened: list[Any] = []

    def make(judge: Any) -> Any:
        given = {"judge": judge} if "judge" in config else {}
        opened.append(instantiate(config, **given))
        return opened[-1]

    yield make
    for verifier in opened:
        if hasattr(verifier, "close"):
            verifier.close()


def lighten(config: Any, checkpoints: Any) -> None:
    """Reward models, wherever they stand, become tiny ones on transformers."""
    if not isinstance(config, DictConfig):
        return
    target = str(config.get("_target_", ""))
    if target.endswith((".ProcessRewardModel", ".OutcomeRewardModel")):
        several = config.get("weights") is not None
        name = TINY[config.family] if "family" in config else "armorm" if several else "outcome_llama"
        config.model, config.engine, config.dtype = checkpoints(name), "transformers", None
        if several:
            config.weights = [0.2] * 5
    for value in config.values():
        lighten(value, checkpoints)


def fitting(verifier: Any, traces: Sequence[Trace]) -> list[Trace]:
    """The traces with what a verifier says it needs: log-probabilities, or a problem that its task knows."""
    traces = [*map(spelled, traces)] if getattr(verifier, "needs_logprobs", False) else list(traces)
    problem = getattr(verifier, "toy_problem", None)
    return traces if problem is None else [replace(trace, problem=problem) for trace in traces]


def setup(verifier: Any, **more: Any) -> Setup:
    return Setup(samplers={"policy": Scripted(["x"])}, verifiers={"verifier": verifier}, **more)


async def test_it_keeps_the_contract(made: Any) -> None:
    broken = [f for f in await findings(made(Talker(says))) if not f.passed]
    assert broken == []
    verifier = made(Talker(says))
    broken = [f for f in await findings(verifier, traces=fitting(verifier, TRACES)) if not f.passed]
    assert broken == []


async def test_the_bill_is_what_was_emitted_and_never_above_a_ceiling(made: Any) -> None:
    judge = Talker(says)
    verifier = made(judge)
    by_problem: dict[str, list[Trace]] = {}
    for trace in fitting(verifier, TRACES):
        by_problem.setdefault(trace.problem.id, []).append(trace)
    spent = Cost()
    for traces in by_problem.values():
        ctx = setup(verifier).context(traces[0].problem, 0)
        await ctx.score(traces)
        spent += ctx.ledger.total
        for trace in traces:
            known = ctx.known_score(trace)
            assert not isinstance(known, Score) or len(known.steps) in (0, len(trace))
        await ctx.score(traces[::-1])
        assert ctx.ledger.total.verifier_calls == len(set(traces)), "what was scored before costs nothing"
    assert (spent.new_tokens, spent.prompt_tokens) == (judge.new_tokens, judge.prompt_tokens)
    assert spent.verifier_tokens >= spent.new_tokens
    for ceiling in (40, 4000):
        for traces in by_problem.values():
            judge = Talker(says)
            ctx = setup(made(judge), budget=Budget(verifier_tokens=ceiling)).context(traces[0].problem, 0)
            try:
                await ctx.score(traces)
            except BudgetExhausted:
                assert judge.new_tokens == 0, "nothing is spent before the ceiling says no"
            assert ctx.ledger.total.verifier_tokens <= ceiling


async def test_best_of_n_with_it_is_the_same_again_and_in_company(made: Any) -> None:
    verifier = made(Talker(says))
    problem = getattr(verifier, "toy_problem", None) or Problem("q", "What is 2 + 3?")
    texts = ["2 + 3 = 5.\n\nSo \\boxed{5}.", "2 + 3 = 6.\n\nSo \\boxed{6}.", "It is 5.\n\nSo \\boxed{5}.", ""]

    class Sure(Scripted):
        """Has log-probabilities."""

        async def sample(self, *given: Any, **named: Any) -> list[Step]:
            steps = await super().sample(*given, **named)
            return [spelled(Trace(problem, (step,))).steps[0] for step in steps]

        def split(self, trace: Trace, step: Step, until: Any) -> list[Step]:
            return [step]

    async def once() -> list[float]:
        parts = Setup(samplers={"policy": Sure(texts, order="seed")}, verifiers={"verifier": verifier})
        population = await BestOfN(6, exponential)(problem, parts.context(problem, 3))
        return [float(weight) for weight in population.log_weights]

    alone = await once()
    assert all(map(math.isfinite, alone))
    for other in await asyncio.gather(once(), once()):
        assert other == pytest.approx(alone, abs=1e-4)
