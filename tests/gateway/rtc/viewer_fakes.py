"""A viewer's transport and port without a network, and the receiving end of their SRTP."""

from collections.abc import Sequence
from typing import Any, cast

import pylibsrtp
from aiortc.rtp import AnyRtcpPacket, RtcpPacket, RtpPacket

from genlock_core.clock import Clock
from genlock_gateway.rtc.egress.viewer_stream import StreamIdentity, ViewerStream
from genlock_gateway.rtc.transport.demultiplexer import Route
from genlock_gateway.rtc.transport.srtp import SrtpKeys
from genlock_gateway.rtc.transport.udp_port import UdpPort

KEY = bytes(range(28))
GCM = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
SSRC, RTX_SSRC = 1000, 1001


class FakeTransport:
    """Keeps the RTCP that is sent."""

    def __init__(self) -> None:
        self.route: Route | None = Route(0, ("192.0.2.1", 1))
        self.srtp_keys = SrtpKeys(GCM, is_gcm=True, key=KEY[:16], salt=KEY[16:])
        self.rtcp: list[AnyRtcpPacket] = []

    def send_rtcp(self, packet: bytes) -> None:
        self.rtcp += RtcpPacket.parse(packet)


class FakePort:
    """Keeps the datagrams, and how many were sent in each call."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.runs: list[int] = []

    def send(self, data: bytes, route: Route) -> None:
        self.datagrams.append(data)

    def send_run(self, packets: Sequence[bytes], route: Route) -> None:
        self.datagrams += packets
        self.runs.append(len(packets))

    def received(self) -> list[RtpPacket]:
        """What a receiver decrypts, in order of sending."""
        policy = pylibsrtp.Policy(key=KEY, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND, srtp_profile=GCM)
        policy.window_size = 4096
        session = pylibsrtp.Session(policy)
        return [RtpPacket.parse(session.unprotect(data)) for data in dict.fromkeys(self.datagrams)]


def viewer(
    clock: Clock, *, rtx: bool = True, first_sequence: int = 100
) -> tuple[ViewerStream, FakeTransport, FakePort]:
    identity = StreamIdentity(
        payload_type=102,
        ssrc=SSRC,
        rtx_payload_type=103 if rtx else None,
        rtx_ssrc=RTX_SSRC if rtx else None,
        cname="name",
        first_sequence=first_sequence,
    )
    transport, port = FakeTransport(), FakePort()
    stream = ViewerStream(identity, transport=transport, port=cast(UdpPort, cast(Any, port)), clock=clock)
    return stream, transport, port
