"""The kinds of harm: one function does each, and returns when it is over. What heals by itself is not healed."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bench.chaos.stage import Stage, Stream, until
from genlock_cli.up.children import Child, ChildState
from genlock_core.store import Store, connect

BURNERS: Final = 3
STRANGERS: Final = 300
"""Connections that say half a request."""
VIEWERS: Final = 2
"""Slow viewers beside the watcher."""


@dataclass(frozen=True, slots=True)
class Harm:
    """One kind. `row` is what the fault table of docs/design.md calls it."""

    name: str
    row: str
    strike: Callable[[Stage], Awaitable[None]]
    moves: bool = False
    """A session may change its worker for it."""
    is_kill: bool = False
    """It may be drawn at random."""


# -- processes that end ------------------------------------------------------------------------------------------------


async def kill(*children: Child, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal, and wait until they were started again."""
    restarts = {child: child.restarts for child in children}
    for child in children:
        child.send_signal(number)

    async def missing() -> str:
        same = [child.plan.name for child, count in restarts.items() if child.restarts == count]
        late = [child.plan.name for child in children if child.state is not ChildState.READY]
        return f"{same + late} to be started again" if same or late else ""

    await until(missing, "in time")


def any_stream(stage: Stage) -> Stream:
    return stage.random.choice(stage.streams)


async def worker_killed(stage: Stage) -> None:
    await kill(await stage.worker_of(any_stream(stage)))


async def worker_drained(stage: Stage) -> None:
    await kill(await stage.worker_of(any_stream(stage)), number=signal.SIGTERM)


async def workers_killed(stage: Stage) -> None:
    await kill(*stage.children("worker"))


async def worker_hangs(stage: Stage) -> None:
    child = await stage.worker_of(any_stream(stage))
    child.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(stage.sick_s)
    finally:
        child.send_signal(signal.SIGCONT)


async def gateway_killed(stage: Stage) -> None:
    """Clients have to find out by themselves, so a connection that ends is not counted."""
    with contextlib.ExitStack() as stack:
        for stream in stage.streams:
            stack.enter_context(stream.watcher.excused())
        await kill(stage.random.choice(stage.children("gateway")))
        await stage.well()


async def gateway_drained(stage: Stage) -> None:
    """With `genlock up` there is one gateway at each address: its clients wait until it is there again."""
    with contextlib.ExitStack() as stack:
        for stream in stage.streams:
            stack.enter_context(stream.watcher.excused())
        await kill(stage.random.choice(stage.children("gateway")), number=signal.SIGTERM)
        await stage.well()


async def publisher_killed(stage: Stage) -> None:
    """Another one comes, and waits until the slot is free."""
    stream = any_stream(stage)
    with stream.watcher.another_source():
        await stream.publish_again()
        await stage.well()


# -- a store that is sick ----------------------------------------------------------------------------------------------


async def redis_restarted(stage: Stage) -> None:
    await asyncio.to_thread(stage.redis.kill)
    await asyncio.to_thread(stage.redis.start)


async def redis_lost_all(stage: Stage) -> None:
    await asyncio.to_thread(stage.redis.kill)
    shutil.rmtree(stage.redis_folder)
    await asyncio.to_thread(stage.redis.start)


async def redis_full(stage: Stage) -> None:
    async with told_to(stage, ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")):
        await asyncio.sleep(stage.sick_s)


async def redis_read_only(stage: Stage) -> None:
    """A replica whose master is not there answers reads, and refuses writes."""
    async with told_to(stage, ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")):
        await asyncio.sleep(stage.sick_s)


async def redis_refuses(stage: Stage) -> None:
    """As MISCONF does: it has too few replicas to write to."""
    begin, end = ("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")
    async with told_to(stage, begin, end):
        await asyncio.sleep(stage.sick_s)


async def redis_stalled(stage: Stage) -> None:
    redis = stage.redis.pid
    assert redis is not None
    os.kill(redis, signal.SIGSTOP)
    try:
        await asyncio.sleep(stage.sick_s)
    finally:
        os.kill(redis, signal.SIGCONT)


@asynccontextmanager
async def told_to(stage: Stage, begin: tuple[str, ...], end: tuple[str, ...]) -> AsyncIterator[None]:
    """Redis does as it is told, until the block ends."""
    store = connect(stage.redis.url)
    try:
        await _command(store, begin)
        try:
            yield
        finally:
            await _command(store, end)
    finally:
        await store.aclose()


async def _command(store: Store, words: tuple[str, ...]) -> Any:
    return await store.execute_command(*words)


# -- a machine and clients that are sick -------------------------------------------------------------------------------


async def slow_machine(stage: Stage) -> None:
    """Others want the processor as much as Genlock does."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BURNERS)]  # noqa: ASYNC220
    try:
        await asyncio.sleep(stage.sick_s)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


async def half_requests(stage: Stage) -> None:
    """A stranger holds connections open and never says a whole request."""
    address = urlsplit(any_stream(stage).gateway)
    assert address.hostname is not None
    assert address.port is not None
    with contextlib.ExitStack() as stack:
        for _ in range(STRANGERS):
            with contextlib.suppress(OSError):
                one = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=1.0))
                one.sendall(b"GET / HTTP/1.1\r\nHost: ")
        await asyncio.sleep(stage.sick_s)


async def slow_viewers(stage: Stage) -> None:
    """Viewers that stand still, as a laptop that is closed."""
    stream = any_stream(stage)
    viewers = [await _recorder(stream, stage.folder / f"slow-{number}.mkv") for number in range(VIEWERS)]
    try:
        await asyncio.sleep(2)  # they have connected
        for viewer in viewers:
            with contextlib.suppress(ProcessLookupError):
                viewer.send_signal(signal.SIGSTOP)
        await asyncio.sleep(stage.sick_s)
    finally:
        for viewer in viewers:
            with contextlib.suppress(ProcessLookupError):
                viewer.kill()
            await viewer.wait()


async def _recorder(stream: Stream, output: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genlock_cli.main", "record", stream.name, str(output)),
        *("--gateway", stream.gateway, "--state-dir", str(stream.state), "--json"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


HARMS: Final[Mapping[str, Harm]] = {
    harm.name: harm
    for harm in (
        Harm("worker-killed", "worker process", worker_killed, moves=True, is_kill=True),
        Harm("worker-hangs", "worker hangs, its engine hangs", worker_hangs, moves=True, is_kill=True),
        Harm("worker-drained", "node: cordoned, drained", worker_drained, moves=True, is_kill=True),
        Harm("workers-killed", "all workers at once", workers_killed, moves=True, is_kill=True),
        Harm("gateway-killed", "gateway", gateway_killed, is_kill=True),
        Harm("gateway-drained", "gateway", gateway_drained, is_kill=True),
        Harm("publisher-killed", "publisher, without a goodbye", publisher_killed, is_kill=True),
        Harm("redis-restarted", "Redis restarts, keeps its data", redis_restarted, is_kill=True),
        Harm("redis-lost", "Redis loses its data", redis_lost_all, is_kill=True),
        Harm("redis-full", "Redis is full", redis_full),
        Harm("redis-read-only", "Redis is a replica, and read-only", redis_read_only),
        Harm("redis-refuses", "Redis refuses writes", redis_refuses),
        Harm("redis-stalled", "Redis stands still", redis_stalled),
        Harm("slow-machine", "the machine is slow", slow_machine, moves=True),
        Harm("half-requests", "strangers hold connections", half_requests),
        Harm("slow-viewers", "a viewer stands still", slow_viewers),
    )
}
