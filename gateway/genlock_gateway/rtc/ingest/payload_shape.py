"""What one RTP payload says of the picture that it is part of, without looking at others.

`jitter` cuts packets into pictures by it: the marker bit alone does not tell (see there).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from genlock_core.bitstreams.h264 import ACCESS_UNIT_DELIMITER, IDR_SLICE, SLICE, SLICES
from genlock_gateway.rtc.h264 import FU_A, STAP_A, starts_picture
from genlock_gateway.rtc.ingest.vp8_pictures import starts_vp8_frame

MAX_AGGREGATED = 64
"""NAL units of one payload that are looked at: parameter sets and SEI in front of a slice are a few."""


@dataclass(frozen=True, slots=True)
class PayloadShape:
    """`begins`: surely the first of its picture, whatever was lost before it. `begins_next`: not part of a picture of
    which slices came already. `has_slice`: part of a picture, and not only of what stands in front of one.
    `ends_slice`: a slice is whole with it, so that the picture may be."""

    begins: bool
    begins_next: bool
    has_slice: bool
    ends_slice: bool


def h264_shape(payload: bytes) -> PayloadShape:
    """ITU-T H.264 section 7.4.1.2.4, of which `first_mb_in_slice` is 0 is enough: no client sends slices at will.

    Parameter sets and SEI begin nothing here, though section 7.4.1.2.3 has them in front of a picture only: GStreamer's
    payloader (config-interval=-1) repeats them before each slice of an IDR picture. Their timestamp says whose they
    are.
    """
    if len(payload) < 2:
        return PayloadShape(begins=False, begins_next=False, has_slice=False, ends_slice=False)
    kind = payload[0] & 0x1F
    if kind == FU_A:
        original, is_first = payload[1] & 0x1F, bool(payload[1] & 0x80)
        has_slice = original in SLICES
        ends_slice = has_slice and bool(payload[1] & 0x40)
        begins_next = is_first and _begins_next(original, payload[2:3])
    elif kind == STAP_A:
        units = list(itertools.islice(_aggregated(payload), MAX_AGGREGATED))
        has_slice = ends_slice = any(unit[0] & 0x1F in SLICES for unit in units)
        begins_next = any(_begins_next(unit[0] & 0x1F, unit[1:2]) for unit in units)
    else:
        has_slice = ends_slice = kind in SLICES
        begins_next = _begins_next(kind, payload[1:2])
    return PayloadShape(starts_picture(payload), begins_next, has_slice, ends_slice)


def vp8_shape(payload: bytes) -> PayloadShape:
    """RFC 7741: where a frame begins is told, where it ends is not."""
    begins = starts_vp8_frame(payload)
    return PayloadShape(begins, begins, has_slice=True, ends_slice=False)


def _begins_next(kind: int, body: bytes) -> bool:
    is_first_slice = kind in (SLICE, IDR_SLICE) and bool(body) and bool(body[0] & 0x80)
    return kind == ACCESS_UNIT_DELIMITER or is_first_slice


def _aggregated(payload: bytes) -> Iterator[bytes]:
    """The NAL units of a STAP-A (RFC 6184 section 5.7.1), as far as they are there."""
    at = 1
    while at + 3 <= len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        if size:
            yield payload[at + 2 : at + 2 + size]
        at += 2 + size
