"""What a publisher's packets cost on their way into the gateway: whole pictures out of RTP, and over the link to a
worker, against plain depacketisation of the same packets by aiortc's own classes.

Three streams of one clip: in order, with packets that overtake each other, and with B-frames. Nothing is lost. The
latency of a picture runs from the arrival of its last packet to its arrival in the worker's process. The baseline gives
a picture out when the next one begins, so its latency holds a picture's time; its CPU time is the one to compare with.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from aiortc.codecs.h264 import h264_depayload
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket

from bench.link import GATEWAY, SECRETS
from bench.result import Series, Table, percentile, save
from genlock_core.bitstreams.h264 import join_annex_b, split_annex_b
from genlock_core.clock import Clock, ManualClock, SystemClock
from genlock_core.link.client import connect
from genlock_core.link.events import ChannelOpened
from genlock_core.link.messages import Open
from genlock_core.media import VIDEO_CLOCK_HZ, AccessUnit, Codec
from genlock_gateway.rtc.egress.packetise import packetise
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.rtc.sdp.video_format import VideoFormat
from genlock_worker.intake.pattern import draw

FRAME_RATE = 30
PICTURES = 60
WIDTH, HEIGHT = 640, 368
BIT_RATE = 2_500_000
DISPLACED = 4
"""With packets out of order: each comes up to so many places late."""
PAYLOAD_TYPE, SSRC = 96, 4242
CPU_ROUNDS = 15
LATENCY_ROUNDS = 2
BASELINE_BUFFER = 128
"""Packets: as aiortc's receiver has it for video."""

