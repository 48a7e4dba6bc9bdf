"""Batcher: many awaits become one call; order is kept, errors reach only whom they concern."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

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
        await asyncio.wait(futures)
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
            results = await self._call([item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1:
                half = len(batch) // 2
                await self._run(batch[:half])
                await self._run(batch[half:])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
