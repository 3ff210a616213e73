"""Latency of the link, one way, between two processes over loopback, against plain TCP with length-prefixed frames.

A receiver in a process of its own takes frames that carry the time at which they were sent; the machine's monotonic
clock is one for all its processes. Link and baseline take turns under the same load.
"""

import argparse
import asyncio
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.result import Series, Table, percentile, save
from genlock_core.claims.pulse import Pulse
from genlock_core.clock import SystemClock
from genlock_core.link.client import connect
from genlock_core.link.connection import LinkConnection
from genlock_core.link.events import ChannelOpened, LinkIdentity, MediaReceived, OpenRequested
from genlock_core.link.messages import LinkRole, Open
from genlock_core.link.server import serve
from genlock_core.media import AccessUnit, Codec

STREAMS = (1, 30)
FRAME_BYTES = 4_000
FRAME_RATE = 30
ROUNDS = 3
ROUND_S = 1.5
WARM_UP_S = 0.3

GATEWAY = LinkIdentity(LinkRole.GATEWAY, "bench-gateway", "0")
WORKER = LinkIdentity(LinkRole.WORKER, "bench-worker", "0")
SECRETS = (b"of a benchmark, and of nothing else",)

_PREFIX = struct.Struct("!IQ")

Send = Callable[[int, int], None]
"""Send one frame of a stream: its number, and the time in microseconds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One-way latencies in microseconds, in the order of arrival."""

    latencies_us: tuple[float, ...]

    def percentile(self, share: float) -> float:
        return percentile(self.latencies_us, share)


def now_us() -> int:
    return time.monotonic_ns() // 1_000


# The receiver's process.


async def receive_link(report: "Report") -> None:
    async def attend(connection: LinkConnection) -> None:
        async for event in connection.events():
            match event:
                case MediaReceived(unit=unit):
                    report.arrived(unit.capture_us)
                case OpenRequested(channel, request):
                    connection.accept(channel, request.epoch)
        report.done.set()

    ticks = iter(range(sys.maxsize))
    server = await serve(
        "127.0.0.1",
        0,
        attend,
        identity=WORKER,
        secrets=SECRETS,
        clock=SystemClock(),
        pulse=lambda: Pulse(next(ticks)),
    )
    print(server.address, flush=True)
    await report.done.wait()
    await server.close()


