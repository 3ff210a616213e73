"""What a worker says of itself with its heartbeat, on a real Redis: who is told, and what it does to the leases."""

from dataclasses import replace

import pytest

from genlock_core.claims import liveness
from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import MoveCause
from genlock_core.claims.identity import WorkerIdentity, WorkerOffer
from genlock_core.claims.pulse import Vitals
from genlock_core.clock import ManualClock
from genlock_core.errors import NoCapacity, Overloaded
from tests.core.claims.samples import offer, record

DEMO = "default/demo"
WORKER = offer("w0")


def vitals(*, late_ms: int = 0, patience_ms: int = 1_000, patient: bool = True, overloaded: bool = False) -> Vitals:
    return Vitals(
        alive=7, phase="restoring", late_ms=late_ms, patience_ms=patience_ms, patient=patient, overloaded=overloaded
    )


async def owner(claims: Claims, clock: ManualClock) -> WorkerIdentity:
    """A worker with one session, of a Redis that has been up for a while."""
    await claims.register(WORKER)
    await claims.create(record())
    await claims.claim(DEMO)
    await beats(claims, clock, liveness.HOLD_MS / 1_000 + 1, said=vitals(), progresses=True)
    return WORKER.identity


async def beats(
    claims: Claims, clock: ManualClock, seconds: float, *, said: Vitals | None, progresses: bool = False
) -> set[str]:
    """Heartbeats for so long, with a sweep after each; the sessions that lost their owner meanwhile."""
    lost: set[str] = set()
    for _ in range(round(seconds / liveness.RENEW_EVERY_S)):
        clock.advance(liveness.RENEW_EVERY_S)
        progress = clock.wall_ms() if progresses else 0
        await claims.renew(WORKER.identity, progress=progress, links={}, vitals=said)
        lost |= set(await claims.expire())
    return lost


async def silence(claims: Claims, clock: ManualClock, seconds: float) -> set[str]:
    """No heartbeat for so long, while gateways sweep."""
    lost: set[str] = set()
    for _ in range(round(seconds / 0.25)):
        clock.advance(0.25)
        lost |= set(await claims.expire())
    return lost


async def test_others_see_what_a_worker_said_last(claims: Claims, clock: ManualClock) -> None:
    await claims.register(WORKER)
    view = await claims.worker("w0")
    assert view is not None
    assert view.vitals is None, "it has said nothing yet"
    await beats(claims, clock, 0.5, said=vitals(late_ms=400))
    view = await claims.worker("w0")
    assert view is not None
    assert view.vitals == vitals(late_ms=400)


async def test_an_engine_that_stands_still_no_longer_than_is_normal_keeps_its_leases_and_gets_no_more(
    claims: Claims, clock: ManualClock
) -> None:
    await owner(claims, clock)
    assert await beats(claims, clock, 6.0, said=vitals(patient=True)) == set()
    view = await claims.worker("w0")
    assert view is not None
    assert view.heartbeat_age_ms >= 6_000
    assert await beats(claims, clock, 3.0, said=vitals(patient=False)) == {DEMO}


async def test_a_worker_of_the_release_before_keeps_its_leases_by_progress_alone(
    claims: Claims, clock: ManualClock
) -> None:
    await owner(claims, clock)
    assert await beats(claims, clock, 3.0, said=None, progresses=True) == set()
    assert await beats(claims, clock, 3.0, said=None) == {DEMO}


async def test_the_leases_of_a_worker_that_often_stands_still_last_longer_and_not_for_ever(
    claims: Claims, clock: ManualClock
) -> None:
    await owner(claims, clock)
    await beats(claims, clock, 0.5, said=vitals(patience_ms=2_400), progresses=True)
    assert await silence(claims, clock, 3.0) == set()
    assert await silence(claims, clock, 1.5) == {DEMO}


async def test_no_lease_is_longer_than_the_longest_patience(claims: Claims, clock: ManualClock) -> None:
    await owner(claims, clock)
    await beats(claims, clock, 0.5, said=vitals(patience_ms=10_000), progresses=True)
    assert await silence(claims, clock, 9.0) == set()
    assert await silence(claims, clock, 2.0) == {DEMO}


# -- who is chosen -----------------------------------------------------------------------------------------------------


async def beat(claims: Claims, worker: WorkerOffer, clock: ManualClock, said: Vitals | None) -> None:
    await claims.renew(worker.identity, progress=clock.wall_ms(), links={}, vitals=said)


