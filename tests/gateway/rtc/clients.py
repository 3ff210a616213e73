"""Real WebRTC clients (aiortc) for the tests: a publisher of encoded units and a viewer that keeps what it gets."""

import asyncio
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import aioice
import av
from aioice.ice import ConnectionClosed
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.rtcdtlstransport import SRTP_AES128_CM_SHA1_80
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtp import RtpPacket

from genlock_core.media import AccessUnit, Codec

CLOCK = Fraction(1, 90_000)


class UnitTrack(MediaStreamTrack):
    """Sends encoded units as they are put into its queue."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[AccessUnit] = asyncio.Queue()

    async def recv(self) -> "av.Packet[Any]":
        unit = await self.queue.get()
        packet = av.Packet(unit.data)
        packet.pts = unit.capture_us * 9 // 100
        packet.time_base = CLOCK
        return packet


def preferences(codec: Codec, *, rtx: bool = True) -> list[Any]:
    kinds = [codec.mime_type.lower(), *(["video/rtx"] if rtx else [])]
    return [item for item in RTCRtpSender.getCapabilities("video").codecs if item.mimeType.lower() in kinds]


class Client:
    """A peer connection; with ICE servers it is reached by them only.

    `setup` and `without_gcm` make it another kind of client.
    """

    def __init__(self, ice_servers: Sequence[RTCIceServer] = ()) -> None:
        policy = RTCIceTransportPolicy.RELAY if ice_servers else RTCIceTransportPolicy.ALL
        configuration = RTCConfiguration(iceServers=list(ice_servers), iceTransportPolicy=policy)
        self.connection = RTCPeerConnection(configuration)
        self.channel: RTCDataChannel | None = None
        self.messages: list[str] = []
        self.connected = asyncio.Event()
        self._next_agent: aioice.Connection | None = None
        self._ended_agents: list[aioice.Connection] = []
        self.connection.on("connectionstatechange", self._changed)

    def open_channel(self, label: str = "control") -> None:
        self.channel = self.connection.createDataChannel(label)
        self.channel.on("message", self.messages.append)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def begin_restart(self) -> str:
        """An ICE restart as far as the fragment to PATCH; the old credentials go on until `finish_restart`.

        aiortc has no restart: a second agent of aioice takes the place of the first one under its DTLS transport.
        """
        self._next_agent = aioice.Connection(ice_controlling=True)
        await self._next_agent.gather_candidates()
        candidates = [f"a=candidate:{one.to_sdp()}" for one in self._next_agent.local_candidates]
        credentials = f"a=ice-ufrag:{self._next_agent.local_username}\r\na=ice-pwd:{self._next_agent.local_password}"
        return "\r\n".join([credentials, "m=video 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", *candidates, ""])

    async def finish_restart(self, answer: str) -> None:
        """Check the addresses of the answer with its credentials, then send and receive by the pair that was found."""
        agent = self._next_agent
        assert agent is not None
        ice = self.ice
        lines = answer.split("\r\n")
        agent.remote_username = next(line[12:] for line in lines if line.startswith("a=ice-ufrag:"))
        agent.remote_password = next(line[10:] for line in lines if line.startswith("a=ice-pwd:"))
        for line in lines:
            if line.startswith("a=candidate:"):
                await agent.add_remote_candidate(aioice.Candidate.from_sdp(line[12:]))
        await agent.add_remote_candidate(None)

        # What comes by either agent is read by the one who waits already.
        before = ice._connection
        agent._queue = before._queue
        await agent.connect()
        ice._connection = agent
        ice._send = agent.send
        ice._recv = agent.recv
        # Its sockets stay open: the other end may send by the old pair a moment longer.
        before._query_consent_task.cancel()
        self._ended_agents.append(before)

    async def send_raw(self, data: bytes) -> None:
        """A datagram over the pair that ICE has chosen, as it is."""
        await self.ice._send(data)

    @property
    def ice(self) -> Any:
        return self.connection.getTransceivers()[0].receiver.transport.transport

    def without_gcm(self) -> None:
        """To be called after `offer`: the client then knows AES128_CM_SHA1_80 only."""
        for transceiver in self.connection.getTransceivers():
            transceiver.receiver.transport._srtp_profiles = [SRTP_AES128_CM_SHA1_80]

    async def close(self) -> None:
        if self._next_agent is not None and self._next_agent is not self.ice._connection:
            await self._next_agent.close()
        for agent in self._ended_agents:
            agent._emit_event(ConnectionClosed())  # or its transport would wait for that
        await self.connection.close()
        for agent in self._ended_agents:
            await agent.close()

    def _changed(self) -> None:
        if self.connection.connectionState == "connected":
            self.connected.set()


class Publisher(Client):
    def __init__(self, codec: Codec, ice_servers: Sequence[RTCIceServer] = ()) -> None:
        super().__init__(ice_servers)
        self.track = UnitTrack()
        transceiver = self.connection.addTransceiver(self.track, direction="sendonly")
        transceiver.setCodecPreferences(preferences(codec))

    def send(self, units: list[AccessUnit]) -> None:
        for unit in units:
            self.track.queue.put_nowait(unit)


class Viewer(Client):
    """`pictures` are decoded; `packets` are all RTP packets that came; retransmissions have `rtx_ssrc`, if any."""

    def __init__(self, codec: Codec, ice_servers: Sequence[RTCIceServer] = (), *, rtx: bool = True) -> None:
        super().__init__(ice_servers)
        transceiver = self.connection.addTransceiver("video", direction="recvonly")
        transceiver.setCodecPreferences(preferences(codec, rtx=rtx))
        self.pictures: list[Any] = []
        self.packets: list[RtpPacket] = []
        self.rtx_ssrc: int | None = None
        self._receiver = transceiver.receiver
        self._reading: asyncio.Task[None] | None = None
        self.receiving = asyncio.Event()
        original = self._receiver._handle_rtp_packet

        async def tap(packet: RtpPacket, arrival_time_ms: int) -> None:
            self.packets.append(packet)
            await original(packet, arrival_time_ms=arrival_time_ms)

        receive = self._receiver.receive

        async def ready(parameters: RTCRtpReceiveParameters) -> None:
            await receive(parameters)
            self.receiving.set()

        self._receiver.receive = ready  # type: ignore[method-assign]
        self._receiver._handle_rtp_packet = tap  # type: ignore[method-assign]
        self.connection.on("track", self._track)

    async def take(self, answer: str) -> None:
        group = re.search(r"a=ssrc-group:FID \d+ (\d+)", answer)
        self.rtx_ssrc = int(group[1]) if group else None
        await super().take(answer)

    async def pli(self, ssrc: int) -> None:
        await self._receiver._send_rtcp_pli(ssrc)

    async def close(self) -> None:
        await super().close()
        if self._reading is not None:
            await self._reading

    def _track(self, track: MediaStreamTrack) -> None:
        async def read() -> None:
            try:
                while True:
                    frame = await track.recv()
                    assert isinstance(frame, av.VideoFrame)
                    self.pictures.append(frame.to_ndarray())
            except MediaStreamError:
                return

        self._reading = asyncio.ensure_future(read())


class Clients:
    """Makes clients and closes those that a test leaves open."""

    def __init__(self) -> None:
        self.ice_servers: Sequence[RTCIceServer] = ()
        """What clients that are made from now on are reached by; empty: directly."""
        self._made: list[Client] = []

    def publisher(self, codec: Codec) -> Publisher:
        client = Publisher(codec, self.ice_servers)
        self._made.append(client)
        return client

    def viewer(self, codec: Codec, *, rtx: bool = True) -> Viewer:
        client = Viewer(codec, self.ice_servers, rtx=rtx)
        self._made.append(client)
        return client

    async def close(self) -> None:
        for client in self._made:
            await client.close()


async def until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Wait until `condition` holds; TimeoutError if it never does."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)
