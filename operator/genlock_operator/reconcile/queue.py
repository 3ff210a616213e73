"""What may need work, by name: each key at most once, and never worked on twice at a time.

Failures come again later and later; what is to be looked at again though nothing changes has a time.
"""

import asyncio
import heapq
import random
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple

from genlock_core.clock import Clock

BACKOFF_BASE_S = 0.2
BACKOFF_CAP_S = 30.0
_LONGEST_SLEEP_S = 1.0


class WorkKey(NamedTuple):
    """A session or a pool, called `namespace/name`."""

    kind: Literal["session", "pool"]
    name: str


def session_key(name: str) -> WorkKey:
    return WorkKey("session", name)


def pool_key(name: str) -> WorkKey:
    return WorkKey("pool", name)


class WorkQueue:
    """A key waits, or is worked on, or both (it changed meanwhile): then it waits again when the work is done.

    `jitter` gives a factor for every backoff.
    """

    def __init__(self, clock: Clock, *, jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2)) -> None:  # noqa: S311 - no secret
        self._clock = clock
        self._jitter = jitter
        self._waiting: OrderedDict[WorkKey, None] = OrderedDict()
        self._working: set[WorkKey] = set()
        self._again: set[WorkKey] = set()
        """Keys that changed while they were worked on."""
        self._failures: dict[WorkKey, int] = {}
        self._due: dict[WorkKey, float] = {}
        """When each key is to be worked on again, the soonest time that was asked for."""
        self._heap: list[tuple[float, WorkKey]] = []
        """The same in order of time, with times that were overtaken by sooner ones."""
        self._ready = asyncio.Event()
        self._sooner = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait for a worker."""
        return len(self._waiting)

    def add(self, key: WorkKey) -> None:
        """Work on the key as soon as possible."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = None
            self._ready.set()

    def add_in(self, key: WorkKey, delay_s: float) -> None:
        """Work on the key after so long, or sooner if it was to be sooner already."""
        if delay_s <= 0:
            self.add(key)
            return
        at = self._clock.monotonic() + delay_s
        if key in self._due and self._due[key] <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        self._sooner.set()

    def take(self) -> WorkKey | None:
        """The key that has waited longest, None if none waits; `done` says when the work on it is over."""
        if not self._waiting:
            return None
        key, _ = self._waiting.popitem(last=False)
        self._working.add(key)
        self._due.pop(key, None)
        return key

    async def get(self) -> WorkKey:
        """The same; waits for one."""
        while (key := self.take()) is None:
            self._ready.clear()
            await self._ready.wait()
        return key

    def done(self, key: WorkKey, *, failed: bool) -> None:
        """The work on a key that `take` gave is over; after a failure it comes again after a while."""
        self._working.discard(key)
        changed = key in self._again
        self._again.discard(key)
        if failed:
            # A change meanwhile is no reason to come sooner: what failed would most likely fail again.
            tries = self._failures[key] = self._failures.get(key, 0) + 1
            self.add_in(key, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(tries - 1, 16)) * self._jitter())
            return
        self._failures.pop(key, None)
        if changed:
            self.add(key)

    def comes_again(self, key: WorkKey) -> bool:
        """Whether the key that is worked on is to be worked on again, at once or at some time."""
        return key in self._again or key in self._due

    def release_due(self) -> float:
        """Put what is due into the queue; how long until there is more."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            # A time that differs was overtaken by a sooner one, or by other work on the key.
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)
        return min(_LONGEST_SLEEP_S, self._heap[0][0] - now) if self._heap else _LONGEST_SLEEP_S

    async def run_timers(self) -> None:
        """Release what is due, for ever."""
        while True:
            delay_s = self.release_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._sooner.wait()
            self._sooner.clear()
