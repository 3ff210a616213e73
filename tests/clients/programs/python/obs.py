"""What OBS Studio sends over WHIP, replayed: its offer as libdatachannel writes it, and H264 with two B-frames.

`publish URL`. OBS itself cannot be run here: Debian builds it without WHIP. The offer is that of OBS 30.1: its
sections, their order and attributes; the keys and candidates are those of aiortc, whose ICE and DTLS carry the packets.
"""

import asyncio
import random
import re
import struct
import sys
from dataclasses import dataclass
from fractions import Fraction

import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription

from genlock_core.process.tasks import end_tasks
from tests.clients.card import HEIGHT, RATE, WIDTH, frames
from tests.clients.programs.python.telling import post_offer, say_goodbye, tell, told_to_leave

VIDEO_PAYLOAD_TYPE = 96
MAX_FRAGMENT_BYTES = 1_200
ENCODER = {"preset": "veryfast", "profile": "main", "x264-params": "bframes=2:b-adapt=0:keyint=60:scenecut=0"}
"""OBS' x264 without tuning: pictures are not sent in the order in which they are shown."""

OFFER = """\
v=0
o=rtc {session} 0 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=group:LS 0 1
a=msid-semantic:WMS *
a=setup:actpass
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=ice-options:ice2,trickle
a=fingerprint:sha-256 {fingerprint}
m=audio {port} UDP/TLS/RTP/SAVPF 111
c=IN IP4 {address}
a=mid:0
a=sendonly
a=ssrc:{audio_ssrc} cname:Xk4tzRM1oNvHhq7y
a=ssrc:{audio_ssrc} msid:d46fb922 d46fb922-audio
a=msid:d46fb922 d46fb922-audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1
{candidates}
a=end-of-candidates
m=video {port} UDP/TLS/RTP/SAVPF 96
c=IN IP4 {address}
a=mid:1
a=sendonly
a=ssrc:{video_ssrc} cname:Xk4tzRM1oNvHhq7y
a=ssrc:{video_ssrc} msid:d46fb922 d46fb922-video
a=msid:d46fb922 d46fb922-video
a=rtcp-mux
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 goog-remb
a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1
"""


class Silence(MediaStreamTrack):
    """A track that brings nothing: the packets are our own."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> av.VideoFrame:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class Coded:
    """An access unit in decoding order; `shown_at` in ticks of 90 kHz from the first."""

    nals: tuple[bytes, ...]
    shown_at: int


def coded_card() -> list[Coded]:
    """One period of the card, begun with a key frame."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base = Fraction(1, RATE)
    encoder.framerate = Fraction(RATE)
    encoder.bit_rate = 800_000
    encoder.thread_count = 1
    encoder.options = dict(ENCODER)
    packets = [packet for frame in [*frames(), None] for packet in encoder.encode(frame)]
    return [Coded(nals_of(bytes(packet)), (packet.pts or 0) * 90_000 // RATE) for packet in packets]


def nals_of(data: bytes) -> tuple[bytes, ...]:
    return tuple(nal for nal in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if nal)


def payloads_of(nals: tuple[bytes, ...]) -> list[bytes]:
    """Single NAL units, and FU-A for those that are too long (RFC 6184): libdatachannel aggregates nothing."""
    payloads = []
    for nal in nals:
        if len(nal) <= MAX_FRAGMENT_BYTES:
            payloads.append(nal)
            continue
        indicator, kind, body = nal[0] & 0xE0 | 28, nal[0] & 0x1F, nal[1:]
        parts = [body[at : at + MAX_FRAGMENT_BYTES - 2] for at in range(0, len(body), MAX_FRAGMENT_BYTES - 2)]
        for number, part in enumerate(parts):
            ends = (0x80 if number == 0 else 0) | (0x40 if number == len(parts) - 1 else 0)
            payloads.append(bytes([indicator, ends | kind]) + part)
    return payloads


def offer_of(sdp: str, video_ssrc: int) -> str:
    """OBS' offer with the keys and candidates of aiortc's."""

    def value(pattern: str) -> str:
        found = re.search(pattern, sdp)
        assert found is not None, pattern
        return found[1]

    candidates = re.findall(r"^a=candidate:.*? typ host.*?$", sdp.replace("\r", ""), re.MULTILINE)
    address, port = candidates[0].split()[4:6]
    offer = OFFER.format(
        session=random.getrandbits(32),
        ufrag=value(r"a=ice-ufrag:(\S+)"),
        pwd=value(r"a=ice-pwd:(\S+)"),
        fingerprint=value(r"a=fingerprint:sha-256 (\S+)"),
        port=port,
        address=address,
        audio_ssrc=random.getrandbits(31),
        video_ssrc=video_ssrc,
        candidates="\n".join(dict.fromkeys(candidates)),
    )
    return offer.replace("\n", "\r\n")


async def send(connection: RTCPeerConnection, ssrc: int) -> None:
    """The card over and over, each access unit when it is due, with the time at which it is shown."""
    transport = connection.getTransceivers()[1].sender.transport
    units = coded_card()
    period = len(units) * 90_000 // RATE
    clock = asyncio.get_running_loop()
    began_s, sequence, count = clock.time(), random.getrandbits(15), 0
    while True:
        turn, number = divmod(count, len(units))
        timestamp = (turn * period + units[number].shown_at) & 0xFFFFFFFF
        payloads = payloads_of(units[number].nals)
        for at, payload in enumerate(payloads):
            marker = 0x80 if at == len(payloads) - 1 else 0
            header = struct.pack("!BBHII", 0x80, VIDEO_PAYLOAD_TYPE | marker, sequence & 0xFFFF, timestamp, ssrc)
            await transport._send_rtp(header + payload)
            sequence += 1
        count += 1
        await asyncio.sleep(max(0.0, began_s + count / RATE - clock.time()))


async def main(url: str) -> None:
    tell("version", version="the offer of OBS 30.1")
    ssrc = random.getrandbits(31)
    connection = RTCPeerConnection()
    connection.addTransceiver(Silence("audio"), direction="sendonly")
    connection.addTransceiver(Silence("video"), direction="sendonly")
    connected = asyncio.Event()
    connection.on(
        "connectionstatechange", lambda: connected.set() if connection.connectionState == "connected" else None
    )

    await connection.setLocalDescription(await connection.createOffer())
    answer, resource = await post_offer(url, offer_of(connection.localDescription.sdp, ssrc))
    await connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    await connected.wait()

    sending = asyncio.create_task(send(connection, ssrc))
    await told_to_leave()
    await end_tasks([sending])
    await say_goodbye(resource)
    await connection.close()


if __name__ == "__main__":
    assert sys.argv[1] == "publish"
    asyncio.run(main(sys.argv[2]))
