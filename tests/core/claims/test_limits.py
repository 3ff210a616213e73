"""A plan of levels limits what a claim pays for: lower at once, cheaper once settled; upwards the claim pays first."""

from dataclasses import replace
from typing import Any, cast

import pytest

from genlock_core.claims import keys
from genlock_core.claims.claims import Fit, GrantAnswer, GrantOutcome, Held, LimitOutcome, MoveCause
from genlock_core.claims.facts import AssignmentKind
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.liveness import GIVE_BACK_MS
from genlock_core.claims.record import Granted, HalfRate, LevelLimit, PoolChoice
from genlock_core.spec.session import Approximation, Phase
from tests.core.claims.floor import NOISY, POOL, Floor
from tests.core.claims.samples import offer, record

HALF = HalfRate(1, 150)
HALVABLE = replace(POOL, half=HALF)


async def granted(floor: Floor, session: str = NOISY) -> tuple[int, int, int]:
    """Steps, every how many-th frame, and the cost."""
    found = await floor.record(session)
    assert found.granted is not None
    return found.granted.steps, found.granted.every, found.cost


# -- downwards ---------------------------------------------------------------------------------------------------------


async def test_a_limit_lowers_at_once_and_costs_less_only_once_the_worker_has_settled_it(floor: Floor) -> None:
    await floor.wish(3)
    assert await floor.limit(1) is LimitOutcome.DONE
    assert await granted(floor) == (1, 1, 700)
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.cost, told.due) == (1, 700, 300)
    assert await floor.costs() == (700, 300, 0), "the worker may still run three"

    assert await floor.settle()

    assert await floor.costs() == (300, 300, 400)
    assert (await floor.beat())[NOISY].steps == 1, "there is room, and a heartbeat raises no higher than the limit"
    assert await floor.costs() == (300, 300, 400)


async def test_the_worker_is_told_that_there_is_something_to_ask_for(floor: Floor) -> None:
    await floor.wish(3)
    await floor.claims.assignments(floor.worker.identity, "0", 1)
    before = len(await floor.claims.assignments(floor.worker.identity, "0", 1))
    await floor.limit(1)
    told = await floor.claims.assignments(floor.worker.identity, "0", 1)
    assert [(one.kind, one.session) for one in told[before:]] == [(AssignmentKind.LEVEL, NOISY)]


async def test_a_plan_made_of_an_older_grant_changes_nothing(floor: Floor) -> None:
    await floor.wish(2)
    known = await floor.number()
    await floor.wish(3)
    assert await floor.limit(1, number=known) is LimitOutcome.STALE
    assert await granted(floor) == (3, 1, 700)
    assert (await floor.record()).limit is None


async def test_of_two_who_decide_by_the_same_facts_the_second_changes_nothing(floor: Floor) -> None:
    await floor.wish(3)
    known = await floor.number()
    assert await floor.limit(1, number=known) is LimitOutcome.DONE
    assert await floor.limit(2, number=known) is LimitOutcome.STALE
    assert await granted(floor) == (1, 1, 700)


async def test_a_plan_made_of_another_claim_changes_nothing(floor: Floor) -> None:
    found = await floor.record()
    for epoch in (found.epoch - 1, found.epoch + 1):
        outcome = await floor.claims.limit(NOISY, epoch=epoch, number=await floor.number(), steps=1)
        assert outcome is LimitOutcome.STALE
    await floor.claims.release(NOISY, epoch=found.epoch, phase=Phase.RECOVERING)
    assert found.granted is not None
    gone = await floor.claims.limit(NOISY, epoch=found.epoch, number=found.granted.number, steps=1)
    assert gone is LimitOutcome.STALE


async def test_a_settlement_of_before_the_limit_makes_nothing_cheaper(floor: Floor) -> None:
    await floor.wish(3)
    known, epoch = await floor.number(), (await floor.record()).epoch
    await floor.limit(1)
    assert not await floor.claims.settle(NOISY, epoch=epoch, number=known)
    assert await floor.costs() == (700, 300, 0)


async def test_a_settlement_that_a_raise_has_overtaken_makes_nothing_cheaper(floor: Floor) -> None:
    await floor.wish(3)
    await floor.limit(1)
    lowered = await floor.number()
    await floor.limit(None)
    epoch = (await floor.record()).epoch
    assert await granted(floor) == (3, 1, 700)
    assert not await floor.claims.settle(NOISY, epoch=epoch, number=lowered)
    assert await floor.costs() == (700, 300, 0)


