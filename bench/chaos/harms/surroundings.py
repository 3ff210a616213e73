"""A machine, a network and clients that are sick."""

import asyncio
import contextlib
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.chaos.processes import redis_door
from bench.chaos.stage import Stage, Stream

BURNERS: Final = 3
STRANGERS: Final = 300
"""Connections that say half a request."""
DESCRIPTORS_LEFT: Final = 8
VIEWERS: Final = 2
"""Slow viewers beside the watcher."""
CONNECTED_AFTER_S: Final = 2.0


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Others want the processor as much as Genlock does."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


async def slow_machine(stage: Stage) -> list[str]:
    with busy(BURNERS):
        await asyncio.sleep(stage.sick_s)
    return stage.names


# -- connections that are half open ------------------------------------------------------------------------------------


async def link_vanishes(stage: Stage) -> list[str]:
    """What is between the gateways and a worker is gone without a FIN; they can connect anew."""
    child = await stage.worker_of(stage.any_stream())
    hit = await stage.streams_of(child)
    await _vanish(stage, child.plan.name)
    return hit


async def gateways_redis_vanishes(stage: Stage) -> list[str]:
    child = stage.gateway_of(stage.any_stream())
    await _vanish(stage, redis_door(child.plan.name))
    return await stage.streams_of(child)


async def workers_redis_vanishes(stage: Stage) -> list[str]:
    child = await stage.worker_of(stage.any_stream())
    hit = await stage.streams_of(child)
    await _vanish(stage, redis_door(child.plan.name))
    return hit


async def _vanish(stage: Stage, door: str) -> None:
    assert stage.relay is not None
    await stage.relay.vanish(door)
    await asyncio.sleep(stage.sick_s)


# -- strangers and slow ones -------------------------------------------------------------------------------------------


async def half_requests(stage: Stage) -> list[str]:
    """A stranger holds connections open and never says a whole request."""
    child = stage.gateway_of(stage.any_stream())
    with strangers(stage, child.plan.name):
        await asyncio.sleep(stage.sick_s)
    return await stage.streams_of(child)


async def few_descriptors(stage: Stage) -> list[str]:
    """The same, where the gateway has next to no descriptors left."""
    child = stage.gateway_of(stage.any_stream())
    assert child.pid is not None
    soft, hard = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
    few = highest_descriptor(child.pid) + 1 + DESCRIPTORS_LEFT
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (few, hard))
    try:
        with strangers(stage, child.plan.name):
            await asyncio.sleep(stage.sick_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (soft, hard))
    return await stage.streams_of(child)


def highest_descriptor(pid: int) -> int:
    """The limit is one of numbers, and not of how many are open."""
    return max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())


@contextlib.contextmanager
def strangers(stage: Stage, gateway: str) -> Iterator[None]:
    url = urlsplit(stage.genlock.gateway_urls[int(gateway.removeprefix("g"))])
    assert url.hostname is not None
    assert url.port is not None
    with contextlib.ExitStack() as stack:
        for _ in range(STRANGERS):
            with contextlib.suppress(OSError):
                one = stack.enter_context(socket.create_connection((url.hostname, url.port), timeout=1.0))
                one.sendall(b"GET / HTTP/1.1\r\nHost: ")
        yield


async def slow_viewers(stage: Stage) -> list[str]:
    """Viewers that stand still, as a laptop that is closed."""
    stream = stage.any_stream()
    viewers = [await _recorder(stream, stage.folder / f"slow-{number}.mkv") for number in range(VIEWERS)]
    try:
        await asyncio.sleep(CONNECTED_AFTER_S)
        for viewer in viewers:
            with contextlib.suppress(ProcessLookupError):
                viewer.send_signal(signal.SIGSTOP)
        await asyncio.sleep(stage.sick_s)
    finally:
        for viewer in viewers:
            with contextlib.suppress(ProcessLookupError):
                viewer.kill()
            await viewer.wait()
    return [stream.name]


async def _recorder(stream: Stream, output: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genlock_cli.main", "record", stream.name, str(output)),
        *("--gateway", stream.gateway, "--state-dir", str(stream.state), "--json"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
