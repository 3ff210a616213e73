"""What is told of a pool lies in Redis for a while, in parts, each bounded."""

from dataclasses import asdict

import pytest

from genlock_core.levelling.scaling import ScalingTold
from genlock_core.levelling.telling import LevelsTold
from genlock_core.levelling.told import HOLDS_MS, PoolPart
from tests.core.claims.passing import time_passes
from tests.core.levelling.busy_hour import BusyHour

POOL = "media/gpus"
TOLD = LevelsTold(
    by="g0",
    at_ms=1,
    sessions=2,
    below=1,
    waiting=0,
    quality=1.5,
    bound=2.0,
    gap=0.25,
    sentences=("default/one runs 2 of 4 steps",),
)


async def test_what_is_told_is_read_again_and_runs_out_in_proven_time(hour: BusyHour) -> None:
    await hour.told.tell_levels(POOL, TOLD)
    assert await hour.told.levels(POOL) == TOLD
    assert await hour.told.levels("another") is None

    hour.clock.advance(3_600)  # Redis stalled, or its clock stepped: that is no time
    assert await hour.told.levels(POOL) == TOLD
    await time_passes(hour.claims, hour.clock, HOLDS_MS / 1_000 + 1)
    assert await hour.told.levels(POOL) is None


async def test_the_parts_of_a_pool_have_one_writer_each(hour: BusyHour) -> None:
    await hour.told.tell(POOL, PoolPart.AUTOSCALING, {"desired": 3})
    await hour.told.tell_levels(POOL, TOLD)
    assert await hour.told.told(POOL, PoolPart.AUTOSCALING) == {"desired": 3}


async def test_what_another_release_tells_otherwise_is_nothing(hour: BusyHour) -> None:
    await hour.told.tell(POOL, PoolPart.LEVELS, {"by": "a later release"})
    assert await hour.told.levels(POOL) is None
    later = {**asdict(TOLD), "more": "than this release knows"}
    await hour.told.tell(POOL, PoolPart.LEVELS, later)
    assert await hour.told.levels(POOL) is not None


async def test_what_would_fill_redis_is_refused(hour: BusyHour) -> None:
    with pytest.raises(ValueError, match="more than"):
        await hour.told.tell(POOL, PoolPart.AUTOSCALING, {"much": "x" * 200_000})


async def test_how_the_number_of_workers_comes_about_is_a_part_of_its_own(hour: BusyHour) -> None:
    scaling = ScalingTold(
        at_ms=1,
        mode="SLO",
        desired=3,
        reason="Arrivals",
        terms={"need": 2, "warm": 1, "budget": None},
        speed=0.67,
        sentences=("3 workers should be there.",),
    )
    await hour.told.tell_levels(POOL, TOLD)
    assert await hour.told.scaling(POOL) is None
    await hour.told.tell_scaling(POOL, scaling)
    assert await hour.told.scaling(POOL) == scaling
    assert await hour.told.levels(POOL) == TOLD
    await hour.told.tell(POOL, PoolPart.AUTOSCALING, {"desired": 3})
    assert await hour.told.scaling(POOL) is None, "a later release says it otherwise"
