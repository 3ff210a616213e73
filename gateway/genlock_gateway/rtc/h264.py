"""H264 as the gateway needs to know it: where NAL units begin, which are key frames, which parameter sets they need."""

import base64
import binascii
from collections.abc import Iterable

START_CODE = b"\x00\x00\x00\x01"
SLICE, IDR_SLICE, SEI, SPS, PPS, ACCESS_UNIT_DELIMITER = 1, 5, 6, 7, 8, 9
STAP_A, FU_A = 24, 28
MAX_PARAMETER_SET_BYTES = 1024


def nal_type(nal: bytes) -> int:
    """`nal_unit_type` (ITU-T H.264 section 7.4.1)."""
    return nal[0] & 0x1F


def split_annex_b(data: bytes) -> list[bytes]:
    """NAL units of a byte stream, without start codes and trailing zeros (ITU-T H.264 annex B)."""
    starts: list[int] = []
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        starts.append(at + 3)
        at = data.find(b"\x00\x00\x01", at + 3)
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    nals = (data[start:end].rstrip(b"\x00") for start, end in zip(starts, ends, strict=False))
    return [nal for nal in nals if nal]


def join_annex_b(nals: Iterable[bytes]) -> bytes:
    """A byte stream in which every NAL unit follows a start code of four bytes."""
    return b"".join(START_CODE + nal for nal in nals)


def starts_picture(payload: bytes) -> bool:
    """True if an RTP payload surely is the first of its picture but for parameter sets, whatever was lost before it.

    Parameter sets and delimiters stand only at the front of an access unit; a slice does if its `first_mb_in_slice` is
    0, which as an Exp-Golomb code is a single 1 bit (ITU-T H.264 sections 7.4.1.2.3 and 7.3.3).
    """
    if len(payload) < 2:
        return False
    kind, body = nal_type(payload), payload[1:]
    if kind == STAP_A:
        if len(payload) < 5:
            return False
        kind, body = payload[3] & 0x1F, payload[4:]
    elif kind == FU_A:
        if not payload[1] & 0x80 or len(payload) < 3:
            return False
        kind, body = payload[1] & 0x1F, payload[2:]
    if kind in (SPS, ACCESS_UNIT_DELIMITER):
        return True
    return kind in (SLICE, IDR_SLICE) and bool(body[0] & 0x80)


class ParameterSets:
    """The last SPS and PPS seen, so that every IDR can be handed on with its own in front of it.

    Publishers may send them once, or only in the offer (`sprop-parameter-sets`, RFC 6184 section 8.1).
    """

    def __init__(self, sprop: str = "") -> None:
        self._sps = b""
        self._pps = b""
        for word in sprop.split(",")[:8]:
            try:
                self._keep(base64.b64decode(word, validate=True))
            except (binascii.Error, ValueError):
                continue

    def complete(self, nals: list[bytes]) -> list[bytes] | None:
        """The access unit of `nals`, with SPS and PPS in front if it has an IDR slice.

        None for an IDR whose parameter sets are not known: nobody could decode it.
        """
        for nal in nals:
            self._keep(nal)
        kinds = {nal_type(nal) for nal in nals}
        if IDR_SLICE not in kinds or {SPS, PPS} <= kinds:
            return nals
        if not self._sps or not self._pps:
            return None
        front = [nal for nal in nals if nal_type(nal) == ACCESS_UNIT_DELIMITER]
        rest = [nal for nal in nals if nal_type(nal) not in (ACCESS_UNIT_DELIMITER, SPS, PPS)]
        return [*front, self._sps, self._pps, *rest]

    def _keep(self, nal: bytes) -> None:
        if 1 < len(nal) <= MAX_PARAMETER_SET_BYTES:
            if nal_type(nal) == SPS:
                self._sps = nal
            elif nal_type(nal) == PPS:
                self._pps = nal
