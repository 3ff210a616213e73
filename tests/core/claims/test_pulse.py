"""What a worker says of itself with its heartbeat, on a real Redis: who is told, and what it does to the leases."""

from genlock_core.claims import liveness
from genlock_core.claims.claims import Claims
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.pulse import Vitals
from genlock_core.clock import ManualClock
from tests.core.claims.samples import offer, record

DEMO = "default/demo"
WORKER = offer("w0")


def vitals(*, late_ms: int = 0, patient: bool = True) -> Vitals:
    return Vitals(alive=7, phase="restoring", late_ms=late_ms, patient=patient)


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


async def test_the_leases_of_a_process_that_is_often_late_last_longer_and_not_for_ever(
    claims: Claims, clock: ManualClock
) -> None:
    await owner(claims, clock)
    await beats(claims, clock, 0.5, said=vitals(late_ms=1_600), progresses=True)
    assert await silence(claims, clock, 2.5) == set()
    assert await silence(claims, clock, 1.5) == {DEMO}


async def test_no_lease_is_longer_than_the_longest_patience(claims: Claims, clock: ManualClock) -> None:
    await owner(claims, clock)
    await beats(claims, clock, 0.5, said=vitals(late_ms=60_000), progresses=True)
    assert await silence(claims, clock, 9.0) == set()
    assert await silence(claims, clock, 2.0) == {DEMO}
