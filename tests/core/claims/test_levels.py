"""A claim pays for the steps that are granted: more are paid before they run, fewer once they run no more."""

from dataclasses import replace
from typing import Any, cast

import pytest

from genlock_core.claims import keys
from genlock_core.claims.claims import Fit, GrantAnswer, GrantOutcome, Held, MoveCause
from genlock_core.claims.facts import AssignmentKind
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.liveness import GIVE_BACK_MS, LONGEST_LEASE_MS
from genlock_core.claims.record import Granted, PoolChoice
from genlock_core.errors import NoCapacity, Overloaded
from genlock_core.spec.session import Phase
from tests.core.claims.floor import NOISY, POOL, QUIET, Floor
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import offer, record


async def test_a_raise_is_paid_as_far_as_there_is_room(floor: Floor) -> None:
    assert await floor.wish(4) == GrantAnswer(GrantOutcome.NO_ROOM, 3)
    assert await floor.costs() == (700, 300, 0)
    assert await floor.wish(2, QUIET) == GrantAnswer(GrantOutcome.NO_ROOM, 1)


async def test_what_is_missing_is_granted_with_the_first_heartbeat_that_has_room_for_it(floor: Floor) -> None:
    await floor.wish(4)
    before = (await floor.beat())[NOISY]
    await floor.end()

    after = (await floor.beat())[NOISY]

    assert (before.steps, after.steps, after.cost, after.due) == (3, 4, 1_000, 1_000)
    assert after.number > before.number


async def test_whose_level_is_the_oldest_is_granted_first(floor: Floor) -> None:
    await floor.time_passes(500)
    await floor.claims.release(NOISY, epoch=(await floor.record()).epoch, phase=Phase.RECOVERING)
    await floor.claims.claim(NOISY)  # from now on it has waited less than the other one
    await floor.claims.create(record("guest", PoolChoice("a", 400)))
    await floor.claims.claim("default/guest")
    assert {(await floor.wish(2, session)).outcome for session in (NOISY, QUIET)} == {GrantOutcome.NO_ROOM}

    await floor.claims.create(record("guest", PoolChoice("a", 200)))
    await floor.claims.fit("default/guest", expected_epoch=(await floor.record("default/guest")).epoch)
    ceilings = await floor.beat()

    assert (ceilings[QUIET].steps, ceilings[NOISY].steps) == (2, 1)


async def test_a_worker_is_told_at_once_that_there_is_something_to_ask_for(floor: Floor) -> None:
    await floor.wish(2)
    told = await floor.claims.assignments(floor.worker.identity, "0", 1)
    assert [(one.kind, one.session) for one in told][-1] == (AssignmentKind.LEVEL, NOISY)


async def test_fewer_steps_cost_less_only_once_the_worker_has_settled_them(floor: Floor) -> None:
    await floor.wish(3)
    await floor.wish(1)
    await floor.time_passes(GIVE_BACK_MS - 500)
    assert (await floor.record()).granted is not None
    assert (await floor.beat())[NOISY].steps == 3

    await floor.time_passes(1_000)
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.cost, told.due) == (1, 700, 300)
    assert await floor.costs() == (700, 300, 0), "the worker may still run three"

    epoch = (await floor.record()).epoch
    assert not await floor.claims.settle(NOISY, epoch=epoch + 1, number=told.number)
    assert not await floor.claims.settle(NOISY, epoch=epoch, number=told.number - 1)
    assert await floor.claims.settle(NOISY, epoch=epoch, number=told.number)
    assert await floor.costs() == (300, 300, 400)
    assert await floor.claims.settle(NOISY, epoch=epoch, number=told.number), "again, as after a lost reply"
    assert await floor.costs() == (300, 300, 400)


async def test_a_settlement_that_a_raise_has_overtaken_changes_nothing(floor: Floor) -> None:
    await floor.wish(3)
    await floor.wish(1)
    await floor.time_passes(GIVE_BACK_MS + 1_000)
    lowered = (await floor.beat())[NOISY]
    await floor.wish(3)

    assert not await floor.claims.settle(NOISY, epoch=(await floor.record()).epoch, number=lowered.number)
    assert await floor.costs() == (700, 300, 0)


