"""Every buffer between a socket and an engine is filled far beyond its bound, and holds no more than that.

The list is the page's own (`docs/bounds.md`). A limit that is declared and not on the page, or that nobody fills here,
is a failure; so is a buffer whose account is not what it holds.
"""

import ast
import asyncio
import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast

import numpy as np
import pytest
from aiortc.rtcsctptransport import DataChunk
from prometheus_client import CollectorRegistry

from genlock_cli.reference.bounds_page import PLACES, bounds_document
from genlock_core.approximation.levels import Level
from genlock_core.bitstreams.picture_size import MAX_PICTURES_BYTES
from genlock_core.bounds import OBJECT_BYTES, ByteBound, ByteLimit, Holdings
from genlock_core.clock import ManualClock
from genlock_core.link import connection, frames, outbox
from genlock_core.link.events import MediaReceived
from genlock_core.link.frames import FrameParser, FrameType, LinkFrame, Track, encode
from genlock_core.media import AccessUnit, Codec, SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.slo.stages import StageTimes
from genlock_core.spec.session import PictureFit, Resolution
from genlock_gateway.rtc.ingest import h264_pictures, jitter, parameter_sets, rtp_source
from genlock_gateway.rtc.ingest.payload_shape import h264_shape
from genlock_gateway.rtc.sdp.video_format import VideoFormat
from genlock_gateway.rtc.transport import ice, peer, sctp
from genlock_gateway.sessions import recent_pictures
from genlock_worker.intake import decode, publisher
from genlock_worker.output import output
from genlock_worker.output.encode import EncoderSettings
from genlock_worker.output.pacing import OutputFrame, PacedFrame
from tests.bitstreams import bits, clips
from tests.test_project import PACKAGES, ROOT

LIMITS = [limit for _, limits in PLACES for limit in limits]
UNIT = AccessUnit(Codec.H264, bytes(60_000), key_frame=False, capture_us=0)


