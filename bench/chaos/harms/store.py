"""A Redis that ends, forgets, is full, refuses, stands still, or tells another time."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from bench.chaos.server import Server
from bench.chaos.stage import Stage, until
from genlock_core.claims.snapshot_budget import SnapshotBudget
from genlock_core.store import Store, connect

CLOCK_STEP_S: Final = 60
COPIED_WITHIN_S: Final = 15.0


async def restarted(stage: Stage) -> list[str]:
    await asyncio.to_thread(stage.server.process.kill)
    await asyncio.to_thread(stage.server.process.start)
    return stage.names


async def lost_all(stage: Stage) -> list[str]:
    await asyncio.to_thread(stage.server.process.kill)
    shutil.rmtree(stage.server.data)
    await asyncio.to_thread(stage.server.process.start)
    return stage.names


async def full(stage: Stage) -> list[str]:
    return await _told(stage, ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"))


async def read_only(stage: Stage) -> list[str]:
    """A replica whose master is not there answers reads, and refuses writes."""
    return await _told(stage, ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"))


async def refuses(stage: Stage) -> list[str]:
    """As MISCONF does: it has too few replicas to write to."""
    setting = ("CONFIG", "SET", "min-replicas-to-write")
    return await _told(stage, (*setting, "1"), (*setting, "0"))


async def stalled(stage: Stage) -> list[str]:
    redis = stage.server.process.pid
    assert redis is not None
    os.kill(redis, signal.SIGSTOP)
    try:
        await asyncio.sleep(stage.sick_s)
    finally:
        os.kill(redis, signal.SIGCONT)
    return stage.names


async def snapshots_full(stage: Stage) -> list[str]:
    """Not one byte more for snapshots: those that are stored get old."""
    async with store_of(stage) as store:
        budget = SnapshotBudget(store)
        await budget.settle(1)
        try:
            await asyncio.sleep(stage.sick_s)
        finally:
            await budget.settle(None)
    return stage.names


async def clock_forward(stage: Stage) -> list[str]:
    return await _stepped(stage, CLOCK_STEP_S)


async def clock_back(stage: Stage) -> list[str]:
    return await _stepped(stage, -CLOCK_STEP_S)


async def _stepped(stage: Stage, off_s: int) -> list[str]:
    """The clock steps, and steps back to the right time."""
    clock = stage.server.clock
    assert clock is not None
    clock.step(off_s)
    try:
        await asyncio.sleep(stage.sick_s)
    finally:
        clock.step(0)
    return stage.names


async def promoted(stage: Stage) -> list[str]:
    """Its replica, whose clock is a minute behind, takes its place at its address; then its clock is put right."""
    old = stage.server
    new = await asyncio.to_thread(Server.on, stage.folder / f"redis-{stage.random.getrandbits(64):016x}")
    assert new.clock is not None
    new.clock.step(-CLOCK_STEP_S)
    await asyncio.to_thread(new.process.start)
    await _follow(new, old)

    await asyncio.to_thread(old.process.kill)
    # A server cannot change its port, so the replica starts there with what it has kept.
    await asyncio.to_thread(new.process.stop)
    stage.server = new.at(old.process.port)
    await asyncio.to_thread(stage.server.process.start)
    await asyncio.sleep(stage.sick_s)

    new.clock.step(0)
    await asyncio.to_thread(shutil.rmtree, old.data)
    return stage.names


async def _follow(replica: Server, master: Server) -> None:
    """It is a replica from here on, and has kept all that the other one has. Raises NotWell."""
    client = connect(replica.process.url)

    async def missing() -> str:
        told = await _command(client, ("INFO",))
        copied = told["master_link_status"] == "up"
        kept = not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]
        return "" if copied and kept else "the replica to have a copy"

    try:
        await _command(client, ("REPLICAOF", "127.0.0.1", str(master.process.port)))
        await until(missing, "in time", patience_s=COPIED_WITHIN_S)
    finally:
        await client.aclose()


@asynccontextmanager
async def store_of(stage: Stage) -> AsyncIterator[Store]:
    store = connect(stage.server.process.url)
    try:
        yield store
    finally:
        await store.aclose()


async def _told(stage: Stage, begin: tuple[str, ...], end: tuple[str, ...]) -> list[str]:
    """Redis does as it is told for a while."""
    async with store_of(stage) as store:
        await _command(store, begin)
        try:
            await asyncio.sleep(stage.sick_s)
        finally:
            await _command(store, end)
    return stage.names


async def _command(store: Store, words: tuple[str, ...]) -> Any:
    return await store.execute_command(*words)
