"""Reads that many ask for at once and that are made once: whoever comes while one runs waits for the next one.

The next one, because the one that runs may have seen what was there before the question: an answer is never older than
its question.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from genlock_core.process.tasks import OwnedTasks

T = TypeVar("T")

Read = Callable[[], Awaitable[T]]


class SharedReads(Generic[T]):
    """At most two reads of a key at a time: one that runs, and one that waits for its end. `end` cancels them."""

    def __init__(self) -> None:
        # Those who wait are told of an error; nobody else needs to be.
        self._tasks = OwnedTasks(on_error=lambda _task, _error: None)
        self._of_key: dict[str, list[asyncio.Task[T]]] = {}

    async def get(self, key: str, read: Read[T]) -> T:
        """What `read` gives, or the read of somebody else that began after this question. Raises what it raises."""
        tasks = self._of_key.setdefault(key, [])
        if len(tasks) < 2:
            self._start(key, tasks, read)
        return await asyncio.shield(tasks[-1])

    async def end(self) -> None:
        """Nobody asks any more."""
        await self._tasks.end()

    def _start(self, key: str, tasks: "list[asyncio.Task[T]]", read: Read[T]) -> None:
        before = tasks[-1] if tasks else None
        task = self._tasks.start(_after(before, read), name=f"shared read of {key}")
        tasks.append(task)
        task.add_done_callback(lambda done: self._done(key, done))

    def _done(self, key: str, task: "asyncio.Task[T]") -> None:
        tasks = self._of_key[key]
        tasks.remove(task)
        if not tasks:
            del self._of_key[key]


async def _after(before: "asyncio.Task[T] | None", read: Read[T]) -> T:
    if before is not None:
        await asyncio.wait([before])
    return await read()
