"""After a loss of Redis: workers bring back what they serve, and a zombie brings back nothing that is another one's."""

from dataclasses import replace
from typing import Any, cast

from genlock_core import store
from genlock_core.claims import liveness
from genlock_core.claims.claims import Claim, Claims, Held, WorkerState
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.record import ControlValue
from genlock_core.clock import ManualClock
from genlock_core.spec.session import Phase
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import offer, record

DEMO = "default/demo"


async def owned(claims: Claims, worker: WorkerOffer) -> Claim:
    await claims.register(worker)
    await claims.create(record())
    return await claims.claim(DEMO)


def held(claim: Claim) -> Held:
    name = claim.session.removeprefix("default/")
    known = replace(
        record(name, (claim.pool, claim.cost)), phase=Phase.LIVE, control={"prompt": ControlValue("ink", "5-0")}
    )
    return Held(claim.session, claim.epoch, claim.cost, known)


async def lose_everything(redis_store: store.Store) -> None:
    await cast("Any", redis_store.flushall())


async def test_what_is_served_comes_back_under_its_epoch(
    claims: Claims, clock: ManualClock, redis_store: store.Store
) -> None:
    worker = offer("w0")
    claim = await owned(claims, worker)
    await lose_everything(redis_store)
    await time_passes(claims, clock, 0.5)
    assert not (await claims.renew(worker.identity, progress=1, links={})).known
    assert (await claims.reassert(worker, [held(claim)])).kept == (DEMO,)
    found = await claims.record(DEMO)
    assert found is not None
    assert (found.owner, found.epoch, found.phase) == (worker.identity, claim.epoch, Phase.LIVE)
    assert found.control["prompt"] == ControlValue("ink", "5-0")
    assert await claims.claim(DEMO) == claim
    renewal = await claims.renew(worker.identity, progress=2, links={})
    assert (renewal.known, renewal.holding, renewal.owned) == (True, True, {DEMO: claim.epoch})


async def test_nobody_expires_until_the_hold_is_over(
    claims: Claims, clock: ManualClock, redis_store: store.Store
) -> None:
    worker = offer("w0")
    claim = await owned(claims, worker)
    await lose_everything(redis_store)
    await claims.reassert(worker, [held(claim)])
    await time_passes(claims, clock, liveness.HOLD_MS / 1_000 - 0.1)
    assert await claims.expire() == ()
    await time_passes(claims, clock, 0.1)
    assert await claims.expire() == (DEMO,)


async def test_a_higher_epoch_of_another_worker_stands(
    claims: Claims, clock: ManualClock, redis_store: store.Store
) -> None:
    old, new = offer("w0"), offer("w1")
    claim = await owned(claims, old)
    await lose_everything(redis_store)
    await time_passes(claims, clock, 1)
    newer = await owned(claims, new)
    assert (await claims.reassert(old, [held(claim)])).refused == (DEMO,)
    assert await claims.claim(DEMO) == newer
    assert newer.epoch > claim.epoch


async def test_the_higher_epoch_wins_over_a_lagging_replica(claims: Claims, clock: ManualClock) -> None:
    """Redis went back to before the move: it still names the old owner, but the new one serves under a higher epoch."""
    old, new = offer("w0"), offer("w1")
    claim = await owned(claims, old)
    await time_passes(claims, clock, 0.5)
    newer = replace(claim, epoch=clock.wall_ms(), worker=new.identity)
    assert (await claims.reassert(new, [held(newer)])).kept == (DEMO,)
    views = {view.identity.name: (view.free, dict(view.sessions)) for view in await claims.workers()}
    assert views == {"w0": (1_000, {}), "w1": (600, {DEMO: newer.epoch})}
    assert not await claims.set_phase(DEMO, claim.epoch, Phase.LIVE)


async def test_what_does_not_fit_any_more_is_refused_but_its_record_is_back(
    claims: Claims, clock: ManualClock, redis_store: store.Store
) -> None:
    worker = offer("w0")
    claim = await owned(claims, worker)
    await lose_everything(redis_store)
    await time_passes(claims, clock, 0.5)
    await claims.reassert(worker, [])
    await claims.create(record("big", ("a", 900)))
    await claims.claim("default/big")
    assert (await claims.reassert(worker, [held(claim)])).refused == (DEMO,)
    found = await claims.record(DEMO)
    assert found is not None
    assert (found.owner, found.phase, found.epoch) == (None, Phase.RECOVERING, claim.epoch)
    await claims.register(offer("w1"))
    assert (await claims.claim(DEMO)).epoch > claim.epoch


async def test_an_owner_whose_lease_was_swept_gets_it_back_if_nobody_took_it(
    claims: Claims, clock: ManualClock
) -> None:
    worker = offer("w0")
    await claims.expire()
    await time_passes(claims, clock, liveness.HOLD_MS / 1_000)
    claim = await owned(claims, worker)
    await time_passes(claims, clock, liveness.LEASE_MS / 1_000)
    assert await claims.expire() == (DEMO,)
    assert (await claims.reassert(worker, [held(claim)])).kept == (DEMO,)
    assert await claims.claim(DEMO) == claim


async def test_a_zombie_of_an_older_incarnation_gets_nothing(claims: Claims) -> None:
    zombie, new = offer("w0"), offer("w0")
    claim = await owned(claims, zombie)
    await claims.register(new)
    assert (await claims.reassert(zombie, [held(claim)])).refused == (DEMO,)
    view = await claims.worker("w0")
    assert view is not None
    assert (view.identity, view.free) == (new.identity, 1_000)


async def test_a_draining_worker_comes_back_draining(claims: Claims, redis_store: store.Store) -> None:
    worker = offer("w0")
    claim = await owned(claims, worker)
    await lose_everything(redis_store)
    assert (await claims.reassert(worker, [held(claim)], closed=True)).kept == (DEMO,)
    view = await claims.worker("w0")
    assert view is not None
    assert view.state is WorkerState.DRAINING


async def test_a_session_that_ended_is_not_brought_back(claims: Claims) -> None:
    worker = offer("w0")
    claim = await owned(claims, worker)
    await claims.release(DEMO, epoch=claim.epoch, phase=Phase.ENDED)
    assert (await claims.reassert(worker, [held(claim)])).refused == (DEMO,)


async def test_a_gateway_writes_a_lost_record_back_without_owner(
    claims: Claims, clock: ManualClock, redis_store: store.Store
) -> None:
    worker = offer("w0")
    claim = await owned(claims, worker)
    known = await claims.record(DEMO)
    assert known is not None
    await lose_everything(redis_store)
    await time_passes(claims, clock, 1)
    assert await claims.create(known)
    found = await claims.record(DEMO)
    assert found is not None
    assert (found.owner, found.epoch, found.phase) == (None, claim.epoch, Phase.RECOVERING)
    assert (await claims.reassert(worker, [held(claim)])).kept == (DEMO,)