async def test_nobody_is_limited_below_what_its_spec_allows(floor: Floor) -> None:
    await floor.claims.create(record("noisy", POOL, steps=3, adaptive=False))
    await floor.claims.fit(NOISY, expected_epoch=(await floor.record()).epoch)
    assert await floor.limit(2) is LimitOutcome.STALE
    assert await granted(floor) == (3, 1, 700)


async def test_a_spec_that_allows_less_than_the_plan_knew_ends_the_limit(floor: Floor) -> None:
    await floor.wish(3)
    await floor.limit(1)
    await floor.settle()
    await floor.claims.create(record("noisy", POOL, steps=1, adaptive=False))
    assert (await floor.beat())[NOISY].steps == 3


@pytest.mark.parametrize("unknown", ["ceilings", "halves"])
async def test_a_worker_that_keeps_to_no_limit_is_given_none(floor: Floor, unknown: str) -> None:
    """It would run more, or its next heartbeat would raise the claim again, as those of the release before do."""
    await cast("Any", floor.redis.hdel(f"{keys.PREFIX}worker:w0", unknown))
    await floor.claims.grant(NOISY, 3)
    assert await floor.limit(1) is LimitOutcome.STALE
    assert await floor.costs() == (700, 300, 0)


async def test_a_lower_level_that_costs_more_is_paid_for_first(floor: Floor) -> None:
    """Measured figures may say so; then it is a raise."""
    await floor.wish(3)
    await floor.claims.create(record("noisy", PoolChoice("a", 300, (750, 500, 700, 1_000)), steps=3))
    assert await floor.limit(1) is LimitOutcome.NO_ROOM
    assert await floor.costs() == (700, 300, 0)
    assert (await floor.beat())[NOISY].steps == 3
    await floor.end()
    assert await floor.limit(1) is LimitOutcome.DONE
    assert (await floor.record()).cost == 750


async def test_what_nobody_wants_is_kept_where_giving_it_back_would_cost_more_than_there_is(floor: Floor) -> None:
    await floor.wish(3)
    await floor.claims.create(record("noisy", PoolChoice("a", 300, (750, 500, 700, 1_000)), steps=3))
    await floor.wish(1)
    await floor.time_passes(GIVE_BACK_MS + 1_000)
    assert await granted(floor) == (3, 1, 700)


async def test_a_settlement_of_a_record_that_has_lost_its_levels_changes_no_cost(floor: Floor) -> None:
    await floor.wish(3)
    await floor.limit(1)
    await floor.claims.create(record("noisy", PoolChoice("a", 300), steps=3))
    assert await floor.settle()
    assert (await floor.record()).cost == 700


# -- upwards -----------------------------------------------------------------------------------------------------------


async def test_a_limit_that_goes_is_paid_for_as_far_as_there_is_room_and_the_rest_waits(floor: Floor) -> None:
    await floor.wish(4)
    await floor.limit(1)
    await floor.settle()
    assert await floor.limit(None) is LimitOutcome.NO_ROOM
    assert await floor.costs() == (700, 300, 0)
    assert (await floor.record()).limit is None
    await floor.end()
    assert (await floor.beat())[NOISY].steps == 4


async def test_a_higher_limit_raises_up_to_it_and_a_heartbeat_no_further(floor: Floor) -> None:
    await floor.wish(3)
    await floor.limit(1)
    await floor.settle()
    assert await floor.limit(2) is LimitOutcome.DONE
    assert await floor.costs() == (500, 300, 200)
    assert (await floor.beat())[NOISY].steps == 2


async def test_a_user_who_asks_for_more_than_the_limit_is_told_what_there_is(floor: Floor) -> None:
    await floor.limit(1)
    assert await floor.wish(2) == GrantAnswer(GrantOutcome.NO_ROOM, 1)
    assert await floor.costs() == (300, 300, 400)
    await floor.limit(None)
    assert await granted(floor) == (2, 1, 500)


async def test_a_changed_spec_fits_where_it_pays_for_all_that_the_plan_allows(floor: Floor) -> None:
    """It is not moved away for more."""
    await floor.limit(1)
    await floor.claims.create(record("noisy", POOL, steps=2))
    assert await floor.claims.fit(NOISY, expected_epoch=(await floor.record()).epoch) is Fit.FITS
    assert await floor.costs() == (300, 300, 400)


async def test_what_nobody_wants_is_given_back_below_the_limit_too(floor: Floor) -> None:
    await floor.wish(3)
    await floor.limit(2)
    await floor.wish(1)
    await floor.time_passes(GIVE_BACK_MS + 1_000)
    assert (await floor.beat())[NOISY].steps == 1