X264 = {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline"}
B_FRAMES = {"preset": "veryfast", "profile": "main", "x264-params": "bframes=2:b-adapt=0:scenecut=0"}
"""As OBS and hardware encoders have it by default."""

Deliver = Callable[[AccessUnit], None]
Feed = Callable[[RtpPacket], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """Packets in the order in which they arrive, each with the picture that it is of (in decoding order)."""

    name: str
    packets: tuple[tuple[int, bytes], ...]

    def fresh(self) -> list[tuple[int, RtpPacket]]:
        """The packets as they come from the socket: whoever takes them may write to them."""
        return [(picture, RtpPacket.parse(data)) for picture, data in self.packets]


# -- the streams -------------------------------------------------------------------------------------------------------


def streams() -> tuple[Stream, ...]:
    plain = packets_of(encode(X264))
    return (
        Stream("in order", plain),
        Stream(f"up to {DISPLACED} places late", displaced(plain)),
        Stream("with B-frames", packets_of(encode(B_FRAMES))),
    )


def encode(options: dict[str, str]) -> list[tuple[int, AccessUnit]]:
    """Pictures of the moving test card in decoding order, each with the number under which it is shown."""
    context = av.CodecContext.create("libx264", "w")
    context.width = WIDTH
    context.height = HEIGHT
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, FRAME_RATE)
    context.framerate = Fraction(FRAME_RATE, 1)
    context.bit_rate = BIT_RATE
    context.gop_size = PICTURES
    context.options = options

    coded = []
    for number in range(PICTURES):
        frame = av.VideoFrame.from_ndarray(draw(number, width=WIDTH, height=HEIGHT), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts = number
        coded += context.encode(frame)
    coded += context.encode(None)
    return [
        (packet.pts or 0, AccessUnit(Codec.H264, join_annex_b(split_annex_b(bytes(packet))), packet.is_keyframe, 0))
        for packet in coded
    ]


def packets_of(units: Sequence[tuple[int, AccessUnit]]) -> tuple[tuple[int, bytes], ...]:
    made: list[tuple[int, bytes]] = []
    for picture, (shown, unit) in enumerate(units):
        payloads = packetise(unit, picture_id=picture)
        for part, payload in enumerate(payloads):
            marker = int(part == len(payloads) - 1)
            timestamp = (shown + 1) * VIDEO_CLOCK_HZ // FRAME_RATE
            made.append((picture, RtpPacket(PAYLOAD_TYPE, marker, len(made), timestamp, SSRC, payload).serialize()))
    return tuple(made)


def displaced(packets: Sequence[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
    """Each packet comes up to `DISPLACED` places after its own; the first keeps its place."""
    chance = random.Random(1)
    places = [(0.0, 0)] + [(number + chance.uniform(0, DISPLACED), number) for number in range(1, len(packets))]
    return tuple(packets[number] for _, number in sorted(places))


# -- the two ways in ---------------------------------------------------------------------------------------------------


class Silent:
    """The transport and the listener of a peer without a network: a publisher that is asked for nothing."""

    state = "connected"

    def send_rtcp(self, packet: bytes) -> None:
        pass

    def connected(self) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def closed(self, reason: str) -> None:
        pass


class Ingest:
    """The gateway's way in."""

    def __init__(self, clock: Clock, deliver: Deliver) -> None:
        self._deliver = deliver
        silent: Any = Silent()
        self._peer = IngestPeer(
            transport=silent,
            video=VideoFormat(Codec.H264, PAYLOAD_TYPE, None, ("nack", "nack pli", "goog-remb"), "42e01f", 1, "", 0),
            ssrc=1,
            listener=silent,
            sink=self,
            clock=clock,
            rtx_ssrcs={},
        )
        self._clock = clock

    def feed(self, packet: RtpPacket) -> None:
        self._peer.rtp(packet, round(self._clock.monotonic() * 1000))

    def access_unit(self, peer: IngestPeer, unit: AccessUnit) -> None:  # noqa: ARG002
        self._deliver(unit)

    def close(self) -> None:
        self._peer.closed("the end")


class Plain:
    """Payloads undone and put in order, and no more: what aiortc's receiver does before it decodes."""

    def __init__(self, clock: Clock, deliver: Deliver) -> None:  # noqa: ARG002
        self._deliver = deliver
        self._buffer = JitterBuffer(capacity=BASELINE_BUFFER, is_video=True)

    def feed(self, packet: RtpPacket) -> None:
        packet._data = h264_depayload(packet.payload)  # type: ignore[attr-defined]  # noqa: SLF001 - as it does
        _, frame = self._buffer.add(packet)
        if frame is not None:
            self._deliver(AccessUnit(Codec.H264, frame.data, key_frame=False, capture_us=0))

    def close(self) -> None:
        pass


WAYS: dict[str, type[Ingest] | type[Plain]] = {"ingest": Ingest, "plain": Plain}


# -- what is measured --------------------------------------------------------------------------------------------------


def cpu_us(way: str, stream: Stream) -> float:
    """CPU microseconds per packet, without the link; raises RuntimeError if a picture is missing."""
    clock, units = ManualClock(), list[AccessUnit]()
    door = WAYS[way](clock, units.append)
    packets = stream.fresh()
    step_s = PICTURES / FRAME_RATE / len(packets)
    began = time.thread_time()
    for _, packet in packets:
        clock.advance(step_s)
        door.feed(packet)
    spent = time.thread_time() - began
    door.close()
    check(way, stream, len(units))
    return spent / len(packets) * 1e6


async def latencies_us(way: str, stream: Stream) -> list[int]:
    """From the arrival of each picture's last packet to its arrival in a process that stands for the worker."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.link", "--receive", "link", stdout=asyncio.subprocess.PIPE, limit=2**24
    )
    assert child.stdout is not None
    address = (await child.stdout.readline()).decode().strip()
    connection = await connect(address, identity=GATEWAY, secrets=SECRETS, clock=SystemClock())
    connection.open(Open(session="bench/0", epoch=1, gateway=GATEWAY.name))
    events = connection.events()
    while not isinstance(event := await anext(events), ChannelOpened):
        pass

    arrived_us: dict[int, int] = {}
    sent = 0

    def deliver(unit: AccessUnit) -> None:
        nonlocal sent
        connection.send_media(event.channel, replace(unit, capture_us=arrived_us[sent]), run=1)
        sent += 1

    door = WAYS[way](SystemClock(), deliver)
    packets = stream.fresh()
    begins = {picture: place for place, (picture, _) in reversed(list(enumerate(packets)))}
    start = time.monotonic()
    for place, (picture, packet) in enumerate(packets):
        if begins[picture] == place:
            await asyncio.sleep(max(0.0, start + picture / FRAME_RATE - time.monotonic()))
        arrived_us[picture] = time.monotonic_ns() // 1_000
        door.feed(packet)
    await asyncio.sleep(0.2)  # what is under way arrives before the goodbye
    door.close()
    await connection.close()

    found: list[int] = json.loads(await child.stdout.readline())
    await child.wait()
    check(way, stream, len(found))
    return found


def check(way: str, stream: Stream, pictures: int) -> None:
    # The baseline keeps the last one, as nothing comes after it.
    expected = PICTURES - (way == "plain")
    if pictures != expected:
        raise RuntimeError(f"{way}, {stream.name}: {pictures} of {expected} pictures came")


async def run() -> tuple[list[Table], list[Series]]:
    rows, labels, values = [], [], []
    for stream in streams():
        cpu: dict[str, list[float]] = {way: [] for way in WAYS}
        latency: dict[str, list[int]] = {way: [] for way in WAYS}
        # In turns, so that both meet the same noise.
        for _ in range(CPU_ROUNDS):
            for way, found in cpu.items():
                found.append(cpu_us(way, stream))
        for _ in range(LATENCY_ROUNDS):
            for way, seen in latency.items():
                seen += await latencies_us(way, stream)

        ours_us, plain_us = (percentile(cpu[way], 0.5) for way in WAYS)
        p50, p99 = (percentile(latency["ingest"], share) / 1_000 for share in (0.5, 0.99))
        plain_p50, plain_p99 = (percentile(latency["plain"], share) / 1_000 for share in (0.5, 0.99))
        rows.append(
            (
                stream.name,
                f"{len(stream.packets)}",
                f"{p50:.2f}",
                f"{p99:.2f}",
                f"{plain_p50:.1f}",
                f"{plain_p99:.1f}",
                f"{p50 / plain_p50:.2f}",
                f"{ours_us:.0f}",
                f"{plain_us:.0f}",
                f"{ours_us / plain_us:.1f}",
            )
        )
        labels += [f"ingest, {stream.name}", f"aiortc, {stream.name}"]
        values += [ours_us, plain_us]
    table = Table(
        title="Ingest: a publisher's packets, up to the worker",
        columns=(
            *("stream", "packets", "p50 ms", "p99 ms", "aiortc p50 ms", "p99 ms", "ratio p50"),
            *("CPU µs/packet", "aiortc", "ratio"),
        ),
        rows=tuple(rows),
        note=(
            f"{WIDTH}x{HEIGHT} at {FRAME_RATE} pictures per second and {BIT_RATE / 1e6:g} Mbit/s, nothing lost. "
            "Latency: from the arrival of a picture's last packet to its arrival in another process, over the link. "
            "The baseline undoes the same packets with aiortc's `h264_depayload` and `JitterBuffer` and uses the same "
            "link; it gives a picture out when the next one begins. CPU: of the gateway's thread, median, without "
            "socket, SRTP and link; the baseline counts no losses, reports nothing, and looks into no picture."
        ),
    )
    return [table], [Series("Ingest, CPU for each packet", tuple(labels), tuple(values), "µs")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.ingest", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()
    tables, series = asyncio.run(run())
    for table in tables:
        print(table.markdown())
    if arguments.json:
        save(arguments.json, tables, series)


if __name__ == "__main__":
    main()
