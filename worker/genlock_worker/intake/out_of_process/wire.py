"""What a worker asks of a decoder's process, and what that answers, as bytes.

The worker trusts nothing that comes back: an answer has a kind and a form that `read_answer` knows, or it is `Garbled`.
Pictures do not come this way. They lie in the shared memory, and an answer says only that one is there.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_core.spec.session import PictureFit

Read = Callable[[int], bytes]
"""Gives exactly so many bytes of a stream."""

MAX_FRAMES: Final = 255
"""Pictures that come out with one unit: reordering holds back 16 at most."""

_DECODE, _DRAIN, _FETCH = range(1, 4)
_DECODED, _FETCHED, _OUT_OF_MEMORY = range(1, 4)
_UNIT = struct.Struct("!B???qI")
_SIZE = struct.Struct("!BHHB")
_FACTS = struct.Struct("!BBBBIIB")
_FRAME = struct.Struct("!qHH")
_FITS = tuple(PictureFit)
_TROUBLES: tuple[Trouble | None, ...] = (None, *Trouble)


class Garbled(Exception):
    """Not an answer."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Put a picture of the last answer into the shared memory, in RGB and of that size."""

    frame: int
    """Its place in the answer."""
    width: int
    height: int
    fit: PictureFit


@dataclass(frozen=True, slots=True)
class Decode:
    """Decode that unit. `after_gap`: units before it were lost.

    `ahead`: fetch this as well, if there is a picture then. It saves the question that most likely comes next.
    """

    unit: AccessUnit
    after_gap: bool
    ahead: Fetch | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """Give what is held back."""


Request = Decode | Drain | Fetch


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """A decoded picture that the decoder's process holds; `pts` as in `DecodedFrame`."""

    pts: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came out, and how the decoder is now; the attributes are those of `decode.Decoder`."""

    needs_key_frame: bool
    holds: bool
    is_fetched: bool
    """The picture that was to be fetched ahead is in the shared memory."""
    trouble: Trouble | None
    picture_bytes: int
    kept_bytes: int
    frames: tuple[FrameFacts, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The picture is there."""


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """Its limit is reached; the process ends."""


Answer = Decoded | Fetched | OutOfMemory


def pack_request(request: Request) -> bytes:
    match request:
        case Decode(unit, after_gap, ahead):
            has_ahead = ahead is not None
            head = _UNIT.pack(unit.codec, unit.key_frame, after_gap, has_ahead, unit.capture_us, len(unit.data))
            return bytes([_DECODE]) + head + unit.data + (b"" if ahead is None else _pack_fetch(ahead))
        case Drain():
            return bytes([_DRAIN])
        case Fetch():
            return bytes([_FETCH]) + _pack_fetch(request)


def read_request(read: Read) -> Request:
    """The next one; the worker that sent it is trusted."""
    kind = read(1)[0]
    if kind == _DECODE:
        codec, key_frame, after_gap, has_ahead, capture_us, size = _UNIT.unpack(read(_UNIT.size))
        unit = AccessUnit(Codec(codec), read(size), key_frame, capture_us)
        return Decode(unit, after_gap, _read_fetch(read) if has_ahead else None)
    if kind == _DRAIN:
        return Drain()
    return _read_fetch(read)


def _pack_fetch(wanted: Fetch) -> bytes:
    return _SIZE.pack(wanted.frame, wanted.width, wanted.height, _FITS.index(wanted.fit))


def _read_fetch(read: Read) -> Fetch:
    frame, width, height, fit = _SIZE.unpack(read(_SIZE.size))
    return Fetch(frame, width, height, _FITS[fit])


def pack_answer(answer: Answer) -> bytes:
    match answer:
        case Decoded():
            facts = _FACTS.pack(
                answer.needs_key_frame,
                answer.holds,
                answer.is_fetched,
                _TROUBLES.index(answer.trouble),
                answer.picture_bytes,
                answer.kept_bytes,
                len(answer.frames),
            )
            frames = b"".join(_FRAME.pack(frame.pts, frame.width, frame.height) for frame in answer.frames)
            return bytes([_DECODED]) + facts + frames
        case Fetched():
            return bytes([_FETCHED])
        case OutOfMemory():
            return bytes([_OUT_OF_MEMORY])


def read_answer(read: Read) -> Answer:
    """The next one. Raises Garbled, and what `read` raises."""
    kind = read(1)[0]
    if kind == _DECODED:
        return _read_decoded(read)
    if kind == _FETCHED:
        return Fetched()
    if kind == _OUT_OF_MEMORY:
        return OutOfMemory()
    raise Garbled(f"an answer of kind {kind}")


def _read_decoded(read: Read) -> Decoded:
    facts = _FACTS.unpack(read(_FACTS.size))
    needs_key_frame, holds, is_fetched, trouble, picture_bytes, kept_bytes, count = facts
    if max(needs_key_frame, holds, is_fetched) > 1 or trouble >= len(_TROUBLES):
        raise Garbled("no such state of a decoder")

    frames = tuple(FrameFacts(*_FRAME.unpack(read(_FRAME.size))) for _ in range(count))
    if not all(frame.width and frame.height for frame in frames):
        raise Garbled("a picture without a size")
    return Decoded(
        bool(needs_key_frame),
        bool(holds),
        bool(is_fetched),
        _TROUBLES[trouble],
        picture_bytes,
        kept_bytes,
        frames,
    )
