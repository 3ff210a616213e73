"""A claim pays what its record asks for, where it is; and whose record it is stays so."""

from dataclasses import replace
from typing import Any, cast

import pytest

from genlock_core import store
from genlock_core.claims.claims import Claims, Fit, Held, SessionEnded
from genlock_core.clock import ManualClock
from genlock_core.errors import UnknownSession
from genlock_core.spec.session import Phase
from tests.core.claims.passing import time_passes
from tests.core.claims.samples import offer, record

DEMO = "default/demo"


async def owned(claims: Claims, cost: int = 400) -> int:
    """`demo` is on w0; the claim's epoch."""
    await claims.register(offer("w0"))
    await claims.create(record("demo", ("a", cost)))
    return (await claims.claim(DEMO)).epoch


async def free(claims: Claims) -> int:
    view = await claims.worker("w0")
    assert view is not None
    return view.free


@pytest.mark.parametrize("cost", [100, 400, 401, 1_000])
async def test_a_claim_pays_more_or_less_without_moving(claims: Claims, cost: int) -> None:
    epoch = await owned(claims)
    await claims.create(record("demo", ("b", 50), ("a", cost)))
    assert await claims.fit(DEMO, expected_epoch=epoch) is Fit.FITS
    claim = await claims.claim(DEMO)
    assert (claim.epoch, claim.worker.name, claim.cost) == (epoch, "w0", cost)
    assert await free(claims) == 1_000 - cost
    assert await claims.fit(DEMO, expected_epoch=epoch) is Fit.FITS, "again, as after a lost reply"
    assert await free(claims) == 1_000 - cost


async def test_what_a_claim_gave_back_others_can_have(claims: Claims) -> None:
    epoch = await owned(claims, cost=1_000)
    await claims.create(record("demo", ("a", 300)))
    await claims.fit(DEMO, expected_epoch=epoch)
    await claims.create(record("late", ("a", 700)))
    assert (await claims.claim("default/late")).worker.name == "w0"


async def test_more_than_the_worker_has_changes_nothing(claims: Claims) -> None:
    epoch = await owned(claims)
    await claims.create(record("other", ("a", 500)))
    await claims.claim("default/other")
    await claims.create(record("demo", ("a", 501)))
    assert await claims.fit(DEMO, expected_epoch=epoch) is Fit.NO_ROOM
    assert (await claims.claim(DEMO)).cost == 400
    assert await free(claims) == 100


async def test_a_session_whose_record_names_other_pools_now_is_elsewhere(claims: Claims) -> None:
    epoch = await owned(claims)
    await claims.create(record("demo", ("b", 400)))
    assert await claims.fit(DEMO, expected_epoch=epoch) is Fit.ELSEWHERE
    assert (await claims.claim(DEMO)).pool == "a"


async def test_a_worker_that_drains_gets_no_claims_by_a_fit(claims: Claims) -> None:
    epoch = await owned(claims)
    view = await claims.worker("w0")
    assert view is not None
    await claims.close(view.identity)
    await claims.create(record("demo", ("a", 200)))
    assert await claims.fit(DEMO, expected_epoch=epoch) is Fit.FITS
    await claims.create(record("late", ("a", 100)))
    with pytest.raises(Exception, match="late"):
        await claims.claim("default/late")


async def test_only_the_claim_that_holds_is_fitted(claims: Claims) -> None:
    epoch = await owned(claims)
    assert await claims.fit(DEMO, expected_epoch=epoch + 1) is Fit.STALE
    await claims.release(DEMO, epoch=epoch, phase=Phase.PENDING)
    assert await claims.fit(DEMO, expected_epoch=epoch) is Fit.STALE


async def test_there_is_nothing_to_fit_of_a_session_that_is_unknown_or_over(claims: Claims) -> None:
    with pytest.raises(UnknownSession):
        await claims.fit(DEMO, expected_epoch=1)
    epoch = await owned(claims)
    await claims.release(DEMO, epoch=epoch, phase=Phase.ENDED)
    with pytest.raises(SessionEnded):
        await claims.fit(DEMO, expected_epoch=epoch)


async def test_a_record_keeps_the_uid_that_it_was_created_with(claims: Claims) -> None:
    assert await claims.create(record(uid="one"))
    assert not await claims.create(record(uid="two"))
    found = await claims.record(DEMO)
    assert found is not None
    assert found.uid == "one"
    assert await claims.forget(DEMO)
    assert await claims.create(record(uid="two"))
    found = await claims.record(DEMO)
    assert found is not None
    assert found.uid == "two"


async def test_the_uid_comes_back_with_what_a_worker_reasserts(
    claims: Claims, clock: ManualClock, redis_store: store.Store
) -> None:
    worker = offer("w0")
    await claims.register(worker)
    await claims.create(record(uid="one"))
    claim = await claims.claim(DEMO)
    known = await claims.record(DEMO)
    assert known is not None
    await cast("Any", redis_store.flushall())
    await time_passes(claims, clock, 0.5)
    held = Held(DEMO, claim.epoch, claim.cost, replace(known, phase=Phase.LIVE))
    assert (await claims.reassert(worker, [held])).kept == (DEMO,)
    found = await claims.record(DEMO)
    assert found is not None
    assert (found.uid, found.owner) == ("one", worker.identity)


async def test_what_is_reasserted_does_not_take_a_newer_objects_record(
    claims: Claims, clock: ManualClock, redis_store: store.Store
) -> None:
    """Redis forgot all, and the session was made anew by another object before its old worker came."""
    worker = offer("w0")
    await claims.register(worker)
    await claims.create(record(uid="one"))
    claim = await claims.claim(DEMO)
    await cast("Any", redis_store.flushall())
    await claims.create(record(uid="two"))
    await time_passes(claims, clock, 0.5)
    await claims.reassert(worker, [Held(DEMO, claim.epoch, claim.cost, record(uid="one"))])
    found = await claims.record(DEMO)
    assert found is not None
    assert found.uid == "two"
