"""One problem from Python: `ponder.solve` in a script, a notebook or a running event loop."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ponder.context import SOLUTION, STEP, Setup
from ponder.ledger import Budget
from ponder.protocols import Sampler, Strategy, Until, Verifier
from ponder.runner import Select, search
from ponder.types import Cost, Population, Problem, Trace, whole_text

V = TypeVar("V")


@dataclass(frozen=True)
class Solution:
    """What `solve` found.

    Attributes:
        answer: the selected answer, None if no trace had one.
        population: the final traces and weights.
        cost: what was spent, by model role.
        seconds: wall time.
    """

    answer: str | None
    population: Population
    cost: Mapping[str, Cost]
    seconds: float


async def solve_async(
    problem: Problem | str,
    strategy: Strategy,
    *,
    sampler: Sampler,
    select: Select,
    verifier: Verifier | None = None,
    answer: Callable[[Trace], str | None] = whole_text,
    budget: Budget | None = None,
    seed: int = 0,
    step: Until = STEP,
    solution: Until = SOLUTION,
    max_steps: int = 40,
) -> Solution:
    """Solves one problem in the running event loop; arguments as for `solve`."""
    if isinstance(problem, str):
        problem = Problem(id=hashlib.blake2b(problem.encode(), digest_size=8).hexdigest(), prompt=problem)
    setup = Setup(
        samplers={"policy": sampler},
        verifiers={"verifier": verifier} if verifier else {},
        step=step,
        solution=solution,
        max_steps=max_steps,
        budget=budget or Budget(),
    )
    ctx = setup.context(problem, seed, answer)
    population = await search(strategy, problem, ctx)
    return Solution(select(population, answer, ctx.rng), population, dict(ctx.ledger.spent), ctx.ledger.seconds)


def solve(problem: Problem | str, strategy: Strategy, **settings: Any) -> Solution:
    """Solves one problem; works in a script, a notebook and inside a running event loop.

    Args:
        problem: a Problem, or its prompt.
        strategy: any strategy of `ponder.search`, or yours.
        **settings: `sampler` and `select` (required), `verifier`, `answer` (a function from
            a trace to its answer; the whole text if omitted), `budget`, `seed`, `step`,
            `solution`, `max_steps`; see `solve_async`.

    Returns:
        The answer with the population behind it and its cost.
    """
    return in_background(solve_async(problem, strategy, **settings))


_loop_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def in_background(work: Coroutine[Any, Any, V]) -> V:
    """Runs a coroutine on the process's one background event loop, and waits for it.

    One loop for all callers: engines belong to the loop that started them, so notebook
    cells and the jobs of a multirun share theirs.
    """
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="ponder", daemon=True).start()
    ended = threading.Event()

    async def until_ended() -> V:
        try:
            return await work
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(until_ended(), _loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        ended.wait(10)  # what is being written down is written before its file is closed
        raise
