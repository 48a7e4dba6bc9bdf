"""`solve`: in a script, in a thread, inside a running event loop; and `solve_async` on one's own loop."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from ponder import Budget, Cost, Problem, Until, UserError, solve, solve_async
from ponder.errors import SamplerError
from ponder.samplers.scripted import Scripted
from ponder.search.best_of_n import BestOfN
from ponder.search.particle_filtering import ParticleFiltering
from ponder.search.select import argmax, majority
from ponder.search.self_consistency import SelfConsistency
from ponder.types import Score, Step, Trace
from ponder.verifiers.rule import Length

SETTINGS: dict[str, Any] = {"select": argmax, "verifier": Length(4)}


def sampler() -> Scripted:
    return Scripted(["12", "1234", "123"])


class Costly:
    """Three tokens a trace."""

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        return [Score(0.5, (), Cost(verifier_tokens=3)) for _ in traces]


def test_in_a_script() -> None:
    code = (
        "from ponder import solve\n"
        "from ponder.samplers.scripted import Scripted\n"
        "from ponder.search.best_of_n import BestOfN\n"
        "from ponder.search.select import argmax\n"
        "from ponder.verifiers.rule import Length\n"
        "texts = ['12', '1234', '123']\n"
        "for _ in range(2):\n"
        "    found = solve('ask', BestOfN(3), sampler=Scripted(texts), verifier=Length(4), select=argmax)\n"
        "    print(found.answer)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (["1234", "1234"], "", 0)


async def test_inside_a_running_loop() -> None:
    assert asyncio.get_running_loop().is_running()
    assert solve("ask", BestOfN(3), sampler=sampler(), **SETTINGS).answer == "1234"
    # The loop that stood still meanwhile goes on.
    assert (await solve_async("ask", BestOfN(3), sampler=sampler(), **SETTINGS)).answer == "1234"


def test_all_callers_share_one_loop_so_that_they_can_share_an_engine() -> None:
    class Where(Scripted):
        loops: set[int] = set()  # noqa: RUF012

        async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
            self.loops.add(id(asyncio.get_running_loop()))
            return await super().sample(trace, n, until, seed=seed)

    answers: list[str | None] = []
    shared = Where(["1234"])

    def ask() -> None:
        answers.append(solve("ask", BestOfN(2), sampler=shared, **SETTINGS).answer)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == ["1234"] * 4
    assert len(Where.loops) == 1


def test_both_ways_give_the_same() -> None:
    def seen(found: Any) -> Any:
        return found.answer, found.population.traces, found.population.log_weights.tolist(), found.cost

    settings = {**SETTINGS, "seed": 3, "step": Until(every=1)}
    one = solve("ask", ParticleFiltering(6), sampler=Scripted(["ab", "abcd"], order="seed"), **settings)
    other = asyncio.run(
        solve_async("ask", ParticleFiltering(6), sampler=Scripted(["ab", "abcd"], order="seed"), **settings)
    )
    assert seen(one) == seen(other)


def test_the_cost_is_told_by_role() -> None:
    played = sampler()
    found = solve("ask", BestOfN(3), sampler=played, verifier=Costly(), select=argmax)
    assert set(found.cost) == {"policy", "verifier"}
    assert found.cost["policy"] == Cost(samples=3, prompt_tokens=3, new_tokens=3 + 5 + 4)
    assert found.cost["verifier"] == Cost(verifier_tokens=9, verifier_calls=3)
    assert found.cost["policy"].new_tokens == played.new_tokens
    assert found.seconds > 0
    assert set(solve("ask", SelfConsistency(3), sampler=sampler(), select=majority).cost) == {"policy"}


def test_answers_are_read_by_a_function() -> None:
    texts = ["so 7", "thus 7", "or 8"]
    by_text = solve("ask", SelfConsistency(3), sampler=Scripted(texts), select=majority)
    by_number = solve("ask", SelfConsistency(3), sampler=Scripted(texts), select=majority, answer=lambda t: t.text[-1])
    assert by_text.answer == "so 7"
    assert by_number.answer == "7"


def test_a_prompt_and_a_problem_and_a_seed() -> None:
    def texts(problem: Any, seed: int) -> list[str]:
        played = Scripted([str(i) for i in range(50)], order="seed")
        found = solve(problem, SelfConsistency(8), sampler=played, select=majority, seed=seed)
        return [trace.text for trace in found.population.traces]

    assert texts("ask", 0) == texts("ask", 0)
    assert texts("ask", 0) != texts("ask", 1)
    assert texts(Problem("one", "ask"), 0) != texts(Problem("two", "ask"), 0)


def test_no_finished_trace_no_answer() -> None:
    found = solve("ask", SelfConsistency(2), sampler=sampler(), select=majority, solution=Until(max_tokens=2))
    assert found.answer is None
    assert [trace.text for trace in found.population.traces] == ["12", "12"]
    assert not any(trace.finished for trace in found.population.traces)


def test_a_budget_that_ends_gives_the_best_so_far() -> None:
    settings: dict[str, Any] = {"select": argmax, "solution": Until(max_tokens=6)}
    found = solve("ask", SelfConsistency(3), sampler=sampler(), budget=Budget(samples=2), **settings)
    assert [trace.text for trace in found.population.traces] == ["12", "1234"]
    nothing = solve("ask", SelfConsistency(3), sampler=sampler(), budget=Budget(new_tokens=1), **settings)
    assert (nothing.answer, len(nothing.population)) == (None, 0)
    assert nothing.cost["policy"].new_tokens == 1


def test_errors_reach_the_caller() -> None:
    with pytest.raises(UserError, match="'verifier'"):
        solve("ask", BestOfN(2), sampler=sampler(), select=argmax)
    with pytest.raises(UserError, match=r"max_steps=0"):
        solve("ask", BestOfN(2), sampler=sampler(), max_steps=0, **SETTINGS)

    def lost(trace: Trace, seed: int) -> str:
        raise SamplerError("the engine is away")

    with pytest.raises(SamplerError, match="the engine is away"):
        solve("ask", BestOfN(2), sampler=Scripted(lost), **SETTINGS)
    assert solve("ask", BestOfN(3), sampler=sampler(), **SETTINGS).answer == "1234"


INTERRUPTED = """
import asyncio, os, signal, threading
from ponder.scripts.solve import in_background

async def work():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.2)
        print("row")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    in_background(work())
except KeyboardInterrupt:
    print("closed")
"""


def test_an_interrupt_waits_for_what_is_being_written_down() -> None:
    """In a process of its own, that takes the signal whoever started it."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["row", "closed"], done.stderr
