"""H264 in RTP payloads, as both directions need to know it: aggregation, fragments, and what begins a picture."""

from genlock_core.bitstreams.h264 import ACCESS_UNIT_DELIMITER, IDR_SLICE, SEI, SLICE, SPS, nal_type

STAP_A, FU_A = 24, 28
"""Types of payloads that hold several NAL units, or a part of one (RFC 6184 sections 5.7.1 and 5.8)."""


def starts_picture(payload: bytes) -> bool:
    """True if an RTP payload surely holds the first slice of its picture, or stands before it, whatever was lost.

    Parameter sets, SEI and delimiters stand only at the front of an access unit; a slice does if its
    `first_mb_in_slice` is 0, which as an Exp-Golomb code is a single 1 bit (ITU-T H.264 sections 7.4.1.2.3 and 7.3.3).
    A PPS is no proof: it may have lost its SPS, and then the picture has the wrong size.
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
    if kind in (SEI, SPS, ACCESS_UNIT_DELIMITER):
        return True
    return kind in (SLICE, IDR_SLICE) and bool(body[0] & 0x80)
