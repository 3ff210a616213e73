"""A Redis that restarted so quickly that no call failed: its run id tells, and for a while nobody is missed there."""

from redis.asyncio import Redis

from genlock_core.claims.claims import Claims
from genlock_core.claims.liveness import HOLD_MS
from genlock_core.clock import ManualClock
from genlock_operator.reconcile.store_state import SETTLE_S, StoreState


def test_the_first_redis_that_is_met_is_no_news() -> None:
    state = StoreState(ManualClock())
    state.noted("one")
    state.noted("one")
    assert state.knows_workers
    assert not state.came_back.is_set()


def test_another_run_id_is_a_return_and_no_worker_is_missed_yet() -> None:
    clock = ManualClock()
    state = StoreState(clock)
    state.noted("one")
    clock.advance(10.0)
    state.noted("two")
    assert state.answers
    assert state.since_ms == clock.wall_ms()
    assert state.came_back.is_set()
    assert not state.knows_workers


def test_workers_have_told_of_themselves_after_a_while() -> None:
    clock = ManualClock()
    state = StoreState(clock)
    state.noted("one")
    state.noted("two")
    clock.advance(SETTLE_S)
    assert state.knows_workers
    assert SETTLE_S * 1_000 > HOLD_MS


def test_a_lost_note_is_a_return_too() -> None:
    state = StoreState(ManualClock())
    state.noted("one")
    state.noted(None)
    assert not state.knows_workers


async def test_the_scripts_note_which_redis_they_met(redis_url: str) -> None:
    store = Redis.from_url(redis_url)
    try:
        claims = Claims(store)
        assert await claims.run_id() is None
        await claims.expire()
        assert await claims.run_id() == (await store.info("server"))["run_id"]
    finally:
        await store.aclose()
