"""A claim takes the highest level that fits now, down to what the spec allows; a model that stands in comes last."""

from dataclasses import replace
from typing import Any, cast

import pytest

from genlock_core import store
from genlock_core.claims import keys
from genlock_core.claims.claims import Claims, Held, MoveCause
from genlock_core.claims.pulse import Vitals
from genlock_core.claims.record import HalfRate, PoolChoice, SessionRecord
from genlock_core.errors import NoCapacity, Overloaded
from genlock_core.spec.session import Approximation, Phase
from tests.core.claims.samples import offer, record

LEVELS = (300, 500, 700, 1_000)
OWN = PoolChoice("a", LEVELS[3], LEVELS)
HALVED = replace(OWN, half=HalfRate(1, 150))
SMALL = PoolChoice("b", 200, (50, 100, 150, 200), model="small")
NEW = "default/new"


class Room:
    """A worker in pool a with so much left for a new session."""

    def __init__(self, claims: Claims, redis: store.Store) -> None:
        self.claims = claims
        self.redis = redis
        self.worker = offer("w0")

    async def open(self, free: int, *, halves: bool = True) -> None:
        self.worker = offer("w0", halves=halves)
        await self.claims.register(self.worker)
        if free < 1_000:
            await self.claims.create(record("guest", PoolChoice("a", 1_000 - free)))
            await self.claims.claim("default/guest")

    async def claim(
        self, *choices: PoolChoice, steps: int = 4, adaptive: bool = True, min_steps: int = 1
    ) -> tuple[str, int, int, int]:
        """Pool, cost, steps and every how many-th frame."""
        made = record("new", *choices, steps=steps, adaptive=adaptive)
        if min_steps > 1:
            approximation = Approximation(min_steps=min_steps)
            made = replace(made, session=made.session.model_copy(update={"approximation": approximation}))
        await self.claims.create(made)
        await self.claims.claim(NEW)
        return await self.level()

    async def level(self) -> tuple[str, int, int, int]:
        found = await self.record()
        assert found.granted is not None
        return found.pool, found.cost, found.granted.steps, found.granted.every

    async def record(self) -> SessionRecord:
        found = await self.claims.record(NEW)
        assert found is not None
        return found

    async def fits(self) -> bool:
        room = await self.claims.room(NEW)
        assert room is not None
        return room.fits

    async def leave(self) -> None:
        await self.claims.release(NEW, epoch=(await self.record()).epoch, phase=Phase.RECOVERING)


@pytest.fixture
def room(claims: Claims, redis_store: store.Store) -> Room:
    return Room(claims, redis_store)


@pytest.mark.parametrize(("free", "steps"), [(1_000, 4), (999, 3), (500, 2), (300, 1)])
async def test_a_new_session_gets_the_highest_level_that_fits(room: Room, free: int, steps: int) -> None:
    await room.open(free)
    assert await room.claim(OWN) == ("a", LEVELS[steps - 1], steps, 1)
    assert (await room.record()).below_since_ms > 0 or steps == 4


async def test_where_not_even_the_lowest_fits_it_waits(room: Room) -> None:
    await room.open(299)
    with pytest.raises(NoCapacity):
        await room.claim(OWN)
    assert not await room.fits()
    await room.claims.create(record("new", HALVED, steps=4))
    assert await room.fits()


async def test_what_is_room_is_room_at_the_lowest_level(room: Room) -> None:
    await room.open(300)
    await room.claims.create(record("new", OWN, steps=4))
    assert await room.fits()
    await room.claims.create(record("new", OWN, steps=4, adaptive=False))
    assert not await room.fits()


async def test_nobody_starts_below_what_its_spec_allows(room: Room) -> None:
    await room.open(500)
    with pytest.raises(NoCapacity):
        await room.claim(OWN, min_steps=3)
    assert await room.claim(OWN, min_steps=2) == ("a", 500, 2, 1)


async def test_one_that_is_never_lowered_waits_for_all_that_it_asks_for(room: Room) -> None:
    await room.open(999)
    with pytest.raises(NoCapacity):
        await room.claim(OWN, adaptive=False)