async def test_a_late_worker_is_chosen_only_if_no_other_one_has_room(claims: Claims, clock: ManualClock) -> None:
    slow, well = offer("w0"), offer("w1")
    for worker, said in ((slow, vitals(late_ms=liveness.LATE_MS)), (well, vitals(late_ms=liveness.LATE_MS - 1))):
        await claims.register(worker)
        await beat(claims, worker, clock, said)
    owners = []
    for name in ("one", "two", "three"):
        await claims.create(record(name, ("a", 500)))
        owners.append((await claims.claim(f"default/{name}")).worker.name)
    assert owners == ["w1", "w1", "w0"]


async def test_a_well_worker_of_a_later_pool_comes_before_a_late_one_of_the_first(
    claims: Claims, clock: ManualClock
) -> None:
    slow, well = offer("w0", "cheap"), offer("w1", "dear")
    await claims.register(slow)
    await claims.register(well)
    await beat(claims, slow, clock, vitals(late_ms=2_000))
    await claims.create(record("one", ("cheap", 300), ("dear", 300)))
    assert (await claims.claim("default/one")).worker.name == "w1"
    await beat(claims, slow, clock, vitals())
    await claims.create(record("two", ("cheap", 300), ("dear", 300)))
    clock.advance(0.1)
    await beat(claims, slow, clock, vitals())
    assert (await claims.claim("default/two")).worker.name == "w0"


async def overloaded(claims: Claims, clock: ManualClock, name: str, *, sessions: int = 1) -> WorkerOffer:
    """A worker that says so, and has that many sessions."""
    worker = offer(name, name)
    await claims.register(worker)
    for number in range(sessions):
        await claims.create(record(f"{name}-{number}", (name, 100)))
        await claims.claim(f"default/{name}-{number}")
    await beat(claims, worker, clock, vitals(overloaded=True))
    return worker


async def test_a_new_session_gets_no_overloaded_worker_and_is_told_so(claims: Claims, clock: ManualClock) -> None:
    worker = await overloaded(claims, clock, "w0")
    view = await claims.worker("w0")
    assert view is not None
    assert view.is_overloaded
    await claims.create(record("new", ("w0", 100)))
    with pytest.raises(Overloaded, match="all workers are overloaded") as refused:
        await claims.claim("default/new")
    assert refused.value.retry_after_s >= 1
    room = await claims.room("default/new")
    assert room is not None
    assert (room.workers, room.fits, room.overloaded) == (1, False, True)

    clock.advance(0.1)
    await beat(claims, worker, clock, vitals())
    assert (await claims.claim("default/new")).worker.name == "w0"


async def test_a_new_session_that_fits_nowhere_is_not_told_of_an_overload(claims: Claims, clock: ManualClock) -> None:
    await overloaded(claims, clock, "w0")
    await claims.create(record("new", ("w0", 950)))
    with pytest.raises(NoCapacity, match="950 thousandths") as refused:
        await claims.claim("default/new")
    assert not isinstance(refused.value, Overloaded)
    room = await claims.room("default/new")
    assert room is not None
    assert not room.overloaded


async def test_a_worker_without_a_session_takes_the_first_one_whatever_it_says(
    claims: Claims, clock: ManualClock
) -> None:
    await overloaded(claims, clock, "w0", sessions=0)
    await claims.create(record("new", ("w0", 100)))
    assert (await claims.claim("default/new")).worker.name == "w0"


async def test_a_session_whose_worker_died_goes_to_an_overloaded_one_as_the_last_choice(
    claims: Claims, clock: ManualClock
) -> None:
    await overloaded(claims, clock, "w0")
    dies, late = offer("w1", "w1"), offer("w2", "w2")
    for worker in (dies, late):
        await claims.register(worker)
        await beat(claims, worker, clock, vitals(late_ms=liveness.LATE_MS))
    for name, choices in (("one", ["w1", "w0", "w2"]), ("two", ["w1", "w0"])):
        await claims.create(record(name, *((pool, 100) for pool in choices)))
        assert (await claims.claim(f"default/{name}")).worker.name == "w1"
    moved = {}
    for name in ("one", "two"):
        known = await claims.record(f"default/{name}")
        assert known is not None
        move = await claims.move(known.name, expected_epoch=known.epoch, suspect="w1", cause=MoveCause.REFUSED)
        moved[name] = move.claim.worker.name
    assert moved == {"one": "w2", "two": "w0"}

    # The same where nobody moved it and it lost its owner.
    await claims.create(replace(record("three", ("w0", 100)), epoch=7))
    assert (await claims.claim("default/three")).worker.name == "w0"
