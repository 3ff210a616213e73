"""A WHIP publisher: sends access units that were encoded before, and answers PLI and FIR with a key frame."""

import asyncio
import secrets
from collections.abc import Callable
from typing import TypeAlias

import av
from aiortc import MediaStreamTrack, RTCRtpSender, RTCRtpTransceiver

from genlock_cli.clients.signalling import SignallingClient
from genlock_core.process.tasks import done_before

PUBLISHER_HEADER = "Genlock-Publisher"

Packet: TypeAlias = "av.Packet[av.VideoStream]"


class EncodedTrack(MediaStreamTrack):
    """A video track of `av.Packet` (Annex B H264 or VP8) that aiortc packetises without encoding again."""

    kind = "video"

    def __init__(self, *, queue_frames: int = 8) -> None:
        super().__init__()
        self._queue: asyncio.Queue[Packet] = asyncio.Queue(queue_frames)

    async def send(self, packet: Packet) -> None:
        """Wait for room, then queue a packet with `pts` and `time_base`."""
        await self._queue.put(packet)

    async def recv(self) -> Packet:
        return await self._queue.get()


class WhipPublisher(SignallingClient):
    """Publishes one EncodedTrack. `publisher_id` is who it is: the same one takes its session over from itself.

    `take_over`: it takes the session from another publisher that is still there, too.
    """

    def __init__(
        self, url: str, *, token: str | None = None, publisher_id: str | None = None, take_over: bool = False
    ) -> None:
        self.publisher_id = publisher_id or secrets.token_hex(16)
        super().__init__(
            f"{url}?takeover=true" if take_over else url, token=token, headers={PUBLISHER_HEADER: self.publisher_id}
        )
        self._track = EncodedTrack()

    async def publish(self, *, mime_type: str = "video/H264", on_key_frame_wanted: Callable[[], None]) -> None:
        """Connect and start to send. Raises GatewayProblem, TimeoutError."""
        transceiver = self.connection.addTransceiver(self._track, direction="sendonly")
        _prefer(transceiver, mime_type)
        # aiortc drops PLI and FIR for tracks of packets; this is where both arrive.
        transceiver.sender._send_keyframe = on_key_frame_wanted  # type: ignore[method-assign]  # noqa: SLF001 - see above
        await self.negotiate(transceiver)

    async def send(self, packet: Packet) -> None:
        """Send an access unit; returns without it if the connection is lost meanwhile."""
        await done_before(self.lost, self._track.send(packet))


def _prefer(transceiver: RTCRtpTransceiver, mime_type: str) -> None:
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType.lower() == mime_type.lower()])
