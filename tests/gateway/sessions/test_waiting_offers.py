"""An offer without room waits for some: it is woken, served or refused, and nobody waits for who has left."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.requests import ClientDisconnect

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Claim, Room
from genlock_core.claims.record import SessionRecord
from genlock_core.errors import NoCapacity, Overloaded
from genlock_core.metrics import GatewayMetrics
from genlock_gateway.sessions import waiting_offers
from genlock_gateway.sessions.waiting_offers import WaitingOffers
from tests.gateway.installation import until
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom

LONG_S, SHORT_S = 30.0, 0.05
HERE = "192.0.2.1"


async def stays() -> None:
    """A client that does not go."""
    await asyncio.Event().wait()


class Door:
    """Offers at a gateway whose questions to Redis are counted."""

    def __init__(self, room: GatewayRoom, patience_s: float) -> None:
        self.room = room
        self.registry = CollectorRegistry()
        self.asked = 0
        self.order: list[str] = []
        """Whose offers have asked."""
        claims = Claims(room.store)
        ask = claims.claim

        async def claim(session: str, *, seen_epoch: int = 0) -> Claim:
            self.asked += 1
            self.order.append(session)
            return await ask(session, seen_epoch=seen_epoch)

        claims.claim = claim  # type: ignore[method-assign]
        self.claims = claims
        self.offers = WaitingOffers(claims, GatewayMetrics(self.registry), store_timeout_s=5.0, patience_s=patience_s)

    def offer(
        self, record: SessionRecord, *, address: str = HERE, leaves: Callable[[], Any] = stays
    ) -> "asyncio.Task[Claim]":
        return asyncio.create_task(self.offers.claim(record, address=address, leaves=leaves))

    def ended(self, result: str) -> float:
        return self.registry.get_sample_value("genlock_gateway_room_waits_total", {"result": result}) or 0.0


@pytest.fixture
def door(room: GatewayRoom) -> Door:
    return Door(room, LONG_S)


@pytest.fixture
def hasty_door(room: GatewayRoom) -> Door:
    return Door(room, SHORT_S)


async def test_who_finds_room_does_not_wait(room: GatewayRoom, door: Door) -> None:
    record = await room.record()
    await room.worker()
    claim = await door.offers.claim(record, address=HERE, leaves=stays)
    assert (claim.session, door.asked, door.ended("served")) == (SESSION, 1, 0)


async def test_an_offer_waits_without_asking_until_room_is_made_and_is_served_then(
    room: GatewayRoom, door: Door
) -> None:
    record = await room.record()
    offer = door.offer(record)
    await until(lambda: len(door.offers) == 1)
    door.offers.room_made("another")
    await asyncio.sleep(0.02)
    assert (door.asked, offer.done()) == (1, False)

    # Room that is not enough, and then some that is.
    door.offers.room_made("local")
    await until(lambda: door.asked == 2)
    assert not offer.done()
    await room.worker()
    door.offers.room_made("local")
    assert (await offer).session == SESSION
    assert (door.asked, len(door.offers), door.ended("served")) == (3, 0, 1)


async def test_who_came_first_asks_first_when_room_is_made(room: GatewayRoom, door: Door) -> None:
    names = [f"session-{number:02}" for number in range(12)]
    for number, name in enumerate(names, start=1):
        door.offer(await room.record(name))
        await until(lambda number=number: len(door.offers) == number)  # type: ignore[misc]
    door.order.clear()
    await room.worker()
    door.offers.room_made("local")
    await until(lambda: len(door.order) >= len(names))
    assert door.order == [f"default/{name}" for name in names]


async def test_at_the_end_of_its_patience_it_asks_once_more_as_an_event_may_be_missed(
    room: GatewayRoom, hasty_door: Door
) -> None:
    record = await room.record()
    offer = hasty_door.offer(record)
    await until(lambda: len(hasty_door.offers) == 1)
    await room.worker()
    assert (await offer).session == SESSION
    assert hasty_door.asked == 2


@pytest.mark.parametrize(
    ("next_ms", "worker_ms", "retry_s"),
    [
        (None, None, 2.0),
        (3_000, None, 3.0),
        (600_000, 5_000, 5.0),
        (600_000, None, waiting_offers.LONGEST_RETRY_S),
    ],
)
async def test_a_refusal_says_when_room_is_expected(
    room: GatewayRoom,
    hasty_door: Door,
    monkeypatch: pytest.MonkeyPatch,
    next_ms: int | None,
    worker_ms: int | None,
    retry_s: float,
) -> None:
    async def find(session: str) -> Room:
        return Room(workers=1, fits=False, next_ms=next_ms, worker_ms=worker_ms)

    monkeypatch.setattr(hasty_door.claims, "room", find)
    with pytest.raises(NoCapacity) as refused:
        await hasty_door.offers.claim(await room.record(), address=HERE, leaves=stays)
    assert refused.value.retry_after_s == retry_s
    assert (hasty_door.asked, len(hasty_door.offers), hasty_door.ended("refused")) == (2, 0, 1)


async def test_nobody_waits_for_a_client_that_has_left(room: GatewayRoom, door: Door) -> None:
    gone = asyncio.Event()

    async def leaves() -> None:
        await gone.wait()

    offer = door.offer(await room.record(), leaves=leaves)
    await until(lambda: len(door.offers) == 1)
    gone.set()
    with pytest.raises(ClientDisconnect):
        await offer
    await room.worker()
    assert (door.asked, len(door.offers), door.ended("left")) == (1, 0, 1)


async def test_overload_is_told_at_once_as_no_room_helps(
    room: GatewayRoom, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def claim(session: str, *, seen_epoch: int = 0) -> Claim:
        raise Overloaded(session)

    record = await room.record()
    monkeypatch.setattr(door.claims, "claim", claim)
    with pytest.raises(Overloaded):
        await door.offers.claim(record, address=HERE, leaves=stays)


async def test_one_address_takes_no_more_than_its_part_of_the_places_and_all_take_no_more_than_there_are(
    room: GatewayRoom, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_offers, "MOST_OF_ADDRESS", 2)
    monkeypatch.setattr(waiting_offers, "MOST_WAITING", 3)
    record = await room.record()
    waiting = [door.offer(record) for _ in range(2)]
    await until(lambda: len(door.offers) == 2)
    with pytest.raises(NoCapacity):
        await door.offers.claim(record, address=HERE, leaves=stays)
    waiting.append(door.offer(record, address="192.0.2.2"))
    await until(lambda: len(door.offers) == 3)
    with pytest.raises(NoCapacity):
        await door.offers.claim(record, address="192.0.2.3", leaves=stays)
    assert door.ended("no-place") == 2

    # Whoever waits goes on waiting, and all of one session are served together.
    await room.worker()
    door.offers.room_made("local")
    assert len({claim.epoch for claim in await asyncio.gather(*waiting)}) == 1
    assert door.offers._of_addresses == {}