async def test_a_slider_on_its_way_does_not_lose_its_place(floor: Floor) -> None:
    await floor.wish(3)
    for steps in (1, 2, 1, 2, 1, 2):
        await floor.wish(steps)
        await floor.time_passes(5_000)
    assert (await floor.beat())[NOISY].steps == 3
    assert await floor.costs() == (700, 300, 0)


async def test_a_gateway_that_died_before_the_wish_was_written_down_costs_nothing_for_long(floor: Floor) -> None:
    await floor.claims.grant(NOISY, 3)
    await floor.time_passes(GIVE_BACK_MS + 1_000)
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.due) == (1, 300)


async def test_a_session_is_claimed_anew_at_what_its_user_wants(floor: Floor) -> None:
    await floor.end()
    await floor.wish(4)
    await floor.claims.release(NOISY, epoch=(await floor.record()).epoch, phase=Phase.RECOVERING)
    assert (await floor.claims.claim(NOISY)).cost == 1_000
    assert (await floor.record()).granted == Granted(4, (await floor.beat())[NOISY].number, await granted_ms(floor))


async def granted_ms(floor: Floor) -> int:
    return int(await cast("Any", floor.redis.hget(keys.record(NOISY), "granted_ms")))


async def crowded(floor: Floor, *, free: int, adaptive: bool = True) -> WorkerOffer:
    """Another worker with so much room left; the noisy one pays for 3 steps."""
    await floor.claims.create(record("noisy", POOL, steps=3, adaptive=adaptive))
    await floor.claims.fit(NOISY, expected_epoch=(await floor.record()).epoch)
    other = offer("w1", "b")
    await floor.claims.register(other)
    await floor.claims.create(record("guest", PoolChoice("b", 1_000 - free)))
    await floor.claims.claim("default/guest")
    pools = (POOL, replace(POOL, pool="b"))
    await floor.claims.create(record("noisy", *pools, steps=3, adaptive=adaptive))
    return other


async def test_a_session_that_lost_its_worker_goes_on_with_fewer_steps_rather_than_not_at_all(floor: Floor) -> None:
    other = await crowded(floor, free=600)
    epoch = (await floor.record()).epoch

    move = await floor.claims.move(NOISY, expected_epoch=epoch, suspect="w0", cause=MoveCause.REFUSED)

    found = await floor.record()
    assert (move.claim.worker, move.claim.cost) == (other.identity, 500)
    assert (found.granted and found.granted.steps, found.requested_steps) == (2, 3)
    await floor.claims.forget("default/guest")
    await floor.end("default/guest")
    assert (await floor.beat(other))[NOISY].steps == 3, "and gets them back when there is room"


async def test_one_that_is_never_lowered_waits(floor: Floor) -> None:
    await crowded(floor, free=600, adaptive=False)
    epoch = (await floor.record()).epoch
    with pytest.raises(NoCapacity):
        await floor.claims.move(NOISY, expected_epoch=epoch, suspect="w0", cause=MoveCause.REFUSED)


@pytest.mark.parametrize("cause", [MoveCause.DRAIN, MoveCause.REQUESTED])
async def test_a_polite_move_takes_nothing_away(floor: Floor, cause: MoveCause) -> None:
    await crowded(floor, free=600)
    epoch = (await floor.record()).epoch
    with pytest.raises(NoCapacity):
        await floor.claims.move(NOISY, expected_epoch=epoch, suspect=None, cause=cause)


async def test_a_move_for_the_sake_of_steps_pays_for_them_before_they_are_asked_for(floor: Floor) -> None:
    await crowded(floor, free=1_000 - 1)
    epoch = (await floor.record()).epoch
    with pytest.raises(NoCapacity):
        await floor.claims.move(NOISY, expected_epoch=epoch, suspect=None, cause=MoveCause.REQUESTED, steps=4)
    moved = await floor.claims.move(NOISY, expected_epoch=epoch, suspect=None, cause=MoveCause.REQUESTED, steps=3)
    assert moved.claim.cost == 700


