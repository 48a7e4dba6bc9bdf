"""Strategies on real engines: what the ledger says is what the engines did."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder.context import STEP, Setup
from ponder.ledger import Budget
from ponder.protocols import Until
from ponder.runner import run, search
from ponder.scripts.records import search_fields
from ponder.scripts.rows import RowFile, read_rows
from ponder.search import select
from ponder.search.best_of_n import BestOfN
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.self_consistency import SelfConsistency
from ponder.tasks.arithmetic import Arithmetic
from ponder.types import Cost, Problem, Score, Step, Trace
from tests.conftest import ENGINE

pytest.importorskip("vllm")
session = pytest.mark.asyncio(loop_scope="session")
SOLUTION = Until(max_tokens=96)
TASK = Arithmetic(level=2, limit=4)
STRATEGIES: dict[str, Any] = {
    "particle_filtering": ParticleFiltering(8),
    "best_of_n": BestOfN(8),
    "self_consistency": SelfConsistency(8),
}
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


class Watched:
    """A sampler or verifier that notes what goes through it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.quote, self.split = inner.quote, getattr(inner, "split", None)
        self.steps: list[tuple[Trace, Step]] = []
        self.scored: Counter[Trace] = Counter()

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        steps: list[Step] = await self.inner.sample(trace, n, until, seed=seed)
        self.steps += [(trace, step) for step in steps]
        return steps

    async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        raise NotImplementedError

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        self.scored.update(traces)
        scores: list[Score] = await self.inner.score(traces)
        return scores


@dataclasses.dataclass
class Engine:
    """What an engine emitted, counted where its outputs leave it."""

    tokens: int = 0
    requests: int = 0


@pytest.fixture
def policy(vllm_policy: Any, policy_folder: str) -> Any:
    """The session's policy at temperature 1, on the session's engine."""
    from ponder.samplers.vllm_engine import VLLMSampler

    return Watched(VLLMSampler(policy_folder, temperature=1.0, engine=ENGINE))


@pytest.fixture
def verifier(vllm_reward: Any) -> Any:
    return Watched(vllm_reward)


