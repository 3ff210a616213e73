"""A keeper that fails in the middle leaves nothing undone; one that gets nothing done leaves its pools to others."""

import pytest
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.approximation.options import RIPE_MS
from genlock_core.levelling.keeper import (
    FIRST_AWAY_S,
    HOLD_EVERY_S,
    LONGEST_AWAY_S,
    MOST_HOLDS,
    RANK_OF_OPERATOR,
    LevelKeeper,
)
from genlock_core.levelling.leads import LEASE_S
from tests.core.levelling.busy_hour import EVERYBODY, BusyHour


async def away(*_args: object, **_kwargs: object) -> object:
    raise RedisAway("away")


async def test_what_a_plan_did_not_get_to_is_planned_again(hour: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else happens to the worker that would have it looked at again."""
    await hour.worker("w")
    await hour.fill()
    await hour.settle_down()
    decider = hour.decider()
    await hour.arrive("ninth")
    await hour.passes(RIPE_MS / 1_000 + 5)
    assert min((await hour.steps()).values()) < 4

    for name in "ab":
        await hour.leave(name)
    monkeypatch.setattr(hour.claims, "limit", away)
    with pytest.raises(RedisAway):
        await decider.decide()
    monkeypatch.undo()

    await hour.passes(5)
    assert set((await hour.steps()).values()) == {4}


async def seconds_of(hour: BusyHour, keeper: LevelKeeper, seconds: float) -> list[bool]:
    """It holds its leases, and plans nothing. Whether it leads, for each of them."""
    led = []
    for _ in range(round(seconds / HOLD_EVERY_S)):
        hour.clock.advance(HOLD_EVERY_S)
        await hour.beat()
        await keeper.hold()
        led.append(keeper.leads("a"))
    return led


@pytest.mark.parametrize("rank", [RANK_OF_OPERATOR, 1])
async def test_who_gets_no_plan_done_leaves_the_pool_to_others(hour: BusyHour, rank: int) -> None:
    """As where its plans fail, or hang, while its lease is held beside them."""
    await hour.worker("w")
    await hour.fill()
    await hour.settle_down()
    stuck = hour.decider("stuck", rank)
    hour.deciders.clear()
    led = await seconds_of(hour, stuck.keeper, MOST_HOLDS + 1)
    assert led == [True] * MOST_HOLDS + [False]

    hour.clock.advance(LEASE_S)
    hour.decider("well")
    await hour.arrive("ninth")
    await hour.passes(3)
    assert hour.waits == []


async def test_who_gets_no_plan_done_tries_again_and_more_and_more_rarely(
    hour: BusyHour, caplog: pytest.LogCaptureFixture
) -> None:
    await hour.worker("w")
    keeper = hour.decider().keeper
    led = await seconds_of(hour, keeper, MOST_HOLDS + FIRST_AWAY_S + MOST_HOLDS + 2 * FIRST_AWAY_S + 1)
    assert led.count(True) == 2 * MOST_HOLDS + 1
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
    await seconds_of(hour, keeper, 20 * LONGEST_AWAY_S / 10)

    # A plan is done: all is well again.
    while not keeper.leads("a"):
        await seconds_of(hour, keeper, 1)
    await keeper.plan()
    led = await seconds_of(hour, keeper, MOST_HOLDS + FIRST_AWAY_S + 1)
    assert led.count(False) == FIRST_AWAY_S


async def test_a_redis_that_is_away_is_nobodys_fault(hour: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    await hour.worker("w")
    await hour.fill(EVERYBODY)
    keeper = hour.decider().keeper
    await keeper.hold()
    monkeypatch.setattr(hour.claims, "decide", away)
    monkeypatch.setattr(hour.claims, "workers", away)
    for _ in range(3 * MOST_HOLDS):
        hour.clock.advance(HOLD_EVERY_S)
        with pytest.raises(RedisAway):
            await keeper.hold()
        with pytest.raises(RedisAway):
            await keeper.plan()

    monkeypatch.undo()
    await keeper.hold()
    assert keeper.leads("a")
