"""The text of the answer (RFC 8829 section 5.3.1): one bundled transport, one video stream, all candidates in it."""

from dataclasses import dataclass
from typing import Literal

from genlock_core.media import VIDEO_CLOCK_HZ, Codec
from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.sdp.offer import Offer, Section
from genlock_gateway.rtc.sdp.video_format import VideoFormat

ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
START_BITRATE_KBPS = 1500
"""Where a Chromium publisher begins instead of at 300 kbit/s (its own fmtp parameter; others ignore it)."""
DATA_CHANNEL_PORT = 5000
MAX_MESSAGE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """What the gateway's end of the transport says of itself."""

    ice: IceCredentials
    fingerprint: str
    setup: Literal["active", "passive"]
    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class SentStream:
    """The stream that a viewer will get; absent in the answer to a publisher."""

    cname: str
    ssrc: int
    rtx_ssrc: int | None


def setup_for(offer: Offer) -> Literal["active", "passive"]:
    """Passive whenever the client lets us choose.

    Measured: a passive answer makes Chromium take AES-256-GCM and saves a ClientHello that is lost before the client
    has the answer (RFC 5763 section 5 prefers active; RFC 8842 allows both).
    """
    return "active" if offer.setup == "passive" else "passive"


def write_answer(
    offer: Offer, *, session_id: int, transport: LocalTransport, video: VideoFormat, sent: SentStream | None
) -> str:
    """The answer as SDP with CRLF line ends. Audio is answered inactive, what is not served with port 0."""
    bundle = [section.mid for section in offer.sections if section.mid and not section.rejected]
    lines = [
        "v=0",
        f"o=- {session_id} 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        *([f"a=group:BUNDLE {' '.join(bundle)}"] if bundle else []),
        "a=msid-semantic: WMS *",
    ]
    for index, section in enumerate(offer.sections):
        if section.rejected:
            lines += [f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}", *_mid(section)]
        elif index == offer.video_index:
            lines += _video(offer, section, transport, video, sent)
        elif index == offer.data_index:
            lines += _data(section, transport)
        else:
            lines += _inactive(section, transport)
    return "\r\n".join(lines) + "\r\n"


def write_fragment(offer: Offer, transport: LocalTransport) -> str:
    """What the client has to know after an ICE restart, as a trickle fragment (RFC 9725 section 4.3.3)."""
    section = offer.tag
    lines = [
        "a=ice-options:trickle",
        f"m={section.kind} 9 {section.protocol} {section.formats[0]}",
        *_mid(section),
        *_ice(transport),
    ]
    return "\r\n".join(lines) + "\r\n"


def _mid(section: Section) -> list[str]:
    return [f"a=mid:{section.mid}"] if section.mid else []


def _connection(transport: LocalTransport) -> str:
    address = transport.addresses[0]
    return f"c=IN IP{6 if ':' in address else 4} {address}"


def _ice(transport: LocalTransport) -> list[str]:
    candidates = [
        f"a=candidate:{number} 1 udp {_host_priority(number)} {address} {transport.port} typ host"
        for number, address in enumerate(transport.addresses, start=1)
    ]
    return [
        *candidates,
        "a=end-of-candidates",
        f"a=ice-ufrag:{transport.ice.ufrag}",
        f"a=ice-pwd:{transport.ice.password}",
    ]


def _transport(transport: LocalTransport) -> list[str]:
    return [
        *_ice(transport),
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {transport.fingerprint}",
        f"a=setup:{transport.setup}",
    ]


def _host_priority(number: int) -> int:
    """RFC 8445 section 5.1.2.1: type preference 126, earlier addresses first, component 1."""
    return (126 << 24) | ((65536 - number) << 8) | 255


def _video(
    offer: Offer, section: Section, transport: LocalTransport, video: VideoFormat, sent: SentStream | None
) -> list[str]:
    rtx = video.rtx_payload_type
    payload_types = f"{video.payload_type}" + (f" {rtx}" if rtx is not None else "")
    name = "H264" if video.codec is Codec.H264 else "VP8"
    fmtp = video.fmtp
    if sent is None:
        fmtp = ";".join(part for part in (fmtp, f"x-google-start-bitrate={START_BITRATE_KBPS}") if part)
    lines = [
        f"m=video {transport.port} {section.protocol} {payload_types}",
        _connection(transport),
        *_mid(section),
        f"a={'recvonly' if sent is None else 'sendonly'}",
        "a=rtcp-mux",
        "a=rtcp-mux-only",
        *_transport(transport),
        f"a=rtpmap:{video.payload_type} {name}/{VIDEO_CLOCK_HZ}",
        *([f"a=fmtp:{video.payload_type} {fmtp}"] if fmtp else []),
        *(f"a=rtcp-fb:{video.payload_type} {item}" for item in video.feedback),
    ]
    if rtx is not None:
        lines += [f"a=rtpmap:{rtx} rtx/{VIDEO_CLOCK_HZ}", f"a=fmtp:{rtx} apt={video.payload_type}"]
    if sent is None:
        return lines + [f"a=extmap:{number} {uri}" for number, uri in offer.extensions if uri == ABS_SEND_TIME]
    lines.append("a=msid:genlock video")
    ssrcs = [sent.ssrc] if sent.rtx_ssrc is None else [sent.ssrc, sent.rtx_ssrc]
    if sent.rtx_ssrc is not None:
        lines.append(f"a=ssrc-group:FID {sent.ssrc} {sent.rtx_ssrc}")
    for ssrc in ssrcs:
        lines += [f"a=ssrc:{ssrc} cname:{sent.cname}", f"a=ssrc:{ssrc} msid:genlock video"]
    return lines


def _inactive(section: Section, transport: LocalTransport) -> list[str]:
    first = section.formats[0]
    return [
        f"m={section.kind} {transport.port} {section.protocol} {first}",
        _connection(transport),
        *_mid(section),
        "a=inactive",
        "a=rtcp-mux",
        *_transport(transport),
        *(f"a=rtpmap:{value}" for value in section.rtpmaps if value.split(" ")[0] == first),
    ]


def _data(section: Section, transport: LocalTransport) -> list[str]:
    return [
        f"m=application {transport.port} {section.protocol} webrtc-datachannel",
        _connection(transport),
        *_mid(section),
        *_transport(transport),
        f"a=sctp-port:{DATA_CHANNEL_PORT}",
        f"a=max-message-size:{MAX_MESSAGE_BYTES}",
    ]
