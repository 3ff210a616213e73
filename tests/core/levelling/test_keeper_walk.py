"""Whatever comes and goes, room is never given twice, and everybody gets back what it asks for. On a real Redis."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlock_cli.redis_server import RedisProcess
from genlock_core import store
from genlock_core.clock import ManualClock
from genlock_core.levelling.keeper import RANK_OF_GATEWAY, RANK_OF_OPERATOR
from tests.core.claims import probes
from tests.core.levelling.busy_hour import PRICES, BusyHour, Decider

WALKS = int(os.environ.get("GENLOCK_LEVEL_WALKS", "3"))
CAPACITY = 1_000
POOLS = (("a",), ("a",), ("b",), ("a", "b"), ("b", "a"))


@dataclass(frozen=True)
class Step:
    """One thing that happens. `who` picks among those that are there."""

    kind: Literal["arrive", "leave", "wish", "die", "die-midway", "operator", "slow", "wait"]
    who: int
    steps: int = 4
    pools: Sequence[str] = ("a",)
    adaptive: bool = True
    seconds: float = 0.5


STEPS = st.builds(
    Step,
    kind=st.sampled_from(
        ["arrive", "arrive", "arrive", "leave", "wish", "wish", "die", "die-midway", "operator", "slow", "wait"]
    ),
    who=st.integers(0, 30),
    steps=st.integers(1, 4),
    pools=st.sampled_from(POOLS),
    adaptive=st.sampled_from([True, True, True, False]),
    seconds=st.sampled_from([0.5, 0.5, 1.0, 3.0, 16.0]),
)


class Killed(Exception):
    """A decider ends between two of its calls."""


class Walk:
    """A busy hour with two workers; names of sessions that were created are counted up."""

    def __init__(self, hour: BusyHour) -> None:
        self.hour = hour
        self.count = 0
        self.here: list[str] = []

    async def begin(self) -> None:
        await self.hour.worker("w")
        await self.hour.worker("v", "b")
        self.hour.decider("first")
        for _ in range(12):
            await self._arrive(POOLS[self.count % 3], adaptive=True)
        await self.hour.passes(1)

    async def take(self, step: Step) -> None:
        hour = self.hour
        match step.kind:
            case "arrive":
                await self._arrive(step.pools, adaptive=step.adaptive)
            case "leave" if self.here:
                await hour.leave(self.here.pop(step.who % len(self.here)))
            case "wish" if self.here:
                await hour.wish(self.here[step.who % len(self.here)], step.steps)
            case "die":
                self._replace(RANK_OF_GATEWAY)
            case "die-midway":
                await self._die_midway(hour.deciders[-1], after=step.who % 3)
            case "operator":
                self._replace(RANK_OF_OPERATOR)
            case "slow":
                hour.slow ^= {["w", "v"][step.who % 2]}
            case _:
                await hour.passes(step.seconds)
        await hour.passes(0.5)

    async def _arrive(self, pools: Sequence[str], *, adaptive: bool) -> None:
        self.count += 1
        name = f"s{self.count}"
        self.here.append(name)
        await self.hour.arrive(name, pools=pools, adaptive=adaptive, least=1 + self.count % 2)

    def _replace(self, rank: int) -> None:
        """Who decided is gone without a word, and another one is there."""
        for decider in self.hour.deciders:
            decider.dead = True
        self.hour.deciders[:] = []
        self.hour.decider(f"decider {self.count}-{rank}", rank)

    async def _die_midway(self, decider: Decider, *, after: int) -> None:
        limit = decider.keeper._claims.limit
        calls = 0

        async def limit_and_die(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            outcome = await limit(*args, **kwargs)
            calls += 1
            if calls > after:
                raise Killed
            return outcome

        self.hour.claims.limit = limit_and_die  # type: ignore[method-assign]
        try:
            await self.hour.passes(1)
        except Killed:
            self._replace(RANK_OF_GATEWAY)
        finally:
            self.hour.claims.limit = limit  # type: ignore[method-assign]

    async def calm_down(self) -> None:
        """So many leave that there is room for all that the others ask for, and it stays so."""
        self.hour.slow.clear()
        await self.hour.passes(1)
        for name in list(self.here):
            if await self._is_too_full() or f"default/{name}" in self.hour.waits:
                self.here.remove(name)
                await self.hour.leave(name)
        await self.hour.passes(35)

    async def _is_too_full(self) -> bool:
        wanted: dict[str, int] = {}
        for name in self.here:
            record = await self.hour.record(name)
            if record.owner is not None:
                wanted[record.pool] = wanted.get(record.pool, 0) + PRICES[record.requested_steps - 1]
        return any(cost > CAPACITY for cost in wanted.values())


async def walk(url: str, steps: Sequence[Step]) -> None:
    client = store.connect(url)
    try:
        await probes.flush(client)
        hour = BusyHour(client, ManualClock())
        walked = Walk(hour)
        await walked.begin()
        for step in steps:
            await walked.take(step)
            await hour.check()

        await walked.calm_down()
        await hour.check()
        assert hour.waits == []
        for name in walked.here:
            record = await hour.record(name)
            assert record.granted is not None
            assert record.granted.steps == record.requested_steps, f"{name} was not raised again"
            assert record.cost == PRICES[record.requested_steps - 1]
    finally:
        await client.aclose()


@settings(max_examples=WALKS, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_room_is_never_given_twice_and_everybody_gets_back_what_it_asks_for(
    shared_redis: RedisProcess, steps: list[Step]
) -> None:
    asyncio.run(walk(shared_redis.url, steps))
