"""Many awaits, one call: order, sizes, waiting, overlap, and errors that reach only whom they concern."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ponder.batching import Batcher, Scorer
from ponder.errors import VerifierError
from ponder.types import Problem, Step, Trace


class Calls:
    """A batch function that doubles, notes its batches, and fails where it is told to."""

    def __init__(self, poison: Callable[[int], bool] = lambda item: False) -> None:
        self.batches: list[list[int]] = []
        self.poison = poison

    async def __call__(self, items: list[int]) -> Sequence[int]:
        self.batches.append(list(items))
        for item in items:
            if self.poison(item):
                raise ValueError(f"poisoned by {item}")
        await asyncio.sleep(0)
        return [2 * item for item in items]


async def within(work: Any, seconds: float = 5.0) -> Any:
    return await asyncio.wait_for(work, seconds)


async def test_concurrent_calls_share_one_call_and_keep_their_order() -> None:
    calls = Calls()
    batcher = Batcher(calls)
    found = await within(asyncio.gather(batcher([3, 1]), batcher([2]), batcher([]), batcher([5, 5, 4])))
    assert found == [[6, 2], [4], [], [10, 10, 8]]
    assert calls.batches == [[3, 1, 2, 5, 5, 4]]


async def test_who_comes_one_turn_later_is_still_in_time() -> None:
    calls = Calls()
    batcher = Batcher(calls)

    async def late(turns: int) -> list[int]:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await batcher([turns])

    await within(asyncio.gather(*(late(turns) for turns in range(6))))
    assert calls.batches == [[0, 1, 2, 3, 4, 5]]


async def test_nothing_asks_nothing() -> None:
    calls = Calls()
    assert await Batcher(calls)([]) == []
    assert calls.batches == []


async def test_calls_one_after_another_are_calls_of_their_own() -> None:
    calls = Calls()
    batcher = Batcher(calls)
    assert await within(batcher([1])) == [2]
    assert await within(batcher([2])) == [4]
    assert calls.batches == [[1], [2]]


@pytest.mark.parametrize("overlap", [False, True])
async def test_large_batches_are_split_and_put_together(overlap: bool) -> None:
    calls = Calls()
    batcher = Batcher(calls, max_size=4, overlap=overlap)
    found = await within(asyncio.gather(batcher(range(3)), batcher(range(3, 10))))
    assert found == [[0, 2, 4], [6, 8, 10, 12, 14, 16, 18]]
    assert [len(batch) for batch in calls.batches] == [4, 4, 2]
    assert [item for batch in calls.batches for item in batch] == list(range(10))


@pytest.mark.parametrize("poisoned", [{0}, {6}, {2, 5}, set(range(7))])
@pytest.mark.parametrize("overlap", [False, True])
async def test_a_poisoned_item_fails_alone(poisoned: set[int], overlap: bool) -> None:
    batcher = Batcher(Calls(poisoned.__contains__), overlap=overlap)
    ends = await within(asyncio.gather(*(batcher([item]) for item in range(7)), return_exceptions=True))
    for item, end in enumerate(ends):
        if item in poisoned:
            assert isinstance(end, ValueError)
            assert str(end) == f"poisoned by {item}"
        else:
            assert end == [2 * item]


async def test_a_caller_of_several_items_gets_the_first_items_error() -> None:
    batcher = Batcher(Calls(lambda item: item > 1))
    with pytest.raises(ValueError, match="poisoned by 2"):
        await within(batcher([0, 1, 2, 3]))
    assert await within(batcher([1])) == [2]


@pytest.mark.parametrize("count", [0, 2])
async def test_a_call_that_returns_the_wrong_number_of_results_fails_rather_than_hangs(count: int) -> None:
    async def call(items: list[int]) -> list[int]:
        return [0] * count

    with pytest.raises(ValueError, match="argument"):
        await within(Batcher(call)([1]), 2.0)


async def concurrency(overlap: bool) -> int:
    running, most = 0, 0

    async def call(items: list[int]) -> list[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return items

    batcher = Batcher(call, max_size=2, overlap=overlap)
    assert await within(batcher(range(8))) == list(range(8))
    return most


async def test_overlapping_batches_run_side_by_side_others_in_turn() -> None:
    assert await concurrency(overlap=True) == 4
    assert await concurrency(overlap=False) == 1


async def test_what_comes_while_a_batch_runs_forms_the_next() -> None:
    release, batches = asyncio.Event(), []

    async def call(items: list[int]) -> list[int]:
        batches.append(list(items))
        if len(batches) == 1:
            await release.wait()
        return items

    batcher = Batcher(call)
    tasks = [asyncio.create_task(batcher([0]))]
    while not batches:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for item in (1, 2, 3):
        tasks.append(asyncio.create_task(batcher([item])))
        await asyncio.sleep(0)
    release.set()
    assert await within(asyncio.gather(*tasks)) == [[0], [1], [2], [3]]
    assert batches == [[0], [1, 2, 3]]


async def test_a_busy_loop_cannot_hold_a_batch_longer_than_max_wait() -> None:
    """One newcomer a turn would keep the loop from ever going quiet."""
    first: list[float] = []
    start = time.monotonic()

    async def call(items: list[int]) -> list[int]:
        first.append(time.monotonic() - start)
        return items

    batcher = Batcher(call, max_size=10**6, max_wait=0.05, overlap=True)
    tasks = []
    while not first and time.monotonic() - start < 3:
        tasks.append(asyncio.create_task(batcher([0])))
        await asyncio.sleep(0)
    assert first, "nothing left within 3 s"
    assert 0.04 < first[0] < 1.0
    await within(asyncio.gather(*tasks))


async def test_a_full_batch_does_not_wait() -> None:
    calls = Calls()
    batcher = Batcher(calls, max_size=3, max_wait=60.0)
    found = await within(asyncio.gather(*(batcher([item]) for item in range(6))))
    assert found == [[2 * item] for item in range(6)]
    assert [len(batch) for batch in calls.batches] == [3, 3]


async def test_a_caller_that_gives_up_takes_nobody_along() -> None:
    calls = Calls()
    batcher = Batcher(calls)
    quitter, other = asyncio.create_task(batcher([1])), asyncio.create_task(batcher([2]))
    await asyncio.sleep(0)
    quitter.cancel()
    assert await within(other) == [4]
    with pytest.raises(asyncio.CancelledError):
        await quitter
    assert calls.batches == [[2]], "what nobody waits for is not asked"


# ---------------------------------------------------------------- verifiers


def traces(*texts: str) -> list[Trace]:
    return [Trace(Problem("p", "ask"), (Step(text),)) for text in texts]


async def test_a_sync_verifier_does_not_hold_up_the_loop_and_runs_one_batch_at_a_time() -> None:
    class Slow:
        def __init__(self) -> None:
            self.threads: set[int] = set()
            self.running = self.most = 0

        def score(self, traces: Sequence[Trace]) -> list[float]:
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.add(threading.get_ident())
            time.sleep(0.1)
            self.running -= 1
            return [float(len(trace.text)) for trace in traces]

    verifier = Slow()
    scorer = Scorer(verifier, max_size=1)
    work = asyncio.gather(*(scorer(traces("a" * n)) for n in (1, 2, 3)))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert await work == [[1.0], [2.0], [3.0]]
    assert turns > 15
    assert threading.get_ident() not in verifier.threads
    assert verifier.most == 1


async def test_an_async_verifier_is_awaited_on_the_loop_and_overlaps() -> None:
    class Engine:
        running = most = 0

        async def score(self, traces: Sequence[Trace]) -> list[float]:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.02)
            self.running -= 1
            return [0.5] * len(traces)

    verifier = Engine()
    assert await within(Scorer(verifier, max_size=1)(traces("a", "b", "c"))) == [0.5] * 3
    assert verifier.most == 3


async def test_a_trace_that_a_verifier_cannot_bear_fails_alone() -> None:
    class Picky:
        def score(self, traces: Sequence[Trace]) -> list[float]:
            return [1.0 / (trace.text != "bad") for trace in traces]

    scorer = Scorer(Picky())
    good, bad, fine = await within(
        asyncio.gather(*(scorer(traces(text)) for text in ("good", "bad", "fine")), return_exceptions=True)
    )
    assert good == fine == [1.0]
    assert isinstance(bad, VerifierError)
    assert "Picky.score raised ZeroDivisionError" in str(bad)