async def test_a_higher_level_in_the_second_pool_comes_before_a_lower_one_in_the_first(room: Room) -> None:
    await room.open(300)
    await room.claims.register(offer("w1", "b"))
    assert await room.claim(OWN, replace(OWN, pool="b")) == ("b", 1_000, 4, 1)


async def test_a_lower_level_at_a_worker_that_is_on_time_comes_before_a_higher_one_at_a_late_one(room: Room) -> None:
    await room.open(300)
    late = offer("w1")
    await room.claims.register(late)
    vitals = Vitals(1, "stepping", 2_000, 0, patient=False, overloaded=False)
    await room.claims.renew(late.identity, progress=1, links={}, vitals=vitals)
    assert await room.claim(OWN) == ("a", 300, 1, 1)


async def test_an_overloaded_worker_takes_no_new_session_at_any_level(room: Room) -> None:
    await room.open(500)
    vitals = Vitals(1, "stepping", 0, 0, patient=False, overloaded=True)
    await room.claims.renew(room.worker.identity, progress=1, links={}, vitals=vitals)
    with pytest.raises(Overloaded):
        await room.claim(HALVED)
    assert [one.session for one in await room.claims.waiting("a")] == [NEW]


async def test_what_a_pool_keeps_for_moves_is_left_alone_at_a_lower_level(room: Room) -> None:
    await room.open(1_000)
    await room.claims.set_reserve("a", 400)
    assert await room.claim(OWN) == ("a", 500, 2, 1)


# -- every second frame ------------------------------------------------------------------------------------------------


async def test_below_the_fewest_steps_every_second_frame_is_better_than_none(room: Room) -> None:
    await room.open(299)
    assert await room.claim(HALVED) == ("a", 150, 1, 2)


async def test_a_session_is_halved_at_no_fewer_steps_than_its_spec_allows(room: Room) -> None:
    await room.open(400)
    assert await room.claim(replace(OWN, half=HalfRate(2, 250)), min_steps=2) == ("a", 250, 2, 2)


async def test_a_worker_that_leaves_out_no_frame_is_given_no_session_to_halve(room: Room) -> None:
    await room.open(280, halves=False)
    with pytest.raises(NoCapacity):
        await room.claim(HALVED)


async def test_a_spec_that_never_lowers_does_not_halve(room: Room) -> None:
    await room.open(280)
    with pytest.raises(NoCapacity):
        await room.claim(HALVED, adaptive=False)


async def test_a_user_who_wants_fewer_steps_than_half_the_frames_have_is_not_halved(room: Room) -> None:
    await room.open(280)
    with pytest.raises(NoCapacity):
        await room.claim(replace(OWN, half=HalfRate(2, 150)), steps=1)


async def test_a_worker_of_the_release_before_is_given_every_frame(room: Room) -> None:
    """It has not said that it leaves out any."""
    await room.open(280)
    await cast("Any", room.redis.hdel(f"{keys.PREFIX}worker:w0", "halves"))
    with pytest.raises(NoCapacity):
        await room.claim(HALVED)


async def test_a_worker_that_knows_no_ceilings_is_given_nothing_below_what_is_requested(room: Room) -> None:
    """It would run all of that, whatever is paid for."""
    await room.open(999)
    await cast("Any", room.redis.hdel(f"{keys.PREFIX}worker:w0", "ceilings"))
    with pytest.raises(NoCapacity):
        await room.claim(OWN)
    await room.claims.create(record("new", OWN, steps=3))
    assert (await room.claims.claim(NEW)).cost == 700


async def test_a_session_that_lost_its_worker_goes_on_at_every_second_frame_rather_than_not_at_all(room: Room) -> None:
    await room.open(1_000)
    await room.claim(HALVED)
    other = offer("w1", "b")
    await room.claims.register(other)
    await room.claims.create(record("full", PoolChoice("b", 800)))
    await room.claims.claim("default/full")
    await room.claims.create(record("new", HALVED, replace(HALVED, pool="b"), steps=4))
    epoch = (await room.record()).epoch
    with pytest.raises(NoCapacity):
        await room.claims.move(NEW, expected_epoch=epoch, suspect=None, cause=MoveCause.DRAIN)
    await room.claims.move(NEW, expected_epoch=epoch, suspect="w0", cause=MoveCause.REFUSED)
    assert await room.level() == ("b", 150, 1, 2)


