"""The link's frames as bytes: `length u32 | header | stages | payload`, big-endian.

Here are no sockets and no meaning. `encode` makes buffers, `FrameParser` takes them in any fragmentation. Whatever is
not a frame is a LinkProtocolError. What a frame means, and when it may come, is decided in `protocol`.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from genlock_core.bounds import ByteBound, ByteLimit
from genlock_core.errors import LinkProtocolError

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Longest frame (after the length field) that is sent or taken."""
MAX_FRAME_BYTES_BEFORE_AUTH = 256 * 1024
"""The same, as long as the peer has not shown that it knows the secret."""

MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - 1_024
"""Longest payload; the rest is room for the header and all stage times."""

NO_STAGES = b"\x00"
"""The encoding of no stage times."""

PARSER_LIMIT = ByteLimit(
    "a frame of which a part has come",
    MAX_FRAME_BYTES + 4,
    each="link between a gateway and a worker",
    when_full="the link ends: its peer announced more than it may send",
)

_LENGTH = Struct("!I")
# type, flags, track, codec, channel, epoch, run, sequence, capture_us
_HEADER = Struct("!BBBBIQQIq")
_STAGE_BYTES = 5
_JOIN_BELOW_BYTES = 2_048


class FrameType(IntEnum):
    """What a frame is; the number is what stands on the wire."""

    HELLO = 1
    AUTH = 2
    OPEN = 3
    OPENED = 4
    REFUSED = 5
    CLOSE = 6
    MEDIA = 7
    KEY_FRAME = 8
    CODECS = 9
    CONTROL = 10
    SOURCE = 11
    STATS = 12
    HANDOVER = 13
    HEARTBEAT = 14
    SUBSCRIBE = 15
    """From minor version 1 on, as the two below."""
    RENEW = 16
    PICTURE = 17


class Flag(IntEnum):
    """What is special about an access unit; the flags of a frame are the sum of some."""

    KEY = 1
    """It can be decoded without any before it."""
    REPLAY = 2
    """It belongs to the kept group of pictures: it brings a decoder up to date and was seen before."""
    LATE = 4
    """It missed its deadline."""


class Track(IntEnum):
    """Which way media goes: the publisher's to the worker, or the generated one to the viewers."""

    NONE = 0
    SOURCE = 1
    OUTPUT = 2


_ALL_FLAGS = sum(Flag)


@dataclass(frozen=True, slots=True)
class LinkFrame:
    """One frame of the link. `codec` is 0 or a `media.Codec`; `stages` is the encoding of `slo.stages.StageTimes`.

    `channel` 0 is the connection itself. `capture_us` is on the gateway's clock and only ever echoed.
    """

    type: FrameType
    flags: int = 0
    track: Track = Track.NONE
    codec: int = 0
    channel: int = 0
    epoch: int = 0
    run: int = 0
    sequence: int = 0
    capture_us: int = 0
    stages: bytes = NO_STAGES
    payload: bytes = b""


def encode(frame: LinkFrame) -> list[bytes]:
    """The frame as buffers to send one after the other; a large payload is the last one, not copied.

    Raises LinkProtocolError if it is longer than MAX_FRAME_BYTES or its stages are not whole.
    """
    _check_stages(frame.stages)
    length = _HEADER.size + len(frame.stages) + len(frame.payload)
    if length > MAX_FRAME_BYTES:
        raise LinkProtocolError(f"a frame of {length} bytes is over the link's maximum of {MAX_FRAME_BYTES}")
    header = _HEADER.pack(
        frame.type,
        frame.flags,
        frame.track,
        frame.codec,
        frame.channel,
        frame.epoch,
        frame.run,
        frame.sequence,
        frame.capture_us,
    )
    head = _LENGTH.pack(length) + header + frame.stages

    # Joining a small payload costs less than a second buffer; a large one is not copied.
    if len(frame.payload) < _JOIN_BELOW_BYTES:
        return [head + frame.payload]
    return [head, frame.payload]


def _check_stages(stages: bytes) -> None:
    if not stages or len(stages) != 1 + stages[0] * _STAGE_BYTES:
        raise LinkProtocolError(f"stage times of {len(stages)} bytes are not whole entries")


class FrameParser:
    """Takes bytes in any fragmentation and gives whole frames. It holds at most one unfinished frame and one push.

    After a mistake it stays broken: every later call raises the same LinkProtocolError.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        # May be raised between two calls of `pop`, which is how a peer that has shown its secret gets the full length.
        self.max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._offset = 0
        self._mistake: LinkProtocolError | None = None
        self.waiting = ByteBound(PARSER_LIMIT)
        """What waits for the rest of its frame, once all whole frames were taken."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer) - self._offset

    def feed(self, data: bytes) -> list[LinkFrame]:
        """Every frame that is whole with these bytes. Raises LinkProtocolError."""
        self.push(data)
        frames = []
        while (frame := self.pop()) is not None:
            frames.append(frame)
        return frames

    def push(self, data: bytes) -> None:
        """Add bytes; take the frames with `pop` before the next push, so that the buffer stays small."""
        # Deleting from a bytearray's front moves a pointer, not the bytes, so each byte is copied once in and once out.
        del self._buffer[: self._offset]
        self._offset = 0
        self._buffer += data

    def pop(self) -> LinkFrame | None:
        """The next whole frame, or None until more bytes come. Raises LinkProtocolError."""
        if self._mistake is not None:
            raise self._mistake
        try:
            return self._pop()
        except LinkProtocolError as mistake:
            self._mistake = mistake
            # A new one: the mistake's traceback may still hold a view of the old one, which then cannot be resized.
            self._buffer = bytearray()
            self._offset = 0
            raise

    def _pop(self) -> LinkFrame | None:
        if self.buffered_bytes < _LENGTH.size:
            self.waiting.hold(self.buffered_bytes)
            return None

        # The length is judged before the frame is there: nothing is buffered for a peer that announces too much.
        (length,) = _LENGTH.unpack_from(self._buffer, self._offset)
        if length > self.max_frame_bytes:
            raise LinkProtocolError(
                f"the peer announced a frame of {length} bytes, at most {self.max_frame_bytes} may come"
            )
        if length < _HEADER.size + len(NO_STAGES):
            raise LinkProtocolError(f"the peer announced a frame of {length} bytes, too short for a header")
        if self.buffered_bytes < _LENGTH.size + length:
            self.waiting.hold(self.buffered_bytes)
            return None

        start = self._offset + _LENGTH.size
        self._offset = start + length
        with memoryview(self._buffer) as view:
            return _decode(view[start : start + length])


def _decode(body: memoryview) -> LinkFrame:
    kind, flags, track, codec, channel, epoch, run, sequence, capture_us = _HEADER.unpack_from(body)
    payload_at = _HEADER.size + 1 + body[_HEADER.size] * _STAGE_BYTES
    if payload_at > len(body):
        raise LinkProtocolError("a frame ends within its stage times")

    try:
        frame_type, frame_track = FrameType(kind), Track(track)
    except ValueError as error:
        raise LinkProtocolError(f"unknown frame: {error}") from None
    if flags > _ALL_FLAGS:
        raise LinkProtocolError(f"unknown flags {flags:#04x}")

    return LinkFrame(
        type=frame_type,
        flags=flags,
        track=frame_track,
        codec=codec,
        channel=channel,
        epoch=epoch,
        run=run,
        sequence=sequence,
        capture_us=capture_us,
        stages=bytes(body[_HEADER.size : payload_at]),
        payload=bytes(body[payload_at:]),
    )
