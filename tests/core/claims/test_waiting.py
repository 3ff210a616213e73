"""Who finds no room waits, hears of a hole, and has it before the wishes of those who have a worker."""

from typing import Any, cast

import pytest

from genlock_core.claims import keys
from genlock_core.claims.claims import Claims, GrantOutcome, MoveCause
from genlock_core.claims.facts import Event, EventKind, Waiting
from genlock_core.claims.liveness import DECIDES_MS, ROOM_KEPT_MS, WAITS_MS
from genlock_core.claims.record import PoolChoice
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity
from genlock_core.spec.session import Phase
from tests.core.claims.floor import NOISY, QUIET, Floor
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import offer, record

NINTH = "default/ninth"


class Queue:
    """The floor, and a session that finds no room on it."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.claims = floor.claims
        self.since_ms = 0
        self._heard = "0"

    async def open(self, *pools: PoolChoice) -> None:
        await self.floor.wish(3)
        await self.claims.create(record("ninth", *(pools or (PoolChoice("a", 400),))))
        self._heard = await self.claims.last_event()
        self.since_ms = self.floor.clock.wall_ms()
        await self.asks()

    async def asks(self) -> bool:
        """Whether it found room."""
        try:
            await self.claims.claim(NINTH)
        except NoCapacity:
            return False
        return True

    async def heard(self) -> list[tuple[EventKind, str, str]]:
        """What waiting sessions and deciders hear, since this was asked last."""
        events: list[Event] = await self.claims.events(self._heard, 1)
        if events:
            self._heard = events[-1].id
        return [
            (one.kind, one.session, one.detail) for one in events if one.kind in (EventKind.WAITING, EventKind.ROOM)
        ]


@pytest.fixture
async def queue(floor: Floor) -> Queue:
    made = Queue(floor)
    await made.open()
    return made


# -- who waits ---------------------------------------------------------------------------------------------------------


async def test_a_claim_that_finds_no_room_is_written_down_and_told_once(queue: Queue) -> None:
    assert await queue.claims.waiting("a") == (Waiting(NINTH, queue.since_ms, recovers=False),)
    assert await queue.heard() == [(EventKind.WAITING, NINTH, "a")]
    await queue.floor.time_passes(1_000)
    assert not await queue.asks()
    assert await queue.heard() == []
    assert await queue.claims.waiting("a") == (Waiting(NINTH, queue.since_ms, recovers=False),)
    assert await queue.claims.waiting("b") == ()


async def test_nobody_waits_any_more_once_nobody_has_asked_for_ten_seconds(queue: Queue) -> None:
    await queue.floor.time_passes(WAITS_MS)
    assert len(await queue.claims.waiting("a")) == 1
    await queue.floor.time_passes(1_000)
    assert await queue.claims.waiting("a") == ()
    await queue.heard()
    assert not await queue.asks()
    assert await queue.heard() == [(EventKind.WAITING, NINTH, "a")], "it is new again"
    assert (await queue.claims.waiting("a"))[0].since_ms == queue.floor.clock.wall_ms()


@pytest.mark.parametrize("how", ["served", "finished", "forgotten", "served by the release before"])
async def test_nobody_waits_any_more_who_is_served_finished_or_forgotten(queue: Queue, how: str) -> None:
    match how:
        case "served":
            await queue.floor.end()
            await queue.floor.end(NOISY)
            assert await queue.asks()
        case "finished":
            await queue.claims.set_phase(NINTH, 0, Phase.ENDED)
        case "forgotten":
            await queue.claims.forget(NINTH)
        case _:
            # It does not know what stands in the record, and raises the epoch as every claim does.
            await cast("Any", queue.floor.redis.hset(keys.record(NINTH), "epoch", "77"))
    assert await queue.claims.waiting("a") == ()


async def test_who_waits_longest_comes_first_and_who_had_a_worker_is_told_apart(queue: Queue) -> None:
    await queue.floor.time_passes(500)
    epoch = (await queue.floor.record(QUIET)).epoch
    await queue.claims.release(QUIET, epoch=epoch, phase=Phase.RECOVERING)
    await queue.claims.create(record("quiet", PoolChoice("a", 900), PoolChoice("b", 900)))
    with pytest.raises(NoCapacity):
        await queue.claims.claim(QUIET)
    assert [(one.session, one.recovers) for one in await queue.claims.waiting("a")] == [(NINTH, False), (QUIET, True)]
    assert [one.session for one in await queue.claims.waiting("b")] == [QUIET]


@pytest.mark.parametrize(
    ("cause", "waits"),
    [(MoveCause.REFUSED, True), (MoveCause.DRAIN, True), (MoveCause.REQUESTED, False)],
)
async def test_others_are_lowered_for_who_loses_its_worker_and_not_for_a_person_who_wants_another_one(
    queue: Queue, cause: MoveCause, *, waits: bool
) -> None:
    epoch = (await queue.floor.record(QUIET)).epoch
    with pytest.raises(NoCapacity):
        await queue.claims.move(QUIET, expected_epoch=epoch, suspect=None, cause=cause)
    assert (QUIET in [one.session for one in await queue.claims.waiting("a")]) is waits


async def test_who_asks_other_pools_now_waits_there(queue: Queue) -> None:
    await queue.claims.create(record("ninth", PoolChoice("b", 400)))
    assert await queue.claims.waiting("a") == ()
    assert not await queue.asks()
    assert [one.session for one in await queue.claims.waiting("b")] == [NINTH]
    assert await queue.claims.waiting("a") == ()


async def test_a_session_waits_for_the_pools_of_models_that_may_stand_in_too(floor: Floor) -> None:
    queue = Queue(floor)
    await queue.open(PoolChoice("a", 400), PoolChoice("b", 100, model="tiny"))
    assert [one.session for one in await queue.claims.waiting("b")] == [NINTH]


# -- who hears of room -------------------------------------------------------------------------------------------------


async def test_who_waits_hears_of_a_claim_that_got_cheaper(queue: Queue) -> None:
    await queue.heard()
    await queue.floor.limit(1)
    assert await queue.heard() == []
    await queue.floor.settle()
    assert await queue.heard() == [(EventKind.ROOM, NINTH, "a")]
    assert await queue.asks()
    await queue.floor.end()
    assert await queue.heard() == [], "nobody waits"


async def test_who_waits_hears_of_a_session_that_left_and_of_a_worker_that_came(queue: Queue) -> None:
    await queue.heard()
    await queue.floor.end()
    assert await queue.heard() == [(EventKind.ROOM, NINTH, "a")]
    await queue.claims.register(offer("w1", "b"))
    assert await queue.heard() == []
    await queue.claims.register(offer("w1"))
    assert await queue.heard() == [(EventKind.ROOM, NINTH, "a")]


async def test_who_waits_hears_of_a_worker_that_is_overloaded_no_more(queue: Queue) -> None:
    await queue.floor.beat(overloaded=True)
    await queue.heard()
    await queue.floor.beat(overloaded=True)
    assert await queue.heard() == []
    await queue.floor.beat(overloaded=False)
    assert await queue.heard() == [(EventKind.ROOM, NINTH, "a")]


async def test_a_room_at_a_dead_worker_is_none(queue: Queue) -> None:
    await time_passes(queue.claims, queue.floor.clock, 1.5)
    await queue.asks()
    await queue.heard()
    await queue.floor.end()
    assert await queue.heard() == []


async def test_the_release_before_reads_these_events_as_a_record_to_be_read_anew(queue: Queue) -> None:
    ((_, fields),) = await cast("Any", queue.floor.redis.xrevrange(keys.EVENTS, count=1))
    assert (fields[b"kind"], fields[b"news"], fields[b"session"]) == (b"phase", b"waiting", NINTH.encode())


async def test_an_event_of_a_later_release_is_left_out(queue: Queue) -> None:
    await queue.heard()
    entry = {"kind": "renamed", "session": NINTH, "epoch": "0", "detail": ""}
    await cast("Any", queue.floor.redis.xadd(keys.EVENTS, cast("Any", entry)))
    await queue.floor.end()
    assert [kind for kind, *_ in await queue.heard()] == [EventKind.ROOM]


# -- whose the hole is -------------------------------------------------------------------------------------------------


async def test_a_hole_is_for_a_moment_theirs_who_wait_for_a_worker(queue: Queue) -> None:
    await queue.floor.wish(4)
    await queue.floor.wish(2, QUIET)
    await queue.floor.end()

    assert (await queue.floor.beat())[NOISY].steps == 3, "it waits as a wish"
    assert (await queue.floor.wish(4)).steps == 3
    await queue.floor.time_passes(ROOM_KEPT_MS + 500)
    assert (await queue.floor.record()).cost == 1_000


async def test_a_hole_at_one_worker_keeps_no_wish_at_another_one_waiting(floor: Floor) -> None:
    await floor.end()
    await floor.claims.register(offer("w1"))
    for name, cost in (("big", 800), ("guest", 100)):
        await floor.claims.create(record(name, PoolChoice("a", cost)))
        await floor.claims.claim(f"default/{name}")
    await floor.claims.create(record("ninth", PoolChoice("a", 1_000)))
    with pytest.raises(NoCapacity):
        await floor.claims.claim(NINTH)

    await floor.end("default/big")

    assert (await floor.wish(4)).steps == 4


async def test_a_wish_that_a_worker_without_ceilings_would_run_unpaid_is_refused_while_the_hole_is_kept(
    queue: Queue,
) -> None:
    await cast("Any", queue.floor.redis.hdel(f"{keys.PREFIX}worker:w0", "ceilings"))
    await queue.floor.end()
    assert (await queue.claims.grant(NOISY, 4)).outcome is GrantOutcome.REFUSED


async def test_whoever_decides_gives_a_hole_to_whom_it_likes(queue: Queue) -> None:
    await queue.floor.wish(4)
    await queue.floor.end()
    assert (await queue.floor.limit(None)).value == "done"
    assert (await queue.floor.record()).cost == 1_000


async def test_where_nobody_waits_a_wish_takes_the_hole_at_once(floor: Floor) -> None:
    await floor.wish(4)
    await floor.end()
    assert (await floor.beat())[NOISY].steps == 4


# -- who decides -------------------------------------------------------------------------------------------------------


async def test_one_decides_until_it_says_so_no_more(claims: Claims, clock: ManualClock) -> None:
    assert await claims.decide("a", holder="g0", rank=1)
    assert not await claims.decide("a", holder="g1", rank=1)
    assert await claims.decide("b", holder="g1", rank=1)
    await time_passes(claims, clock, (DECIDES_MS - 500) / 1_000)
    assert await claims.decide("a", holder="g0", rank=1)
    await time_passes(claims, clock, (DECIDES_MS - 500) / 1_000)
    assert not await claims.decide("a", holder="g1", rank=1)
    await time_passes(claims, clock, 0.5)
    assert await claims.decide("a", holder="g1", rank=1)
    assert not await claims.decide("a", holder="g0", rank=1)


async def test_the_operator_takes_it_from_a_gateway_and_no_gateway_from_it(claims: Claims) -> None:
    assert await claims.decide("a", holder="g0", rank=1)
    assert await claims.decide("a", holder="operator-1", rank=0)
    assert not await claims.decide("a", holder="g0", rank=1)
    assert not await claims.decide("a", holder="operator-2", rank=0)


async def test_who_decided_by_a_clock_that_was_ahead_decides_no_more(
    claims: Claims, clock: ManualClock, floor: Floor
) -> None:
    assert await claims.decide("a", holder="g0", rank=1)
    ahead_ms = str(clock.wall_ms() + 60_000)
    await cast("Any", floor.redis.hset(f"{keys.PREFIX}pool:a:levelling", "until_ms", ahead_ms))
    assert await claims.decide("a", holder="g1", rank=1)
