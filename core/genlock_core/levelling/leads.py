"""Which pools this process decides on: one lease for each pool in Redis, held in beats."""

from collections.abc import Callable, Collection
from typing import Final

from genlock_core.claims.claims import Claims
from genlock_core.claims.liveness import DECIDES_MS
from genlock_core.clock import Clock

LEASE_S: Final = DECIDES_MS / 1_000
LIST_EVERY_S: Final = 3.0
"""Whoever leads nothing looks so often which pools there are; with each beat while there is none."""


class Leads:
    """`hold` asks for the lease of every pool again; `pools` are those that are led now."""

    def __init__(self, claims: Claims, *, holder: str, rank: int, clock: Clock, covers: Callable[[str], bool]) -> None:
        self._claims = claims
        self._holder = holder
        self._rank = rank
        self._clock = clock
        self._covers = covers
        self._known: tuple[str, ...] = ()
        """The pools that have workers,"""
        self._known_s: float | None = None
        """and when that was looked up."""
        self._until_s: dict[str, float] = {}

    def pools(self) -> tuple[str, ...]:
        """Those that are led now, by name."""
        now_s = self._clock.monotonic()
        return tuple(sorted(pool for pool, until_s in self._until_s.items() if now_s < until_s))

    def leads(self, pool: str) -> bool:
        return self._clock.monotonic() < self._until_s.get(pool, 0.0)

    def note(self, pools: Collection[str]) -> None:
        """These are the pools that have workers now."""
        self._known = tuple(sorted(pool for pool in set(pools) if self._covers(pool)))
        self._known_s = self._clock.monotonic()

    async def hold(self) -> None:
        """Ask for each pool once. Raises RedisError: then what is led runs out by itself."""
        is_old = self._known_s is None or self._clock.monotonic() - self._known_s >= LIST_EVERY_S
        if is_old or not self._known:
            self.note({view.pool for view in await self._claims.workers()})

        for gone in self._until_s.keys() - set(self._known):
            del self._until_s[gone]
        for pool in self._known:
            # Counted from before the question: Redis may have begun the lease at any time since.
            asked_s = self._clock.monotonic()
            if await self._claims.decide(pool, holder=self._holder, rank=self._rank):
                self._until_s[pool] = asked_s + LEASE_S
            else:
                self._until_s.pop(pool, None)

    def let_go(self) -> None:
        """Lead none any more. What is held in Redis runs out by itself."""
        self._until_s.clear()
