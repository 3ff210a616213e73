"""Each kind of harm that has no test of its own, once under a live stream: all is well again by itself, nobody moves
for it, and nothing older is shown. `make chaos` does all kinds, more often, and counts what they cost."""

import asyncio
from collections.abc import Sequence
from typing import Final

import pytest

from bench.chaos.harms import HARMS, Harm
from bench.chaos.server import Clock
from bench.chaos.stage import Stage

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

TESTED: Final = {
    "worker-killed": "test_failover",
    "worker-hangs": "test_failover",
    "worker-drained": "test_failover",
    "gateway-killed": "test_gateway_loss",
    "gateway-drained": "test_gateway_loss",
    "publisher-killed": "test_takeover",
    "redis-restarted": "test_redis_loss",
    "redis-lost": "test_redis_loss",
    "redis-clock-back": "test_sick_store",
    "snapshots-full": "test_snapshot_budget",
    "few-descriptors": "test_few_descriptors",
}
"""Harm -> the module whose tests do it."""


ONE_AFTER_THE_OTHER: Final = (
    ("workers-killed",),
    ("redis-full",),
    ("redis-read-only",),
    ("redis-refuses",),
    ("redis-stalled",),
    ("redis-promoted",),
    ("slow-machine",),
    ("link-vanishes",),
    # Nothing may come of these, so they are done at once.
    ("redis-clock-forward", "half-requests", "slow-viewers"),
    ("gateway-redis-vanishes", "worker-redis-vanishes"),
)


def test_each_kind_of_harm_has_its_test() -> None:
    assert {*TESTED, *(name for group in ONE_AFTER_THE_OTHER for name in group)} == set(HARMS)


async def test_each_kind_of_harm_passes() -> None:
    async with Stage.up("mock", sessions=1, workers=2, sick_s=3.0, relayed=True) as stage:
        for group in ONE_AFTER_THE_OTHER:
            harms = [HARMS[name] for name in group if Clock.can_be_made() or not HARMS[name].needs_clock]
            if not harms:
                continue

            async def strike(stage: Stage, harms: Sequence[Harm] = tuple(harms)) -> list[str]:
                await asyncio.gather(*(harm.strike(stage) for harm in harms))
                return stage.names

            name = " and ".join(harm.name for harm in harms)
            came = await stage.suffer(name, strike, moves=any(harm.moves for harm in harms))
            print(f"{name}: {came.tolls[0].gap_s:.2f} s")  # noqa: T201 - shown where it fails
            assert not came.troubles, came
