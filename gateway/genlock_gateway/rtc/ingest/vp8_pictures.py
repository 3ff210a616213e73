"""VP8 frames out of RTP payloads (RFC 7741), and what their headers say (RFC 6386 section 9.1)."""

from collections.abc import Iterable

from genlock_core.bitstreams.picture_size import size_mistake, vp8_size
from genlock_core.media import Codec, Trouble
from genlock_gateway.rtc.ingest.picture import Picture
from genlock_gateway.rtc.transport.aiortc_private import vp8_depayload


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
    size = vp8_size(data)
    if size is None:
        return Trouble.UNDECODABLE
    if size_mistake(Codec.VP8, data):
        return Trouble.UNSUPPORTED_PROFILE
    return Picture(data, key_frame=True, pixels=size[0] * size[1])