async def test_what_is_kept_for_moves_is_no_room_for_a_wish_but_is_for_a_changed_spec(floor: Floor) -> None:
    await floor.claims.set_reserve("a", 300)
    assert await floor.wish(2) == GrantAnswer(GrantOutcome.NO_ROOM, 1)
    assert (await floor.beat())[NOISY].steps == 1
    assert await floor.claims.fit(NOISY, expected_epoch=(await floor.record()).epoch) is Fit.FITS
    assert await floor.costs() == (500, 300, 200)


async def test_a_worker_that_says_it_is_overloaded_gets_no_more_to_do_until_it_is_not(floor: Floor) -> None:
    await floor.beat(overloaded=True)
    assert await floor.wish(2) == GrantAnswer(GrantOutcome.NO_ROOM, 1)
    assert (await floor.beat(overloaded=True))[NOISY].steps == 1
    await floor.claims.create(record("quiet", POOL, steps=2))
    assert await floor.claims.fit(QUIET, expected_epoch=(await floor.record(QUIET)).epoch) is Fit.NO_ROOM
    assert await floor.costs() == (300, 300, 400)
    assert (await floor.beat(overloaded=False))[NOISY].steps == 2


async def test_who_wants_less_than_has_got_dearer_has_all_that_it_wants_and_takes_no_room(floor: Floor) -> None:
    await floor.wish(2)
    dearer = PoolChoice("a", 300, (300, 650, 960, 1_000))
    await floor.claims.create(record("noisy", dearer, steps=1))
    await floor.claims.remember_control(NOISY, {"steps": "1"}, "99-0")

    assert await floor.claims.fit(NOISY, expected_epoch=(await floor.record()).epoch) is Fit.FITS
    assert await floor.claims.grant(NOISY, 1) == GrantAnswer(GrantOutcome.FITS, 2)
    await floor.beat()
    assert await floor.costs() == (500, 300, 200), "the room is the neighbour's, as the rest is about to be given back"
    assert await floor.wish(2) == GrantAnswer(GrantOutcome.FITS, 2)
    assert await floor.costs() == (650, 300, 50)


# -- records that are lost ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["lost", "made anew"])
async def test_a_lost_record_costs_the_other_sessions_of_its_worker_nothing(floor: Floor, again: str) -> None:
    """A server that evicts keys loses one; the operator makes it anew, without an owner."""
    await cast("Any", floor.redis.delete(keys.record(QUIET)))
    if again == "made anew":
        await floor.claims.create(replace(record("quiet", POOL, steps=2), epoch=5, granted=Granted(1, 5)))

    for _ in range(20):
        await floor.time_passes(500)
        await floor.claims.expire()

    assert (await floor.record()).owner == floor.worker.identity
    assert (await floor.wish(2)).steps == 2
    await time_passes(floor.claims, floor.clock, LONGEST_LEASE_MS / 1_000 + 1)
    assert NOISY in await floor.claims.expire(), "nor does the sweep stop at it"
    assert (await floor.record()).owner is None


@pytest.mark.parametrize("again", ["lost", "made anew", "claimed anew"])
async def test_a_worker_that_comes_anew_is_let_in_though_a_record_is_lost(floor: Floor, again: str) -> None:
    await cast("Any", floor.redis.delete(keys.record(QUIET)))
    other = offer("w1", "b")
    await floor.claims.register(other)
    if again != "lost":
        await floor.claims.create(replace(record("quiet", replace(POOL, pool="b")), epoch=5))
    if again == "claimed anew":
        await floor.claims.claim(QUIET)

    await floor.claims.register(offer("w0"))

    (view,) = [view for view in await floor.claims.workers() if view.identity.name == "w0"]
    assert (view.free, dict(view.sessions)) == (1_000, {})
    found = await floor.claims.record(QUIET)
    assert (found and found.owner) == (other.identity if again == "claimed anew" else None)