# -- what the record says ----------------------------------------------------------------------------------------------


async def test_the_record_says_since_when_it_is_limited_and_a_plan_that_says_so_again_changes_nothing(
    floor: Floor,
) -> None:
    await floor.limit(1)
    since_ms = floor.clock.wall_ms()
    limited = LevelLimit(1, 1, since_ms)
    assert (await floor.record()).limit == limited
    await floor.time_passes(1_000)
    assert await floor.limit(1) is LimitOutcome.DONE
    assert (await floor.record()).limit == limited


async def test_the_record_says_since_when_less_is_granted_than_requested(floor: Floor) -> None:
    assert (await floor.record()).below_since_ms == 0
    await floor.wish(4)
    await floor.beat()
    since_ms = floor.clock.wall_ms()
    assert (await floor.record()).below_since_ms == since_ms
    await floor.time_passes(1_000)
    await floor.limit(2)
    assert (await floor.record()).below_since_ms == since_ms
    await floor.wish(2)
    await floor.beat()
    assert (await floor.record()).below_since_ms == 0


async def test_a_limit_ends_with_its_claim(floor: Floor) -> None:
    await floor.wish(3)
    await floor.limit(1)
    await floor.claims.release(NOISY, epoch=(await floor.record()).epoch, phase=Phase.RECOVERING)
    claim = await floor.claims.claim(NOISY)
    assert claim.cost == 700
    assert (await floor.record()).limit is None


@pytest.mark.parametrize("record_is", ["lost", "that of an older replica"])
async def test_a_limit_comes_back_with_what_a_worker_reasserts(floor: Floor, record_is: str) -> None:
    await floor.wish(3)
    await floor.limit(2)
    await floor.settle()
    await floor.beat()
    known = await floor.record()
    await cast("Any", floor.redis.flushall())
    if record_is != "lost":
        await floor.claims.create(record("noisy", POOL, steps=1))

    held = Held(NOISY, known.epoch, known.cost, known)
    assert (await floor.claims.reassert(floor.worker, [held])).kept == (NOISY,)

    found = await floor.record()
    assert (found.limit, found.cost, found.epoch) == (known.limit, 500, known.epoch)
    assert found.granted is not None
    assert known.granted is not None
    assert (found.granted.steps, found.granted.every) == (2, 1)
    assert found.granted.number > known.granted.number
    if record_is == "lost":
        assert found.below_since_ms == known.below_since_ms > 0


# -- every second frame ------------------------------------------------------------------------------------------------


async def halvable(floor: Floor, choice: PoolChoice = HALVABLE, *, steps: int = 1) -> None:
    await floor.claims.create(record("noisy", choice, steps=steps))


async def test_every_second_frame_is_below_the_fewest_steps(floor: Floor) -> None:
    await halvable(floor)
    assert await floor.limit(1, every=2) is LimitOutcome.DONE
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.every, told.cost, told.due) == (1, 2, 300, 150)
    assert await floor.settle()
    assert await floor.costs() == (150, 300, 550)
    assert (await floor.record()).below_since_ms > 0

    assert await floor.limit(None) is LimitOutcome.DONE
    assert await granted(floor) == (1, 1, 300)
    assert (await floor.record()).below_since_ms == 0


async def test_a_user_who_asks_for_more_than_half_the_frames_is_told_of_the_frames_too(floor: Floor) -> None:
    await halvable(floor)
    await floor.limit(1, every=2)
    assert await floor.wish(1) == GrantAnswer(GrantOutcome.NO_ROOM, 1, every=2)
    assert await floor.wish(3) == GrantAnswer(GrantOutcome.NO_ROOM, 1, every=2)


@pytest.mark.parametrize("has", ["a worker that leaves out no frame", "no such price", "other steps there"])
async def test_nobody_is_halved_who_cannot_be(floor: Floor, has: str) -> None:
    match has:
        case "a worker that leaves out no frame":
            await cast("Any", floor.redis.hset(f"{keys.PREFIX}worker:w0", "halves", "0"))
            await halvable(floor)
        case "other steps there":
            await halvable(floor, replace(POOL, half=HalfRate(2, 150)))
    assert await floor.limit(1, every=2) is LimitOutcome.STALE
    assert await granted(floor) == (1, 1, 300)


async def test_who_may_be_halved_no_more_is_raised_as_soon_as_there_is_room(floor: Floor) -> None:
    await halvable(floor)
    await floor.limit(1, every=2)
    await floor.settle()
    await floor.claims.create(record("noisy", POOL, steps=1))
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.every, told.cost) == (1, 1, 300)


