"""VP8 frames out of RTP payloads (RFC 7741), and what their headers say (RFC 6386 section 9.1)."""

from collections.abc import Iterable

from genlock_core.media import Trouble
from genlock_gateway.rtc.ingest.picture import Picture
from genlock_gateway.rtc.transport.aiortc_private import vp8_depayload

_START_CODE = b"\x9d\x01\x2a"
_KEY_FRAME_HEADER_BYTES = 10
_SIDE_BITS = 0x3FFF


def starts_vp8_frame(payload: bytes) -> bool:
    """S is set and the partition index is 0 (RFC 7741 section 4.2)."""
    return bool(payload) and payload[0] & 0x17 == 0x10


def vp8_picture(payloads: Iterable[bytes]) -> Picture | Trouble | None:
    """The frame; None if it is empty. Raises ValueError for a broken payload."""
    data = b"".join(map(vp8_depayload, payloads))
    if not data:
        return None
    if data[0] & 1:
        return Picture(data, key_frame=False, pixels=0)

    # A key frame without its start code is no VP8, or encrypted.
    if len(data) < _KEY_FRAME_HEADER_BYTES or data[3:6] != _START_CODE:
        return Trouble.UNDECODABLE
    width = int.from_bytes(data[6:8], "little") & _SIDE_BITS
    height = int.from_bytes(data[8:10], "little") & _SIDE_BITS
    return Picture(data, key_frame=True, pixels=width * height)