async def test_what_only_an_older_epoch_tells_of_is_no_new_session(floor: Floor) -> None:
    """A replica that knew less took over: the record says that nobody ever served it, who asks for it knows better."""
    await floor.beat(overloaded=True)
    for name in ("old", "older", "new"):
        await floor.claims.create(record(name, PoolChoice("a", 100, (100, 100)), steps=1))
    with pytest.raises(Overloaded):
        await floor.claims.claim("default/new")
    assert (await floor.claims.claim("default/old", seen_epoch=77)).worker.name == "w0"
    moved = await floor.claims.move("default/older", expected_epoch=77, suspect="gone", cause=MoveCause.REFUSED)
    assert moved.claim.worker.name == "w0"


# -- beside the release before -----------------------------------------------------------------------------------------


async def test_a_worker_that_knows_no_ceilings_is_not_asked_for_what_it_has_no_room_for(floor: Floor) -> None:
    await cast("Any", floor.redis.hdel(f"{keys.PREFIX}worker:w0", "ceilings"))
    assert await floor.claims.grant(NOISY, 4) == GrantAnswer(GrantOutcome.REFUSED, 1)
    assert await floor.costs() == (300, 300, 400)
    assert await floor.claims.grant(NOISY, 3) == GrantAnswer(GrantOutcome.FITS, 3)
    told = await floor.claims.assignments(floor.worker.identity, "0", 1)
    assert AssignmentKind.LEVEL not in [one.kind for one in told], "it could not read that"


async def test_a_claim_by_the_release_before_is_granted_what_it_pays_for(floor: Floor) -> None:
    """It raises the epoch, and writes the cost of the spec's steps."""
    await floor.wish(3)
    before = (await floor.record()).epoch
    await cast("Any", floor.redis.hset(keys.record(NOISY), "epoch", str(before + 1)))
    await cast("Any", floor.redis.hset(f"{keys.PREFIX}worker:w0:sessions", NOISY, f"{before + 1}:700"))
    assert (await floor.record()).granted is None

    told = (await floor.beat())[NOISY]

    assert (told.steps, told.cost) == (3, 700)


async def test_a_record_of_the_release_before_costs_the_same_at_any_steps(floor: Floor) -> None:
    await floor.claims.create(record("noisy", PoolChoice("a", 300), steps=1))
    await cast("Any", floor.redis.hdel(keys.record(NOISY), "steps", "min_steps", "granted"))
    assert await floor.claims.grant(NOISY, 4) == GrantAnswer(GrantOutcome.UNSERVED)
    assert NOISY not in await floor.beat()
    assert await floor.costs() == (300, 300, 400)


async def test_a_wish_is_granted_where_the_record_has_lost_its_levels(floor: Floor) -> None:
    """An operator of the release before has written it: it costs the same at any steps; its worker has a ceiling."""
    await floor.wish(2)
    known = (await floor.beat())[NOISY]
    await floor.claims.create(record("noisy", PoolChoice("a", 300), steps=1))
    assert await floor.wish(4) == GrantAnswer(GrantOutcome.UNSERVED)

    told = (await floor.beat())[NOISY]

    assert (told.steps, told.cost, told.due) == (4, 500, 500)
    assert told.number > known.number
    assert (await floor.beat())[NOISY] == told

    await floor.claims.create(record("noisy", POOL, steps=1))
    assert await floor.wish(3) == GrantAnswer(GrantOutcome.FITS, 4), "when there are levels again they are paid for"
    assert await floor.costs() == (700, 300, 0)


async def test_what_was_granted_comes_back_with_what_a_worker_reasserts(floor: Floor) -> None:
    await floor.wish(3)
    known = await floor.record()
    await cast("Any", floor.redis.flushall())
    held = Held(NOISY, known.epoch, known.cost, known)
    assert (await floor.claims.reassert(floor.worker, [held])).kept == (NOISY,)

    found = await floor.record()

    assert known.granted is not None
    assert found.granted is not None
    assert (found.granted.steps, found.cost, found.requested_steps) == (3, 700, 3)
    assert found.granted.number > known.granted.number
