"""A WHEP viewer that takes the encoded frames as they come, without decoding them."""

import asyncio
import queue
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiortc import RTCRtpReceiver

from genlock_cli.clients.signalling import SignallingClient
from genlock_core.media import VIDEO_CLOCK_HZ, Codec

_QUEUE_FRAMES = 256
_NAL_IDR = 5


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """One access unit as it arrived; `media_s` is its RTP timestamp, unwrapped, in seconds from the first frame."""

    codec: Codec
    data: bytes
    key_frame: bool
    media_s: float
    received_s: float
    """On the event loop's clock."""


class WhepViewer(SignallingClient):
    """Receives one session. `frames` holds what arrived; the newest is dropped when nobody takes them."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        super().__init__(url, token=token)
        self.frames: asyncio.Queue[ReceivedFrame] = asyncio.Queue(_QUEUE_FRAMES)
        self.received = 0
        """Frames that arrived, taken or not."""
        self._unwrapped: int | None = None
        self._first = 0
        self._loop = asyncio.get_running_loop()

    async def watch(self, codecs: Sequence[Codec] = (Codec.H264, Codec.VP8)) -> None:
        """Connect. Raises GatewayProblem, TimeoutError."""
        transceiver = self.connection.addTransceiver("video", direction="recvonly")
        wanted = [codec.mime_type.lower() for codec in codecs]
        capabilities = RTCRtpReceiver.getCapabilities("video")
        known = capabilities.codecs if capabilities is not None else []
        transceiver.setCodecPreferences(
            sorted((c for c in known if c.mimeType.lower() in wanted), key=lambda c: wanted.index(c.mimeType.lower()))
        )
        # aiortc hands whole encoded frames to a decoder thread through this queue; the tap takes them instead.
        setattr(transceiver.receiver, "_RTCRtpReceiver__decoder_queue", _Tap(self._take))  # noqa: B010 - see above
        await self.negotiate(transceiver)

    def _take(self, codec_name: str, frame: Any) -> None:
        codec = Codec.VP8 if codec_name.upper() == "VP8" else Codec.H264
        data = bytes(frame.data)
        received = ReceivedFrame(
            codec, data, is_key_frame(codec, data), self._media_s(frame.timestamp), self._loop.time()
        )
        self.received += 1
        if not self.frames.full():
            self.frames.put_nowait(received)

    def _media_s(self, timestamp: int) -> float:
        if self._unwrapped is None:
            self._unwrapped = timestamp
            self._first = timestamp
        # The nearest value that has these 32 bits (RFC 3550 section 5.1: timestamps wrap).
        self._unwrapped += (timestamp - self._unwrapped + 2**31) % 2**32 - 2**31
        return (self._unwrapped - self._first) / VIDEO_CLOCK_HZ


def is_key_frame(codec: Codec, data: bytes) -> bool:
    """RFC 7741 section 4.3 (the P bit of a VP8 frame); an IDR slice among the NAL units of an Annex B stream."""
    if codec is Codec.VP8:
        return bool(data) and data[0] & 1 == 0
    at = data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 3:
        if data[at + 3] & 0x1F == _NAL_IDR:
            return True
        at = data.find(b"\x00\x00\x01", at + 3)
    return False


class _Tap(queue.Queue[Any]):
    """Stands where aiortc's decoder queue stood: frames go to `take`, the decoder thread only sees the end."""

    def __init__(self, take: Any) -> None:
        super().__init__()
        self._take_frame = take

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002 - queue's signature
        if item is None:
            super().put(None)
            return
        codec, frame = item
        self._take_frame(codec.name, frame)
