"""Many awaits become one call: Batcher for anything, Scorer for verifiers."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, TypeVar

from ponder.errors import UserError, VerifierError
from ponder.protocols import Verifier
from ponder.types import Cost, Trace

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Collects what concurrent coroutines ask for, and asks once.

    A batch leaves when the event loop goes quiet (one turn brings nothing new), at `max_size` items, or after
    `max_wait`. A batch that fails is halved until the item that poisons it stands alone.

    Args:
        call: the batch function: items in, as many results out, in order.
        max_size: the most items in one call.
        max_wait: seconds that an item waits at most for company.
        overlap: whether a batch may start while an earlier one runs (an async engine), or has to wait for it (plain
            Python).
    """

    def __init__(
        self,
        call: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        max_size: int = 512,
        max_wait: float = 0.05,
        overlap: bool = False,
    ) -> None:
        self._call = call
        self._max_size = max_size
        self._max_wait = max_wait
        self._overlap = overlap
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushing = False

    async def __call__(self, items: Sequence[T]) -> list[R]:
        """One result an item, in order; raises the first item's error, if any failed."""
        if not items:
            return []
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[R]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        if not self._flushing:
            self._flushing = True
            self._spawn(self._flush())
        try:
            await asyncio.wait(futures)
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()  # nobody waits: it leaves the queue, and its error is no news
            raise
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return [future.result() for future in futures]

    def _spawn(self, work: Awaitable[None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self) -> None:
        try:
            while self._waiting:
                await self._quiet()
                batch, self._waiting = self._waiting[: self._max_size], self._waiting[self._max_size :]
                if self._overlap:
                    self._spawn(self._run(batch))
                else:
                    await self._run(batch)
        finally:
            self._flushing = False

    async def _quiet(self) -> None:
        loop = asyncio.get_running_loop()
        deadline, seen = loop.time() + self._max_wait, -1
        while seen != len(self._waiting) < self._max_size and loop.time() < deadline:
            seen = len(self._waiting)
            await asyncio.sleep(0)

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        batch = [(item, future) for item, future in batch if not future.done()]
        if not batch:
            return
        try:
            pairs = list(zip(batch, await self._call([item for item, _ in batch]), strict=True))
        except Exception as error:
            if len(batch) > 1:
                half = len(batch) // 2
                await self._run(batch[:half])
                await self._run(batch[half:])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), result in pairs:
            if not future.done():
                future.set_result(result)


class Scorer:
    """A verifier as Context uses it: batched across questions, checked, its errors named.

    A sync `score` runs in a thread, one batch at a time, so that it never holds up the engine. A verifier that
    compares gets the traces of one call, and no others with them.
    """

    def __init__(self, verifier: Verifier, max_size: int = 512) -> None:
        self.verifier = verifier
        self.name = type(verifier).__name__
        self.compares = hasattr(verifier, "compare")
        self._call: Callable[[list[Trace]], Any] = verifier.compare if self.compares else verifier.score  # type: ignore[attr-defined]
        self._said = f"{self.name}.{'compare' if self.compares else 'score'}"
        self.overlap = inspect.iscoroutinefunction(self._call)
        self._batch: Batcher[Trace, float] = Batcher(self._score, max_size=max_size, overlap=self.overlap)

    async def __call__(self, traces: list[Trace]) -> Sequence[float]:
        """One score a trace, in order; raises a VerifierError if there is none."""
        return await (self._score(traces) if self.compares else self._batch(traces))

    def quote(self, traces: list[Trace]) -> Cost:
        """The most that scoring some traces can cost."""
        quote, calls = getattr(self.verifier, "quote", None), Cost(verifier_calls=len(set(traces)))
        if quote is None:
            return calls
        return calls + (quote(traces) if self.compares else sum(map(quote, traces), Cost()))

    async def _score(self, traces: list[Trace]) -> Sequence[float]:
        try:
            scores = list(await (self._call(traces) if self.overlap else asyncio.to_thread(self._call, traces)))
        except (UserError, VerifierError):
            raise
        except Exception as error:
            raise VerifierError(f"{self._said} raised {type(error).__name__}: {error}") from error
        if len(scores) != len(traces):
            raise VerifierError(f"{self._said} returned {len(scores)} scores for {len(traces)} traces")
        low, high = getattr(self.verifier, "range", (-math.inf, math.inf))
        for score in scores:
            if not _is_score(score, low, high):
                raise VerifierError(f"{self._said} returned {score}, allowed are finite numbers in [{low}, {high}]")
        return scores


def _is_score(score: Any, low: float, high: float) -> bool:
    try:
        return math.isfinite(score) and bool(low - 1e-6 <= score <= high + 1e-6)
    except (TypeError, ValueError):  # a string, None, several numbers
        return False


async def gather(work: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """All results in order, or the first error once all have ended: what runs is also booked."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]