@pytest.fixture
async def emitted(vllm_policy: Any, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Counts tokens at the engine itself, beneath the sampler."""
    engine, counted = await vllm_policy._engine(), Engine()
    add_request = engine.add_request

    async def adding(*args: Any, **kwargs: Any) -> Any:
        queue = await add_request(*args, **kwargs)
        get = queue.get

        async def getting() -> Any:
            output = await get()
            counted.tokens += sum(len(one.token_ids) for one in output.outputs)
            return output

        queue.get = getting
        counted.requests += 1
        return queue

    monkeypatch.setattr(engine, "add_request", adding)
    return counted


def setup(policy: Any, verifier: Any, budget: Budget | None = None, run_budget: Budget | None = None) -> Setup:
    return Setup(
        {"policy": policy},
        {"verifier": verifier},
        solution=SOLUTION,
        max_steps=12,
        budget=budget or Budget(),
        run_budget=run_budget or Budget(),
        backoff=0.001,
    )


async def rows(path: Path, name: str, shared: Setup, limit: int = 4) -> dict[str, Any]:
    """The rows of a run, by problem."""
    file = RowFile(path)
    task = dataclasses.replace(TASK, limit=limit)
    try:
        await run(
            task,
            STRATEGIES[name],
            shared,
            rows=file,
            stamp={"run": "test"},
            seed=3,
            select="argmax",
            describe=search_fields,
            selectors=select.SELECTORS,
        )
    finally:
        file.close()
    return {row["problem_id"]: row for row in read_rows(path)}


def booked(found: dict[str, Any], role: str, name: str) -> Any:
    return sum(row["cost"].get(role, Cost().asdict())[name] for row in found.values())


@session
@every_strategy
async def test_the_ledger_equals_what_the_engines_did(
    tmp_path: Path, policy: Any, verifier: Any, emitted: Engine, name: str
) -> None:
    found = await rows(tmp_path / "rows.jsonl", name, setup(policy, verifier))
    assert [row["error"] for row in found.values()] == [None] * 4
    assert all(len(row["population"]) == 8 for row in found.values())
    assert emitted.requests == len(policy.steps)
    assert emitted.tokens == booked(found, "policy", "new_tokens") > 0
    assert emitted.tokens == sum(len(step.token_ids) for _, step in policy.steps)
    assert booked(found, "policy", "samples") == 4 * 8
    assert booked(found, "policy", "flops") > 0
    kept = sum(sum(trace["tokens"]) for row in found.values() for trace in row["traces"])
    assert kept <= emitted.tokens
    if name == "self_consistency":
        assert not verifier.scored
        return
    assert booked(found, "verifier", "verifier_tokens") > 0
    assert set(verifier.scored.values()) == {1}
    assert booked(found, "verifier", "verifier_calls") == len(verifier.scored)
    assert all(trace["score"] is not None for row in found.values() for trace in row["traces"] if trace["finished"])
    scored = [trace for row in found.values() for trace in row["traces"] if trace["scores"]]
    assert scored
    assert all(len(trace["scores"]) == len(trace["steps"]) for trace in scored)


@session
async def test_a_step_finds_all_whole_blocks_of_its_prefix_in_the_cache(policy: Any, verifier: Any) -> None:
    (problem,) = Arithmetic(level=4, limit=1).problems()
    ctx = setup(policy, verifier).context(problem, seed=3)
    await search(ParticleFiltering(8), problem, ctx)
    block = (await policy.inner._engine()).vllm_config.cache_config.block_size
    first = [(trace, step.cost) for trace, step in policy.steps if step.cost.prompt_tokens]
    later = [cost for trace, cost in first if trace.steps]
    assert max(cost.cached_tokens for cost in later) >= 2 * block
    # The step before computed all of the prefix but its last token, which is always computed anew.
    assert [cost.cached_tokens for cost in later] == [(cost.prompt_tokens - 1) // block * block for cost in later]
    assert ctx.ledger.total.cached_tokens == sum(cost.cached_tokens for _, cost in first)
    assert ctx.ledger.total.prompt_tokens == sum(cost.prompt_tokens for _, cost in first)


@session
@every_strategy
@pytest.mark.parametrize("ceiling", [1, 60, 200])
async def test_a_ceiling_of_new_tokens_is_never_exceeded(
    tmp_path: Path, policy: Any, verifier: Any, emitted: Engine, name: str, ceiling: int
) -> None:
    shared = setup(policy, verifier, Budget(new_tokens=ceiling), Budget(new_tokens=3 * ceiling))
    found = await rows(tmp_path / "rows.jsonl", name, shared)
    assert [row["error"] for row in found.values()] == [None] * 4
    assert all(row["cost"].get("policy", {}).get("new_tokens", 0) <= ceiling for row in found.values())
    assert emitted.tokens == booked(found, "policy", "new_tokens") <= 3 * ceiling


@session
async def test_ends_and_cuts(policy: Any, verifier: Any) -> None:
    """A solution's last line has no delimiter: its end token finishes it. A limit finishes nothing."""
    ctx = setup(policy, verifier).context(next(iter(TASK.problems())), seed=5)
    population = await search(ParticleFiltering(8), next(iter(TASK.problems())), ctx)
    finished = [trace for trace in population.traces if trace.finished]
    assert finished
    for trace in finished:
        assert trace.steps[-1].why == "eos"
        assert not trace.steps[-1].text.endswith("\n\n")
        assert all(step.why != "eos" for step in trace.steps[:-1])
    short = dataclasses.replace(setup(policy, verifier), solution=Until(max_tokens=5))
    cut = await search(ParticleFiltering(8), next(iter(TASK.problems())), short.context(Problem("p", "17;a*3?"), 5))
    lengths = [trace for trace in cut.traces if trace.steps[-1].why == "length"]
    assert lengths
    assert all(trace.closed and not trace.finished and len(trace.token_ids) == 5 for trace in lengths)


@session
async def test_steps_end_with_their_delimiter_and_join_to_the_whole(policy: Any, verifier: Any) -> None:
    problem = next(iter(TASK.problems()))
    population = await search(ParticleFiltering(8), problem, setup(policy, verifier).context(problem, 1))
    tokenizer = policy.inner._prompts.tokenizer
    stopped = [step for trace in population.traces for step in trace.steps if step.why == "stop"]
    assert stopped
    assert all(step.text.endswith(STEP.stop) for step in stopped)
    for trace in population.traces:
        whole = tokenizer.decode(list(trace.token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert trace.text == whole.rstrip("\ufffd")


@session
@every_strategy
async def test_alone_equals_in_company(tmp_path: Path, policy: Any, verifier: Any, name: str) -> None:
    """Compared are answers, texts and ends of all traces exactly, scores and log weights up to floating point."""
    company = await rows(tmp_path / "company.jsonl", name, setup(policy, verifier), limit=4)
    alone = await rows(tmp_path / "alone.jsonl", name, setup(policy, verifier), limit=1)
    ((problem, one),) = alone.items()
    other = company[problem]
    assert one["answers"] == other["answers"]
    for field in ("steps", "why", "tokens", "answer", "finished"):
        assert [trace[field] for trace in one["traces"]] == [trace[field] for trace in other["traces"]]
    assert [place for place, _ in one["population"]] == [place for place, _ in other["population"]]
    assert [w for _, w in one["population"]] == pytest.approx([w for _, w in other["population"]], abs=1e-2)
    for mine, theirs in zip(one["traces"], other["traces"], strict=True):
        assert mine["scores"] == pytest.approx(theirs["scores"], abs=1e-3)
        assert mine["logprobs"] == pytest.approx(theirs["logprobs"], abs=1e-3)
