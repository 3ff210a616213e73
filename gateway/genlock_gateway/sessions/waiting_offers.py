"""Offers that found no room: they wait a moment for it, as somebody may be making it just now.

A claim without room tells whoever plans the levels. That one lowers other sessions, a moment later their worker has
given room back, and an event says so (`room`). A session that ends and a worker that comes say the same. Between two
events nobody asks Redis.

They ask over the connections for requests of strangers, as anybody may send an offer, and there is a bound to how many
wait. No question to Redis is broken off: a claim that was made and whose answer nobody heard would serve nobody.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from redis.exceptions import RedisError
from starlette.requests import ClientDisconnect

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Claim, MoveHeld
from genlock_core.claims.record import SessionRecord
from genlock_core.errors import NoCapacity, Overloaded
from genlock_core.metrics import GatewayMetrics
from genlock_core.process.tasks import OwnedTasks

PATIENCE_S: Final = 2.0
"""An offer waits no longer than this."""
MOST_WAITING: Final = 64
"""Offers that wait at one gateway; the next one is refused at once."""
MOST_OF_ADDRESS: Final = 16
"""Of these from one address."""
DEFAULT_RETRY_S: Final = 2.0
"""When to ask again where nobody knows when there is room."""
LONGEST_RETRY_S: Final = 8.0
"""Who asks again within this time keeps its place among the sessions that wait (`Claims.waiting`)."""

Leaves = Callable[[], Coroutine[Any, Any, None]]
"""Returns when the client has gone."""


@dataclass(slots=True, eq=False)
class _Offer:
    """One that waits."""

    pools: frozenset[str]
    """Where its session could be served."""
    has_left: bool = False
    """Its client has gone."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """One of its pools may have room, or its client has left."""


class WaitingOffers:
    """Those of one gateway. Whoever follows the events tells `room_made`."""

    def __init__(
        self, claims: Claims, metrics: GatewayMetrics, *, store_timeout_s: float, patience_s: float = PATIENCE_S
    ) -> None:
        """`store_timeout_s`: how long each question to Redis may take."""
        self._claims = claims
        self._metrics = metrics
        self._store_timeout_s = store_timeout_s
        self._patience_s = patience_s
        self._offers: dict[_Offer, None] = {}
        """Who came first is woken first."""
        self._of_addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._offers)

    def room_made(self, pool: str) -> None:
        """A claim of this pool got cheaper, a session left it, or a worker came to it: all ask, in the order in which
        they came."""
        for offer in self._offers:
            if pool in offer.pools:
                offer.news.set()

    async def claim(self, record: SessionRecord, *, address: str, leaves: Leaves) -> Claim:
        """The session's claim. Where there is no room for it, it waits for some, for `patience_s` at most.

        Raises NoCapacity with the time after which to ask again; Overloaded, which no room helps, at once;
        ClientDisconnect where the client has gone meanwhile; UnknownSession, RedisError, TimeoutError.
        """
        try:
            return await self._ask(record.name)
        except (Overloaded, MoveHeld):
            raise
        except NoCapacity as full:
            if len(self._offers) >= MOST_WAITING or self._of_addresses[address] >= MOST_OF_ADDRESS:
                self._metrics.room_waits.labels(result="no-place").inc()
                raise await self._refusal(full) from None

        with self._place(record, address) as offer:
            return await self._wait(record.name, offer, leaves)

    @contextlib.contextmanager
    def _place(self, record: SessionRecord, address: str) -> Iterator[_Offer]:
        offer = _Offer(frozenset(choice.pool for choice in record.pools))
        self._offers[offer] = None
        self._of_addresses[address] += 1
        try:
            yield offer
        finally:
            del self._offers[offer]
            self._of_addresses[address] -= 1
            if not self._of_addresses[address]:
                del self._of_addresses[address]

    async def _wait(self, session: str, offer: _Offer, leaves: Leaves) -> Claim:
        until_s = asyncio.get_running_loop().time() + self._patience_s
        watching = OwnedTasks()
        watching.start(_note_leaving(offer, leaves), name=f"client that waits for {session}")
        try:
            while True:
                # Also at the end it asks once more: an event may have been missed.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until_s):
                        await offer.news.wait()
                offer.news.clear()
                if offer.has_left:
                    self._metrics.room_waits.labels(result="left").inc()
                    raise ClientDisconnect

                is_last = asyncio.get_running_loop().time() >= until_s
                claim = await self._ask_again(session, is_last=is_last)
                if claim is not None:
                    self._metrics.room_waits.labels(result="served").inc()
                    return claim
        finally:
            await watching.end()

    async def _ask_again(self, session: str, *, is_last: bool) -> Claim | None:
        """None: there is no room yet. Raises NoCapacity if this is the last try."""
        try:
            return await self._ask(session)
        except (Overloaded, MoveHeld):
            self._metrics.room_waits.labels(result="refused").inc()
            raise
        except NoCapacity as full:
            if not is_last:
                return None
            self._metrics.room_waits.labels(result="refused").inc()
            raise await self._refusal(full) from None

    async def _ask(self, session: str) -> Claim:
        async with asyncio.timeout(self._store_timeout_s):
            return await self._claims.claim(session)

    async def _refusal(self, full: NoCapacity) -> NoCapacity:
        """It says when to ask again: when room is expected, within bounds."""
        expected_s = DEFAULT_RETRY_S
        with contextlib.suppress(RedisError, OSError):
            async with asyncio.timeout(self._store_timeout_s):
                room = await self._claims.room(full.session)
            if room is not None and room.expected_ms is not None:
                expected_s = room.expected_ms / 1_000
        return NoCapacity(full.session, full.reason, retry_after_s=min(expected_s, LONGEST_RETRY_S))


async def _note_leaving(offer: _Offer, leaves: Leaves) -> None:
    await leaves()
    offer.has_left = True
    offer.news.set()
