"""Whole frames out of RTP payloads: H264 (RFC 6184) as Annex B, VP8 (RFC 7741) as it is."""

from genlock_gateway.rtc.h264 import IDR_SLICE, ParameterSets, join_annex_b, nal_type, split_annex_b
from genlock_gateway.rtc.transport.aiortc_private import h264_depayload, vp8_depayload


def read_h264(payloads: tuple[bytes, ...], parameter_sets: ParameterSets) -> tuple[bytes, bool] | None:
    """Annex B and whether it is an IDR; None for one that nobody can decode. ValueError for broken payloads."""
    nals = parameter_sets.complete(split_annex_b(b"".join(map(h264_depayload, payloads))))
    if not nals:
        return None
    return join_annex_b(nals), any(nal_type(nal) == IDR_SLICE for nal in nals)


def read_vp8(payloads: tuple[bytes, ...], _parameter_sets: ParameterSets) -> tuple[bytes, bool] | None:
    """The frame and whether it is a key frame (RFC 6386 section 9.1: the first bit is 0)."""
    data = b"".join(map(vp8_depayload, payloads))
    return (data, not data[0] & 1) if data else None


def starts_vp8_frame(payload: bytes) -> bool:
    """S is set and the partition index is 0 (RFC 7741 section 4.2)."""
    return bool(payload) and payload[0] & 0x1F == 0x10