# -- another model -----------------------------------------------------------------------------------------------------


async def with_small(room: Room, free: int) -> None:
    await room.open(free)
    await room.claims.register(offer("s0", "b"))


async def test_another_model_stands_in_only_where_the_own_one_has_no_room_at_any_level(room: Room) -> None:
    await with_small(room, 300)
    assert await room.claim(OWN, SMALL) == ("a", 300, 1, 1)
    assert (await room.record()).stand_in is None


async def test_another_model_stands_in_where_the_own_one_has_no_room(room: Room) -> None:
    await with_small(room, 299)
    assert await room.claim(OWN, SMALL) == ("b", 200, 4, 1)
    found = await room.record()
    assert (found.stand_in, found.model) == ("small", "small")


async def test_another_model_stands_in_where_the_workers_of_the_own_one_are_overloaded(room: Room) -> None:
    await with_small(room, 500)
    vitals = Vitals(1, "stepping", 0, 0, patient=False, overloaded=True)
    await room.claims.renew(room.worker.identity, progress=1, links={}, vitals=vitals)
    assert (await room.claim(OWN, SMALL))[0] == "b"


async def test_a_session_that_ran_keeps_its_model_and_waits(room: Room) -> None:
    await with_small(room, 1_000)
    await room.claim(OWN, SMALL)
    await room.leave()
    await room.claims.create(record("other", PoolChoice("a", 900)))
    await room.claims.claim("default/other")
    with pytest.raises(NoCapacity):
        await room.claims.claim(NEW)
    assert not await room.fits()


async def test_a_session_that_only_an_older_epoch_tells_of_keeps_its_model(room: Room) -> None:
    await with_small(room, 299)
    await room.claims.create(record("new", OWN, SMALL, steps=4))
    with pytest.raises(NoCapacity):
        await room.claims.claim(NEW, seen_epoch=7)


async def test_a_model_that_stood_in_stays_with_the_session(room: Room) -> None:
    await with_small(room, 299)
    await room.claim(OWN, SMALL)
    await room.claims.release("default/guest", epoch=await guest_epoch(room), phase=Phase.ENDED)
    await room.leave()
    assert (await room.claims.claim(NEW)).pool == "b"
    epoch = (await room.record()).epoch
    with pytest.raises(NoCapacity):
        await room.claims.move(NEW, expected_epoch=epoch, suspect="s0", cause=MoveCause.REFUSED)
    await room.claims.register(offer("s1", "b"))
    moved = await room.claims.move(NEW, expected_epoch=epoch, suspect="s0", cause=MoveCause.REFUSED)
    assert moved.claim.worker.name == "s1"


async def guest_epoch(room: Room) -> int:
    guest = await room.claims.record("default/guest")
    assert guest is not None
    return guest.epoch


async def test_a_model_that_the_spec_names_no_more_is_left_for_the_own_one(room: Room) -> None:
    await with_small(room, 299)
    await room.claim(OWN, SMALL)
    await room.claims.release("default/guest", epoch=await guest_epoch(room), phase=Phase.ENDED)
    await room.claims.create(record("new", OWN, steps=4))
    await room.leave()
    assert (await room.claims.claim(NEW)).pool == "a"
    assert (await room.record()).stand_in is None


async def test_a_model_that_stands_in_is_raised_and_settled_by_its_own_prices(room: Room) -> None:
    await with_small(room, 299)
    await room.claim(OWN, SMALL, steps=1)
    assert (await room.claims.grant(NEW, 3)).steps == 3
    assert (await room.record()).cost == 150


async def test_what_a_worker_reasserts_keeps_the_model_that_stands_in(room: Room) -> None:
    await with_small(room, 299)
    await room.claim(OWN, SMALL)
    known = await room.record()
    await cast("Any", room.redis.flushall())
    worker = offer("s0", "b")
    await room.claims.reassert(worker, [Held(NEW, known.epoch, known.cost, known)])
    assert (await room.record()).model == "small"
    assert (await room.claims.claim(NEW)).pool == "b"
