"""The queue of keys: each at most once, never two workers on the same one, failures later and later, and a time for
what is to be looked at again though nothing changes.
"""

import asyncio
import heapq
import random
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from genlock_core.clock import Clock
from genlock_operator.reconcile.keys import Key

BACKOFF_BASE_S = 0.2
BACKOFF_CAP_S = 30.0
_LONGEST_SLEEP_S = 1.0


class WorkQueue:
    """A key waits, or is worked on, or both (it changed meanwhile): then it waits again when the work is done.

    `jitter` gives a factor for every backoff.
    """

    def __init__(self, clock: Clock, *, jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2)) -> None:  # noqa: S311 - no secret
        self._clock, self._jitter = clock, jitter
        self._waiting: OrderedDict[Key, float] = OrderedDict()  # -> since when
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._ready, self._sooner = asyncio.Event(), asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait for a worker."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """How many keys are worked on."""
        return len(self._working)

    def add(self, key: Key) -> None:
        """Work on the key as soon as possible."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = self._clock.monotonic()
            self._ready.set()

    def add_in(self, key: Key, delay_s: float) -> None:
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

    def take(self) -> tuple[Key, float] | None:
        """The key that has waited longest, and for how many seconds; None if none waits."""
        if not self._waiting:
            return None
        key, since = self._waiting.popitem(last=False)
        self._working.add(key)
        self._due.pop(key, None)
        return key, self._clock.monotonic() - since

    async def get(self) -> tuple[Key, float]:
        """The same; waits for one."""
        while (taken := self.take()) is None:
            self._ready.clear()
            await self._ready.wait()
        return taken

    def done(self, key: Key, *, failed: bool) -> None:
        """The work on a key that `get` gave is over; after a failure it comes again after a while."""
        self._working.discard(key)
        if not failed:
            self._failures.pop(key, None)
        else:
            tries = self._failures[key] = self._failures.get(key, 0) + 1
            self.add_in(key, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(tries - 1, 16)) * self._jitter())
        if key in self._again:
            self._again.discard(key)
            if not failed:
                self.add(key)

    def comes_again(self, key: Key) -> bool:
        """Whether the key that is worked on is to be worked on again, at once or at some time."""
        return key in self._again or key in self._due

    def release_due(self) -> float:
        """Put what is due into the queue; how long until there is more."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
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