def declared() -> Iterator[str]:
    """The name of every limit of the product, wherever it is declared."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ByteLimit":
                    yield ast.literal_eval(node.args[0])


def test_every_limit_that_is_declared_is_on_the_page_once() -> None:
    assert sorted(declared()) == sorted(limit.name for limit in LIMITS)
    assert all(bounds_document().count(f"| {limit.name} |") == 1 for limit in LIMITS)


# -- fillers: each puts far more into a real buffer than it may hold, and gives its bound after each step -------------

Step = tuple[ByteBound, int]
"""The bound, and what is really held then (-1: the buffer is another library's)."""


def packets(assembler: jitter.FrameAssembler, numbers: range, *, marker: bool) -> Iterator[None]:
    for number in numbers:
        payload = b"\x65\x08" + bytes(1_198)
        assembler.add(jitter.MediaPacket(number & 0xFFFF, 7, marker, payload, number / 1_000))
        yield


def cost(held: Any) -> int:
    return sum(packet.cost for packet in held)


async def jitter_buffer() -> AsyncIterator[Step]:
    assembler = jitter.FrameAssembler(shape_of=h264_shape, patience_s=1e9)
    assembler.add(jitter.MediaPacket(0, 7, False, b"\x65\x88", 0))
    for _ in packets(assembler, range(2, 1_200), marker=False):
        yield assembler._waiting_bytes, cost(assembler._packets.values())


async def open_picture() -> AsyncIterator[Step]:
    assembler = jitter.FrameAssembler(shape_of=h264_shape)
    assembler.add(jitter.MediaPacket(0, 7, False, b"\x65\x88", 0))
    for _ in packets(assembler, range(1, 4_000), marker=False):
        yield assembler._open_bytes, cost(assembler._open.packets)


async def last_picture() -> AsyncIterator[Step]:
    """Pictures that are nearly as long as one may be."""
    assembler = jitter.FrameAssembler(shape_of=h264_shape)
    for number in range(3 * 1_700):
        first = number % 1_700 == 0
        payload = b"\x65\x88" if first else b"\x65\x08" + bytes(1_198)
        assembler.add(jitter.MediaPacket(number & 0xFFFF, number // 1_700, False, payload, number / 1_000))
        yield assembler._last_bytes, cost(assembler._last.packets)


async def units_in_front() -> AsyncIterator[Step]:
    pictures = h264_pictures.H264Pictures()
    for _ in range(300):
        pictures.picture([bits.user_data() + bytes(1_000) + b"\x80"], any_start=False)
        yield pictures._front_bytes, sum(len(nal) + OBJECT_BYTES for nal in pictures._front)


async def parameter_set_store() -> AsyncIterator[Step]:
    sets = parameter_sets.ParameterSets()
    for number in range(600):
        nal = bits.picture_set(number % 256) if number % 2 else bits.sequence_set(number % 32)
        sets.keep(nal + bytes(2_000) + b"\x80")
        yield sets._bytes, sum(len(nal) + OBJECT_BYTES for nal in sets.nals)


async def waiting_stream() -> AsyncIterator[Step]:
    video = VideoFormat(Codec.H264, 96, None, (), "42e01f", 1, "", 0)
    waits = rtp_source.RtpSource(1, video)
    for number in range(200):
        waits.wait(AccessUnit(Codec.H264, UNIT.data * 3, number == 0, number))
        yield waits._waiting_bytes, sum(len(unit.data) + OBJECT_BYTES for unit in waits._waiting)


async def pictures_of_a_publisher() -> AsyncIterator[Step]:
    recent = recent_pictures.RecentPictures()
    for number in range(300):
        recent.add(AccessUnit(Codec.H264, UNIT.data, number % 50 == 0 and number < 150, number))
        yield recent._bytes, sum(len(unit.data) + OBJECT_BYTES for unit in recent.after(0))


async def inbox() -> AsyncIterator[Step]:
    box = ice._Inbox(ByteBound(ice.INBOX_LIMIT))
    for _ in range(10_000):
        box.put(bytes(1_000))
        yield box.held, box.queue.qsize() * (1_000 + OBJECT_BYTES)
    while box.queue.qsize():
        await box.get()
    yield box.held, 0


class Dtls:
    """Takes what SCTP sends."""

    state = "connected"

    async def _send_data(self, data: bytes) -> None: ...
    def _register_data_receiver(self, receiver: object) -> None: ...
    def _unregister_data_receiver(self, receiver: object) -> None: ...


async def feed_channel(chunk_of: Callable[[int], tuple[int, int, int]]) -> AsyncIterator[Step]:
    """`chunk_of` says the TSN, stream and flags of a chunk."""
    transport = sctp.SctpTransport(cast(Any, Dtls()), port=5_000, holdings=Holdings())
    transport._last_received_tsn = 0
    transport._remote_port = transport._remote_verification_tag = 5_000
    for number in range(4_000):
        chunk = DataChunk()
        chunk.tsn, chunk.stream_id, chunk.flags = chunk_of(number)
        chunk.stream_seq, chunk.protocol, chunk.user_data = 0, 51, bytes(1_000)
        await transport._receive_data_chunk(chunk)
        held = [one for stream in transport._inbound_streams.values() for one in stream.reassembly]
        assert len(transport._sack_misordered) <= sctp.MAX_AHEAD
        assert len(transport._inbound_streams) <= sctp.MAX_STREAMS
        yield transport._held, sum(len(one.user_data) + OBJECT_BYTES for one in held)


async def data_channel() -> AsyncIterator[Step]:
    """A message that never ends, fragments after a hole, and many streams."""
    for chunk_of in (
        lambda number: (number + 1, 0, 2 if number == 0 else 0),
        lambda number: (number + 2, 0, 2 if number == 0 else 0),
        lambda number: (2 * number + 2, number % 65_536, 7),
        lambda number: (2 * number + 2, 0, 4),
    ):
        async for step in feed_channel(chunk_of):
            yield step


async def messages_out() -> AsyncIterator[Step]:
    """The client reads nothing; aiortc counts what waits."""
    transport = peer.PeerTransport.__new__(peer.PeerTransport)
    transport.offer = cast(Any, types.SimpleNamespace(max_message_bytes=0))
    waiting: list[str] = []

    class Channel:
        readyState = "open"  # noqa: N815 - aiortc's name

        @property
        def bufferedAmount(self) -> int:  # noqa: N802
            return sum(map(len, waiting))

        send = staticmethod(waiting.append)

    transport._channel = cast(Any, Channel())
    held = ByteBound(peer.MESSAGES_LIMIT)
    for _ in range(600):
        transport.send_message("x" * 1_000)
        held.held = sum(map(len, waiting))
        yield held, held.held


async def parser() -> AsyncIterator[Step]:
    whole = b"".join(encode(LinkFrame(FrameType.MEDIA, payload=bytes(frames.MAX_PAYLOAD_BYTES))))
    takes = FrameParser()
    for at in range(0, len(whole), 100_000):
        takes.feed(whole[at : at + 100_000])
        yield takes.waiting, takes.buffered_bytes


async def media_out() -> AsyncIterator[Step]:
    waits = outbox.Outbox(on_drop=lambda *_: None)
    for number in range(4_000):
        frame = LinkFrame(
            FrameType.MEDIA, number % 30 == 0, Track.SOURCE, 1, 1 + number % 40, sequence=number, payload=UNIT.data
        )
        waits.push_media(frame)
        yield waits._media_bytes, sum(queue.size for queue in waits._lanes.values())


async def previews_out() -> AsyncIterator[Step]:
    waits = outbox.Outbox(on_drop=lambda *_: None)
    for number in range(300):
        waits.push_picture(LinkFrame(FrameType.PICTURE, channel=number, payload=UNIT.data))
        yield waits._picture_bytes, sum(len(frame.payload) for frame in waits._pictures.values())


async def control_out() -> AsyncIterator[Step]:
    waits = outbox.Outbox(on_drop=lambda *_: None)
    for _ in range(300):
        with suppress(outbox.LinkOverflow):
            waits.push_control(LinkFrame(FrameType.STATS, channel=1, payload=UNIT.data))
            yield waits._control_bytes, sum(len(frame.payload) for frame in waits._control.values())
            continue
        waits.clear()  # the link ends
        yield waits._control_bytes, 0
        return


async def link_events() -> AsyncIterator[Step]:
    link = connection.LinkConnection.__new__(connection.LinkConnection)
    link._events, link._event_bytes = deque(), ByteBound(connection.EVENTS_LIMIT)
    link._room, link._arrived = asyncio.Event(), asyncio.Event()
    link._room.set()
    for number in range(1_000):
        unit = AccessUnit(Codec.H264, bytes(frames.MAX_PAYLOAD_BYTES if number % 3 == 0 else 1), True, 0)
        if link._room.is_set():  # what reads the socket waits for it
            link._deliver(MediaReceived(1, "default/demo", 1, unit, run=1, sequence=0, replay=False, late=False))
        held = [cast(MediaReceived, event).unit for event in link._events]
        yield link._event_bytes, sum(len(unit.data) + OBJECT_BYTES for unit in held)


async def intake_queue() -> AsyncIterator[Step]:
    with ThreadPoolExecutor(1) as executor:
        takes = publisher.PublisherSource(
            session="default/demo",
            resolution=Resolution(width=64, height=64),
            fit=PictureFit.CROP,
            settle=None,
            clock=ManualClock(),
            executor=executor,
            metrics=WorkerMetrics(CollectorRegistry()),
            decoders=decode.Decoder,
            ask_key_frame=lambda _: None,
        )
        for number in range(1_500):
            takes.push(publisher.SourceUnit(UNIT, 1, "a", number, 0.0))
            yield takes._bytes, sum(unit.cost for unit in takes._units)


async def kept_for_reordering() -> AsyncIterator[Step]:
    decoder = decode.Decoder(Codec.H264)
    made = clips.b_frames(40)
    filler = b"\0\0\1\x0c" + b"\xff" * 500_000 + b"\x80"
    for place, coded in enumerate(made):
        decoder.decode(AccessUnit(Codec.H264, coded.data + filler, place == 0, coded.number * clips.FRAME_US))
        yield decoder._kept_bytes, sum(len(unit.data) + OBJECT_BYTES for unit in decoder._kept)


async def decoded_pictures() -> AsyncIterator[Step]:
    """As many as the stream says that it reorders; the account is the rule that refuses it."""
    decoder = decode.Decoder(Codec.H264)

    class Context:
        """A decoder that learns that it has to hold more and more back."""

        has_b_frames, width, height = 0, 4_096, 4_096
        format = types.SimpleNamespace(padded_bits_per_pixel=12)

        def decode(self, _packet: object) -> list[object]:
            Context.has_b_frames += 1
            return []

    unit = AccessUnit(Codec.H264, bits.annex_b(bits.slice_start(5)), True, 0)
    context = Context()
    for _ in range(16):
        decoder._context = cast(Any, context)
        decoder.decode(unit)
        yield decoder._picture_bytes, -1
    assert decoder.failures, "it was refused"
    assert MAX_PICTURES_BYTES < 16 * 4_096 * 4_096


async def output_pictures() -> AsyncIterator[Step]:
    picture = np.zeros((1_920, 1_920, 3), np.uint8)  # one array: what counts is the account
    frame = OutputFrame(
        picture, SourcePosition(1, 0), PacedFrame(0.0, 0.0, 0.0), (), StageTimes(), 0.0, False, Level(1)
    )
    pacer = types.SimpleNamespace(frames=lambda _chunk: [frame] * 4)
    chunk = types.SimpleNamespace(chunk=types.SimpleNamespace(source=None), frames=range(4), generated_s=0.0)
    with ThreadPoolExecutor(1) as executor:
        out = output.Output(
            session="default/demo",
            settings=EncoderSettings(width=64, height=64, frame_rate=16, bitrate=100_000),
            h264="libx264",
            pacer=cast(Any, pacer),
            clock=ManualClock(),
            executor=executor,
            metrics=WorkerMetrics(CollectorRegistry()),
            on_sent=lambda _: None,
        )
        for _ in range(12):
            out.add(cast(Any, chunk))
            yield out._waiting_bytes, sum(waiting.picture.nbytes for waiting in out._waiting)


FILLERS: dict[str, Callable[[], AsyncIterator[Step]]] = {
    ice.INBOX_LIMIT.name: inbox,
    sctp.DATA_CHANNEL_LIMIT.name: data_channel,
    peer.MESSAGES_LIMIT.name: messages_out,
    jitter.JITTER_LIMIT.name: jitter_buffer,
    jitter.OPEN_FRAME_LIMIT.name: open_picture,
    jitter.LAST_FRAME_LIMIT.name: last_picture,
    h264_pictures.FRONT_LIMIT.name: units_in_front,
    parameter_sets.SETS_LIMIT.name: parameter_set_store,
    rtp_source.WAITING_LIMIT.name: waiting_stream,
    recent_pictures.RECENT_LIMIT.name: pictures_of_a_publisher,
    frames.PARSER_LIMIT.name: parser,
    connection.EVENTS_LIMIT.name: link_events,
    outbox.CONTROL_LIMIT.name: control_out,
    outbox.MEDIA_LIMIT.name: media_out,
    outbox.PICTURE_LIMIT.name: previews_out,
    publisher.QUEUE_LIMIT.name: intake_queue,
    decode.KEPT_LIMIT.name: kept_for_reordering,
    decode.PICTURES_LIMIT.name: decoded_pictures,
    output.OUTPUT_LIMIT.name: output_pictures,
}

FULL = 0.5
"""A filler that does not bring its buffer this near to its bound shows nothing."""


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name.replace(" ", "-"))
async def test_a_buffer_that_is_filled_beyond_its_bound_holds_no_more_than_that(limit: ByteLimit) -> None:
    most = 0
    async for bound, really in FILLERS[limit.name]():
        assert bound.limit.name == limit.name
        assert bound.held <= limit.at_most
        assert really in (-1, bound.held), "its account is what it holds"
        most = max(most, bound.held)
    assert most >= FULL * limit.at_most


async def test_a_message_without_end_ends_its_association() -> None:
    transport = sctp.SctpTransport(cast(Any, Dtls()), port=5_000, holdings=Holdings())
    transport._last_received_tsn = 0
    aborted: list[bool] = []

    async def abort() -> None:
        aborted.append(True)

    transport._abort = abort  # type: ignore[method-assign]
    for number in range(1_000):
        chunk = DataChunk()
        chunk.tsn, chunk.flags, chunk.user_data = number + 1, 2 if number == 0 else 0, bytes(1_000)
        await transport._receive_data_chunk(chunk)
    assert aborted


def test_a_buffer_that_is_gone_counts_no_more() -> None:
    holdings = Holdings()
    bound = holdings.bound(jitter.JITTER_LIMIT)
    assert bound.take(5)
    assert holdings.held_bytes == 5
    del bound
    assert holdings.held_bytes == 0
