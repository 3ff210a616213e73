"""How large pictures may be, judged by their headers: nothing of a picture that is too large is ever decoded.

A decoder takes memory for a whole picture, and for each that it keeps, before it has read the first macroblock. A
header of twenty bytes asks for it. So the sequence parameter set (ITU-T H.264 section 7.3.2.1.1) and the frame header
of VP8 (RFC 6386 section 9.1) are read first. A gateway refuses by this rule what its publisher sends, and tells it why.
A worker asks the same rule before each unit, because not every gateway is of its release.
"""

from genlock_core.bitstreams.h264 import SPS
from genlock_core.bitstreams.h264_headers import MAX_HEADER_BYTES, SequenceHeader, read_sequence_set
from genlock_core.media import Codec

MAX_SIDE = 4_096
"""In pixels, before cropping: larger ones would cost more memory and time than any camera is worth."""
MAX_PICTURES_BYTES = 192 * 1024 * 1024
"""Of a picture and all that it may refer to: 3840x2160 in 4:4:4 or 10 bits with as many references as level 5.2 has."""
VP8_HEADER_BYTES = 10
"""Of a key frame, up to its size."""

_VP8_START_CODE = b"\x9d\x01\x2a"
_VP8_SIDE_BITS = 0x3FFF
"""The two bits above say how much to enlarge the shown picture, which nobody does."""
_START = b"\x00\x00\x01"


def vp8_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height that a key frame states; None for a frame of another kind, or a broken one."""
    is_key_frame = len(frame) >= VP8_HEADER_BYTES and not frame[0] & 1 and frame[3:6] == _VP8_START_CODE
    if not is_key_frame:
        return None
    width = int.from_bytes(frame[6:8], "little") & _VP8_SIDE_BITS
    height = int.from_bytes(frame[8:10], "little") & _VP8_SIDE_BITS
    return width, height


def sequence_mistake(sequence: SequenceHeader) -> str:
    """Why no decoder may get the pictures of this sequence; "" if one may."""
    if mistake := _side_mistake(sequence.width, sequence.height):
        return mistake
    pictures = sequence.reference_frames + 1
    if pictures * sequence.picture_bytes > MAX_PICTURES_BYTES:
        return f"{pictures} pictures of {sequence.picture_bytes} bytes at a time"
    return ""


def size_mistake(codec: Codec, data: bytes) -> str:
    """Why no decoder may get this access unit (as in `AccessUnit.data`); "" if one may, or its header is broken."""
    if codec is Codec.VP8:
        size = vp8_size(data)
        return "" if size is None else _side_mistake(*size)

    at = data.find(_START)
    while at >= 0:
        at += len(_START)
        if data[at : at + 1] and data[at] & 0x1F == SPS:
            sequence = read_sequence_set(_nal(data, at))
            if sequence is not None and (mistake := sequence_mistake(sequence)):
                return mistake
        at = data.find(_START, at)
    return ""


def _nal(data: bytes, at: int) -> bytes:
    """The NAL unit at `at`, as far as a header of it is read."""
    end = data.find(_START, at, at + MAX_HEADER_BYTES)
    return data[at : end if end >= 0 else at + MAX_HEADER_BYTES]


def _side_mistake(width: int, height: int) -> str:
    return f"pictures of {width}x{height}" if max(width, height) > MAX_SIDE else ""
