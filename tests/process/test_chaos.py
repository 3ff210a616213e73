"""Each kind of harm that has no test of its own, once under a live stream: all is well again by itself, nobody moves
for it, and nothing older is shown. `make chaos` does all kinds, more often, and counts what they cost."""

from typing import Final

import pytest

from bench.chaos.harms import HARMS
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
}
"""Harm -> the module here whose tests do it."""


async def test_each_kind_of_harm_passes() -> None:
    async with Stage.up("mock", sessions=1, workers=2, sick_s=3.0) as stage:
        for harm in HARMS.values():
            if harm.name in TESTED:
                continue
            for toll in await stage.suffer(harm.name, harm.strike, moves=harm.moves):
                print(f"{harm.name}: {toll.gap_s:.2f} s")  # noqa: T201 - shown where it fails
                assert toll.back == 0, toll
