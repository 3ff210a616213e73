"""What a worker says of itself with its heartbeat, on a real Redis: who is told, and what it does to the leases."""

from genlock_core.claims import liveness
from genlock_core.claims.claims import Claims
from genlock_core.claims.identity import WorkerIdentity, WorkerOffer
from genlock_core.claims.pulse import Vitals
from genlock_core.clock import ManualClock
from tests.core.claims.samples import offer, record

DEMO = "default/demo"
WORKER = offer("w0")


def vitals(*, late_ms: int = 0, patience_ms: int = 1_000, patient: bool = True) -> Vitals:
    return Vitals(alive=7, phase="restoring", late_ms=late_ms, patience_ms=patience_ms, patient=patient)


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


async def test_an_overloaded_worker_is_chosen_only_if_no_other_one_has_room(claims: Claims, clock: ManualClock) -> None:
    slow, well = offer("w0"), offer("w1")
    for worker, said in ((slow, vitals(late_ms=liveness.LATE_MS)), (well, vitals(late_ms=liveness.LATE_MS - 1))):
        await claims.register(worker)
        await beat(claims, worker, clock, said)
    owners = []
    for name in ("one", "two", "three"):
        await claims.create(record(name, ("a", 500)))
        owners.append((await claims.claim(f"default/{name}")).worker.name)
    assert owners == ["w1", "w1", "w0"]


async def test_a_well_worker_of_a_later_pool_comes_before_an_overloaded_one_of_the_first(
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
