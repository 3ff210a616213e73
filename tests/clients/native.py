"""The clients that are programs without a browser."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.clients.heard import Heard
from tests.clients.laboratory import Client, Laboratory
from tests.clients.needs import Need
from tests.clients.program import PROGRAMS, running
from tests.clients.proof import Way
from tests.clients.runs import Start, publishing, watching

_PYTHON = "tests.clients.programs.python"


def _python(module: str) -> Start:
    """A program of ours in this project's Python."""

    def start(lab: Laboratory, client: Client, url: str) -> AbstractAsyncContextManager[Heard]:
        folder = (lab.room(client),) if client.way is Way.WATCH else ()
        return running((sys.executable, "-m", f"{_PYTHON}.{module}", client.way, url, *folder))

    return start


@asynccontextmanager
async def _ffmpeg(lab: Laboratory, client: Client, url: str) -> AsyncIterator[Heard]:
    certificate, key = lab.room(client) / "certificate.pem", lab.room(client) / "key.pem"
    _write_certificate(certificate, key)
    async with running((sys.executable, "-m", f"{_PYTHON}.ffmpeg_whip", client.way, url, certificate, key)) as heard:
        yield heard


def _write_certificate(certificate: Path, key: Path) -> None:
    """A self-signed certificate on the curve P-256, as `openssl req -x509 -newkey ec` makes one."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "publisher")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _pion(lab: Laboratory, client: Client, url: str) -> AbstractAsyncContextManager[Heard]:
    media = lab.folder / "card.h264" if client.way is Way.PUBLISH else lab.room(client)
    return running((lab.tools[Need.PION], client.way, url, media))


def _werift(lab: Laboratory, client: Client, url: str) -> AbstractAsyncContextManager[Heard]:
    script = PROGRAMS / "node" / "werift.js"
    if client.way is Way.WATCH:
        return running((lab.tools[Need.NODE], script, client.way, url, lab.room(client)))
    return _fed_by_rtp(lab, (lab.tools[Need.NODE], script, client.way, url))


def _gstreamer(lab: Laboratory, client: Client, url: str) -> AbstractAsyncContextManager[Heard]:
    folder = (lab.room(client),) if client.way is Way.WATCH else ()
    return running((lab.tools[Need.GSTREAMER], PROGRAMS / "gst" / "webrtcbin.py", client.way, url, *folder))


@asynccontextmanager
async def _fed_by_rtp(lab: Laboratory, command: tuple[str | Path, ...]) -> AsyncIterator[Heard]:
    """A publisher that takes RTP on a UDP port of this machine, which it is told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sender = (sys.executable, "-m", f"{_PYTHON}.rtp_sender", str(lab.folder / "card.h264"), str(port))
    async with running((*command, str(port))) as heard, running(sender):
        yield heard


CLIENTS = (
    Client(
        "aiortc",
        "aiortc",
        Way.PUBLISH,
        '`RTCPeerConnection()`, `addTransceiver(track, direction="sendonly")`; nothing else',
        publishing(_python("plain_aiortc")),
    ),
    Client(
        "aiortc",
        "aiortc",
        Way.WATCH,
        '`RTCPeerConnection()`, `addTransceiver("video", direction="recvonly")`; nothing else',
        watching(_python("plain_aiortc")),
    ),
    Client(
        "ffmpeg",
        "FFmpeg, `-f whip`",
        Way.PUBLISH,
        "`-f whip -cert_file cert.pem -key_file key.pem`, a certificate on P-256; "
        "`-c:v libx264 -profile:v baseline -tune zerolatency`",
        publishing(_ffmpeg, codec="H264"),
    ),
    Client(
        "pion",
        "pion (Go)",
        Way.PUBLISH,
        "`webrtc.NewPeerConnection(webrtc.Configuration{})`, H264 samples of a file; it sends no key frame on demand",
        publishing(_pion),
        (Need.PION,),
    ),
    Client(
        "pion",
        "pion (Go)",
        Way.WATCH,
        "`webrtc.NewPeerConnection(webrtc.Configuration{})`, a transceiver `recvonly`",
        watching(_pion),
        (Need.PION,),
    ),
    Client(
        "werift",
        "werift (Node.js)",
        Way.PUBLISH,
        "`new RTCPeerConnection({codecs: {video: [H264]}})`, RTP of FFmpeg's `-f rtp`",
        publishing(_werift),
        (Need.NODE,),
    ),
    Client(
        "werift",
        "werift (Node.js)",
        Way.WATCH,
        "`new RTCPeerConnection({codecs: {video: [H264]}})`, a transceiver `recvonly`",
        watching(_werift),
        (Need.NODE,),
    ),
    Client(
        "gstreamer",
        "GStreamer, webrtcbin",
        Way.PUBLISH,
        "`x264enc tune=zerolatency ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 ! "
        "webrtcbin bundle-policy=max-bundle`",
        publishing(_gstreamer),
        (Need.GSTREAMER,),
    ),
    Client(
        "gstreamer",
        "GStreamer, webrtcbin",
        Way.WATCH,
        "`webrtcbin bundle-policy=max-bundle ! rtph264depay ! h264parse ! openh264dec`, H264 with "
        "`packetization-mode=1` asked for",
        watching(_gstreamer),
        (Need.GSTREAMER,),
    ),
    Client(
        "reactor",
        "reactor-webrtc (libwebrtc under Python)",
        Way.PUBLISH,
        "`PeerConnectionFactory()`, a transceiver `SendOnly`; its wheel has VP8 and no H264",
        publishing(_python("reactor")),
        (Need.REACTOR,),
    ),
    Client(
        "reactor",
        "reactor-webrtc (libwebrtc under Python)",
        Way.WATCH,
        "`PeerConnectionFactory()`, a transceiver `RecvOnly`; its wheel has VP8 and no H264",
        watching(_python("reactor")),
        (Need.REACTOR,),
    ),
    Client(
        "obs",
        "OBS' offer, replayed",
        Way.PUBLISH,
        "*Service: WHIP*, the URL as server; x264 *veryfast*, profile main, two B-frames, no tuning. "
        "OBS itself was not run",
        publishing(_python("obs")),
    ),
)
