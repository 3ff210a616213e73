"""Claims and moves per second and their latency, against the smallest script that could hand out a worker, and PING.

Forty clients share one event loop, so that the client is the bottleneck long before Redis is: the ratio to the
baseline, measured in turns in the same run, is what the scripts cost. The last column is Redis' own part.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bench.result import Series, Table, percentile, save
from genlock_cli.redis_server import RedisProcess
from genlock_core import store
from genlock_core.claims.claims import Claims, MoveCause
from genlock_core.claims.identity import CAPACITY, FormatRange, WorkerIdentity, WorkerOffer
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.spec.session import Phase, SessionKey, StreamSessionSpec, resolve

CLIENTS = 40
ROUNDS = 4
CALLS = 1_000
WORKERS = 100
SESSIONS_A_WORKER = 20
POOL = "bench"
# All of the bench happens at one moment of the injected clock: no worker goes stale while others are measured.
NOW_MS = 1_700_000_000_000
BASELINE = """
local w = redis.call('ZPOPMIN', KEYS[1])
redis.call('HSET', KEYS[2], 'worker', w[1], 'state', 'Allocated')
redis.call('ZADD', KEYS[1], w[2], w[1])
return w[1]
"""

Call = Callable[[int], Awaitable[object]]


@dataclass
class Measured:
    """All rounds of one kind of call."""

    latencies_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    in_redis_us: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds


async def measure(call: Call, into: Measured) -> None:
    """`CALLS` calls by `CLIENTS` clients at once; call number i is made once."""
    numbers = iter(range(CALLS))

    async def client() -> None:
        for number in numbers:
            start = time.perf_counter()
            await call(number)
            into.latencies_ms.append((time.perf_counter() - start) * 1_000)

    start = time.perf_counter()
    await asyncio.gather(*[client() for _ in range(CLIENTS)])
    into.seconds += time.perf_counter() - start


async def spent_us(redis: store.Store) -> int:
    """Microseconds that Redis has spent so far in scripts and PINGs (a script's own commands are inside its time)."""
    told = await cast("Any", redis.info("commandstats"))
    return sum(int(told.get(f"cmdstat_{name}", {}).get("usec", 0)) for name in ("eval", "evalsha", "ping"))


def session(number: int) -> str:
    return f"default/s{number}"


async def prepare(claims: Claims) -> None:
    """Enough workers for twice the sessions, and every session's record."""
    formats = FormatRange(1, 1)
    for number in range(WORKERS):
        identity = WorkerIdentity.fresh(f"w{number:03}")
        await claims.register(WorkerOffer(identity, POOL, "wan2.1-1.3b", CAPACITY, f"w{number}:7000", formats))
    pools = (PoolChoice(POOL, CAPACITY // SESSIONS_A_WORKER),)
    spec = StreamSessionSpec()
    for number in range(CALLS):
        await claims.create(SessionRecord(resolve(SessionKey(name=f"s{number}"), spec), pools))


async def measure_all(redis: store.Store) -> dict[str, Measured]:
    claims = Claims(redis, now_ms=lambda: NOW_MS)
    await prepare(claims)
    await cast("Any", redis.zadd("{bench}free", {f"w{number}": number for number in range(WORKERS)}))
    baseline = redis.register_script(BASELINE)
    epochs: dict[int, int] = {}

    async def claim(number: int) -> None:
        epochs[number] = (await claims.claim(session(number))).epoch

    async def move(number: int) -> None:
        cause = MoveCause.REQUESTED
        moved = await claims.move(session(number), expected_epoch=epochs[number], suspect=None, cause=cause)
        epochs[number] = moved.claim.epoch

    calls: dict[str, Call] = {
        "claim": claim,
        "move": move,
        "bare script": lambda number: baseline(keys=["{bench}free", f"{{bench}}{number}"]),
        "PING": lambda _number: cast("Any", redis.ping()),
    }
    measured = {name: Measured() for name in calls}
    await asyncio.gather(*[cast("Any", redis.ping()) for _ in range(CLIENTS)])  # every client has its connection
    for _ in range(ROUNDS):
        for name, call in calls.items():
            before = await spent_us(redis)
            await measure(call, measured[name])
            measured[name].in_redis_us += await spent_us(redis) - before
        for number, epoch in epochs.items():
            await claims.release(session(number), epoch=epoch, phase=Phase.PENDING)
    return measured


def report(measured: dict[str, Measured]) -> tuple[Sequence[Table], Sequence[Series]]:
    bare = measured["bare script"]
    rows = tuple(
        (
            name,
            f"{one.per_second:,.0f}",
            f"{percentile(one.latencies_ms, 0.5):.1f}",
            f"{percentile(one.latencies_ms, 0.99):.1f}",
            f"{one.per_second / bare.per_second:.2f}",
            f"{one.in_redis_us / len(one.latencies_ms):.0f}",
        )
        for name, one in measured.items()
    )
    table = Table(
        title="Claims",
        columns=("call", "per second", "p50 ms", "p99 ms", "rate against the bare script", "in Redis, us"),
        rows=rows,
        note=(
            f"{CLIENTS} clients in one process, {ROUNDS} rounds of {CALLS:,} calls in turns, {WORKERS} workers with "
            f"room for {SESSIONS_A_WORKER} sessions each. The bare script takes the first worker of a sorted set and "
            "writes one hash: no capacity, epoch, lease, inbox or event. The clients share one process, which sets the "
            "pace; the last column is the time that Redis itself spends on a call."
        ),
    )
    names = tuple(measured)
    return [table], [
        Series("Claims per second", names, tuple(measured[name].per_second for name in names), "per second")
    ]


async def run(url: str) -> dict[str, Measured]:
    redis = store.connect(url)
    try:
        await store.check(redis)
        return await measure_all(redis)
    finally:
        await redis.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.claims", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--redis", help="an empty Redis to use; one of its own if left out")
    arguments = parser.parse_args()
    if arguments.redis:
        measured = asyncio.run(run(arguments.redis))
    else:
        with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as server:
            measured = asyncio.run(run(server.url))
    tables, series = report(measured)
    for table in tables:
        print(table.markdown())
    if arguments.json:
        save(arguments.json, tables, series)


if __name__ == "__main__":
    main()