async def receive_plain(report: "Report") -> None:
    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size, sent_us = _PREFIX.unpack(await reader.readexactly(_PREFIX.size))
                await reader.readexactly(size)
                report.arrived(sent_us)
        except asyncio.IncompleteReadError:
            writer.close()
            report.done.set()

    server = await asyncio.start_server(attend, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    await report.done.wait()
    server.close()


class Report:
    """What a receiver measured; `done` is set when the sender has gone."""

    def __init__(self) -> None:
        self.latencies_us: list[int] = []
        self.done = asyncio.Event()

    def arrived(self, sent_us: int) -> None:
        self.latencies_us.append(now_us() - sent_us)


async def receiver(kind: str) -> None:
    """The child process: say where it listens, measure until the sender goes, print what was measured."""
    report = Report()
    await (receive_link(report) if kind == "link" else receive_plain(report))
    print(json.dumps(report.latencies_us), flush=True)


# The sender's process.


@asynccontextmanager
async def link_sender(address: str, streams: int) -> AsyncIterator[Send]:
    connection = await connect(address, identity=GATEWAY, secrets=SECRETS, clock=SystemClock())
    for stream in range(streams):
        connection.open(Open(session=f"bench/{stream}", epoch=1, gateway=GATEWAY.name))
    events = connection.events()
    channels: list[int] = []
    while len(channels) < streams:
        if isinstance(event := await anext(events), ChannelOpened):
            channels.append(event.channel)

    def send(stream: int, sent_us: int) -> None:
        unit = AccessUnit(Codec.H264, bytes(FRAME_BYTES), key_frame=True, capture_us=sent_us)
        connection.send_media(channels[stream], unit, run=1)

    yield send
    await connection.close()


@asynccontextmanager
async def plain_sender(address: str, streams: int) -> AsyncIterator[Send]:
    del streams  # one connection carries them all, as the link does
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(_stream: int, sent_us: int) -> None:
        writer.write(_PREFIX.pack(FRAME_BYTES, sent_us) + bytes(FRAME_BYTES))

    yield send
    writer.close()
    await writer.wait_closed()


async def pace(streams: int, seconds: float, send: Send) -> int:
    """Send every stream's frames at the frame rate, the streams evenly offset; returns how many."""
    frames = round(seconds * FRAME_RATE) * streams
    start = time.monotonic()
    for frame in range(frames):
        due = start + frame / (FRAME_RATE * streams)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        send(frame % streams, now_us())
    return frames


async def measure(kind: str, streams: int, seconds: float) -> list[int]:
    """One round: a fresh receiver, a warm-up that is not counted, and the latencies of the rest in microseconds."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.link", "--receive", kind, stdout=asyncio.subprocess.PIPE, limit=2**24
    )
    assert child.stdout is not None
    address = (await child.stdout.readline()).decode().strip()
    sender = link_sender if kind == "link" else plain_sender
    async with sender(address, streams) as send:
        warm = await pace(streams, WARM_UP_S, send)
        sent = await pace(streams, seconds, send)
        await asyncio.sleep(0.1)  # what is under way arrives before the goodbye
    latencies: list[int] = json.loads(await child.stdout.readline())
    await child.wait()
    if len(latencies) != warm + sent:
        raise RuntimeError(f"{kind}: {len(latencies)} of {warm + sent} frames arrived; the machine is too busy")
    return latencies[warm:]


async def compare(streams: int, *, rounds: int = ROUNDS, seconds: float = ROUND_S) -> dict[str, Measured]:
    """Link and baseline in turns under the same load."""
    found: dict[str, list[int]] = {"link": [], "plain": []}
    for _ in range(rounds):
        for kind, latencies in found.items():
            latencies += await measure(kind, streams, seconds)
    return {kind: Measured(tuple(latencies)) for kind, latencies in found.items()}


async def run() -> tuple[list[Table], list[Series]]:
    rows, labels, values = [], [], []
    for streams in STREAMS:
        found = await compare(streams)
        link, plain = found["link"], found["plain"]
        p50, p99 = (link.percentile(share) / 1_000 for share in (0.5, 0.99))
        plain_p50, plain_p99 = (plain.percentile(share) / 1_000 for share in (0.5, 0.99))
        rows.append(
            (
                str(streams),
                str(len(link.latencies_us)),
                f"{p50:.2f}",
                f"{p99:.2f}",
                f"{plain_p50:.2f}",
                f"{plain_p99:.2f}",
                f"{p50 / plain_p50:.2f}",
                f"{p99 / plain_p99:.2f}",
            )
        )
        labels += [f"link, {streams} streams", f"plain TCP, {streams} streams"]
        values += [p50, plain_p50]
    table = Table(
        title="Link latency",
        columns=("streams", "frames", "link p50 ms", "p99 ms", "plain p50 ms", "p99 ms", "ratio p50", "ratio p99"),
        rows=tuple(rows),
        note=(
            f"One way between two processes, {FRAME_BYTES} byte frames at {FRAME_RATE} per second and stream. The "
            "baseline is plain asyncio TCP with a length and a time in front of each frame, in turns with the link; "
            "a ratio of 1 would be a link that costs nothing."
        ),
    )
    return [table], [Series("Link latency, median", tuple(labels), tuple(values), "ms")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.link", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--receive", choices=("link", "plain"), help="be the receiver's process")
    arguments = parser.parse_args()
    if arguments.receive:
        asyncio.run(receiver(arguments.receive))
        return
    tables, series = asyncio.run(run())
    for table in tables:
        print(table.markdown())
    if arguments.json:
        save(arguments.json, tables, series)


if __name__ == "__main__":
    main()