async def test_who_may_be_halved_no_more_and_finds_no_room_pays_what_it_paid(floor: Floor) -> None:
    await halvable(floor)
    await floor.limit(1, every=2)
    await floor.settle()
    await floor.claims.create(record("guest", PoolChoice("a", 550)))
    await floor.claims.claim("default/guest")
    await floor.claims.create(record("noisy", POOL, steps=1))
    told = (await floor.beat())[NOISY]
    assert (told.every, told.cost, told.due) == (2, 150, 150)


async def test_half_the_frames_at_other_steps_is_told_once_it_is_paid_for(floor: Floor) -> None:
    """The spec allows no fewer than 2 steps by now."""
    await halvable(floor, steps=2)
    await floor.limit(1, every=2)
    await floor.settle()
    await floor.claims.create(record("noisy", replace(POOL, half=HalfRate(2, 250)), steps=2))
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.every, told.cost, told.due) == (2, 2, 250, 250)


async def test_a_user_who_wants_fewer_steps_than_half_the_frames_have_is_not_halved(floor: Floor) -> None:
    await halvable(floor, replace(POOL, half=HalfRate(2, 250)), steps=2)
    assert await floor.limit(2, every=2) is LimitOutcome.DONE
    await floor.wish(1)
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.every) == (1, 1)


async def test_half_the_frames_are_not_left_for_fewer_steps_than_the_spec_allows(floor: Floor) -> None:
    """There is room for 1 step of every frame, and the spec allows no fewer than 2."""
    made = record("noisy", replace(POOL, half=HalfRate(2, 150)), steps=2)
    approximation = Approximation(min_steps=2)
    session = made.session.model_copy(update={"approximation": approximation})
    await floor.claims.create(replace(made, session=session))
    assert await floor.limit(2, every=2) is LimitOutcome.DONE
    await floor.settle()
    await floor.claims.create(record("guest", PoolChoice("a", 350)))
    await floor.claims.claim("default/guest")
    assert await floor.limit(None) is LimitOutcome.NO_ROOM
    assert await granted(floor) == (2, 2, 150)


async def test_a_halved_session_of_a_lost_record_comes_back_halved(floor: Floor) -> None:
    await halvable(floor)
    await floor.limit(1, every=2)
    await floor.settle()
    known = await floor.record()
    await cast("Any", floor.redis.flushall())
    await floor.claims.reassert(floor.worker, [Held(NOISY, known.epoch, known.cost, known)])
    assert await granted(floor) == (1, 2, 150)


async def test_a_record_that_has_lost_its_levels_is_halved_no_more(floor: Floor) -> None:
    await halvable(floor)
    await floor.limit(1, every=2)
    await floor.settle()
    await floor.claims.create(record("noisy", PoolChoice("a", 300), steps=1))
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.every) == (1, 1)


async def test_what_the_release_before_grants_is_every_frame(floor: Floor) -> None:
    """It knows no half, and leaves what it does not know where it is."""
    await halvable(floor)
    await floor.limit(1, every=2)
    number = await floor.number() + 1
    await cast("Any", floor.redis.hset(keys.record(NOISY), mapping={"granted": "1", "granted_number": str(number)}))
    told = (await floor.beat())[NOISY]
    assert (told.steps, told.every) == (1, 1)
    assert (await floor.record()).granted == Granted(1, number, floor.clock.wall_ms())


async def test_a_polite_move_of_a_halved_session_takes_nothing_more_away(floor: Floor) -> None:
    await halvable(floor)
    await floor.limit(1, every=2)
    await floor.settle()
    other = await crowded(floor, free=200)
    epoch = (await floor.record()).epoch
    moved = await floor.claims.move(NOISY, expected_epoch=epoch, suspect=None, cause=MoveCause.DRAIN)
    assert (moved.claim.worker, moved.claim.cost) == (other.identity, 150)
    assert await granted(floor) == (1, 2, 150)


async def crowded(floor: Floor, *, free: int) -> WorkerOffer:
    """Another worker with so much room left, in a pool where the noisy one costs the same."""
    other = offer("w1", "b")
    await floor.claims.register(other)
    await floor.claims.create(record("guest", PoolChoice("b", 1_000 - free)))
    await floor.claims.claim("default/guest")
    await floor.claims.create(record("noisy", HALVABLE, replace(HALVABLE, pool="b"), steps=1))
    return other
