"""Everything that reads what a stranger, a publisher or a store wrote, with good inputs and the errors it may raise.

A target takes bytes. What it raises beside `may_raise` is a fault: somebody would see a traceback, a 500, or a task
that ends in silence.
"""

import contextlib
import io
import json
import struct
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import jwt
import numpy as np
from aioice import stun
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensionsMap, RtcpPacket, RtpPacket
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from genlock_core.bitstreams.h264_headers import (
    read_picture_set,
    read_recovery_point,
    read_sequence_set,
    read_slice,
)
from genlock_core.bitstreams.picture_size import size_mistake
from genlock_core.claims import record
from genlock_core.clock import ManualClock
from genlock_core.errors import AccessDenied, InvalidManifest, LinkProtocolError, SnapshotRefused
from genlock_core.link.frames import FrameParser
from genlock_core.link.protocol import LinkProtocol
from genlock_core.media import AccessUnit, Codec, SourcePosition, Trouble
from genlock_core.spec.manifest import load_manifest
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_core.stream_state.container import PartKind, seal, unseal
from genlock_core.stream_state.control import ControlChange, ControlRequest
from genlock_core.stream_state.snapshot import Snapshot, decode, encode_delta
from genlock_core.tokens import Keyring, Role
from genlock_gateway.access.access import PlatformKey
from genlock_gateway.rtc.egress.packetise import PacketRing
from genlock_gateway.rtc.ingest.h264_pictures import H264Pictures
from genlock_gateway.rtc.ingest.payload_shape import h264_shape, vp8_shape
from genlock_gateway.rtc.ingest.vp8_pictures import vp8_picture
from genlock_gateway.rtc.sdp.offer import parse_offer
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.rtc.sdp.trickle import parse_fragment
from genlock_gateway.rtc.transport.aiortc_private import DtlsTransport
from genlock_gateway.rtc.transport.demultiplexer import Demultiplexer, Route
from genlock_operator.keda.answers import NoAnswer, pool_of
from genlock_operator.keda.wire import Messages, NoMessage, ScaledObject
from genlock_worker.intake.out_of_process import wire
from genlock_worker.snapshots.writer import to_checkpoint
from tests.bitstreams import bits, clips
from tests.core.link.peers import GATEWAY, SECRET, WORKER, connected, opened
from tests.gateway.rtc.offers import offer
from tests.gateway.rtc.viewer_fakes import viewer
from tests.operator.keda.requests import metric_wanted, reference
from tests.releases.recorded import recorded_snapshots


@dataclass(frozen=True, slots=True)
class Target:
    """A reader. `share` of the inputs that were asked for are tried: some readers are slow."""

    read: Callable[[bytes], object]
    good: Callable[[], Sequence[bytes]]
    """Inputs to start from."""
    may_raise: tuple[type[Exception], ...] = ()
    share: float = 1.0


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# -- what comes over HTTP and data channels ----------------------------------------------------------------------------


def _offer(data: bytes) -> None:
    for role in ("publisher", "viewer"):
        parse_offer(_text(data), role=role)


def _offers() -> list[bytes]:
    return [offer(direction).encode() for direction in ("sendonly", "recvonly", "sendrecv")]


def _fragments() -> list[bytes]:
    return [
        b"a=ice-ufrag:abcd\r\na=ice-pwd:xyzxyzxyzxyzxyzxyzxyzxyz\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n"
        b"a=candidate:1 1 udp 2130706431 192.168.1.1 5000 typ host generation 0\r\na=end-of-candidates\r\n",
        b"a=candidate:2 1 udp 1 2001:db8::1 9 typ srflx raddr 10.0.0.1 rport 1\r\n",
    ]


def _control(data: bytes) -> None:
    message = json.loads(_text(data))
    if isinstance(message, dict):
        request = ControlRequest.model_validate({key: value for key, value in message.items() if key != "type"})
        stored = {name: text.encode().decode() for name, text in request.change.to_fields().items()}
        assert ControlChange.from_fields(stored) == request.change
    ControlRequest.model_validate_json(data)


def _controls() -> list[bytes]:
    return [
        b'{"type":"control","number":5,"prompt":"a b","steps":2,"noiseScale":0.5,"paused":true,"client":"abc"}',
        b'{"steps":2,"reset":true,"client":"a-b_c.d","number":1}',
        b'{"prompt":"\\ud83d\\ude00 \\u58a8","noiseScale":1}',
    ]


def _manifest(data: bytes) -> None:
    for manifest in load_manifest(_text(data), origin="request"):
        made = record.SessionRecord(session=resolve(manifest.key, manifest.spec), pools=())
        assert record.from_fields(record.to_fields(made)).session == made.session


def _manifests() -> list[bytes]:
    spec = {
        "model": "wan2.1-1.3b", "prompt": "x", "steps": 2, "seed": 7, "source": {"type": "file", "path": "a.mp4"},
        "slo": {"frameDeadline": "500ms", "missBudget": "1%"}, "output": {"bitrate": "1500k"},
        "resolution": {"width": 832, "height": 480}, "access": {"origins": ["https://example.org"]},
    }  # fmt: skip
    whole = {"apiVersion": "genlock.dev/v1alpha1", "kind": "StreamSession", "metadata": {"name": "a"}, "spec": spec}
    yaml = (
        b"apiVersion: genlock.dev/v1alpha1\nkind: StreamSession\nmetadata: {name: demo, namespace: default}\n"
        b"spec:\n  qualityMode: low-latency\n  prompt: |\n    ink\n    and water\n  idleTimeout: 10m\n---\n"
    )
    return [json.dumps(whole).encode(), yaml, yaml + yaml.replace(b"demo", b"two")]


KEYRING: Final = Keyring.parse("k1:" + "s" * 43)
_PLATFORM: Final = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
_PEM: Final = _PLATFORM.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PLATFORM_KEY: Final = PlatformKey.load(_PEM, issuer=None, audience=None)


def _token(data: bytes) -> None:
    KEYRING.verify(data.decode("latin-1"), "default/demo", Role.VIEW, now_s=1.0)


def _tokens() -> list[bytes]:
    made = (KEYRING.token("default/demo", Role.VIEW), KEYRING.token("default/demo", Role.PUBLISH, expires_s=2_000))
    return [token.encode() for token in made]


def _platform_token(data: bytes) -> None:
    PLATFORM_KEY.verify(data.decode("latin-1"), "default/demo", Role.VIEW)


def _platform_tokens() -> list[bytes]:
    claims = {"exp": 4_000_000_000, "session": "default/demo", "role": "view"}
    return [
        jwt.encode(claims, _PLATFORM, algorithm="EdDSA").encode(),
        jwt.encode(claims, "s" * 32, algorithm="HS256").encode(),
    ]


# -- links, records, snapshots -----------------------------------------------------------------------------------------


def _worker_end() -> LinkProtocol:
    return LinkProtocol(WORKER, (SECRET,), clock=ManualClock(), on_drop=lambda _: None)


def _before_proof(data: bytes) -> None:
    end = _worker_end()
    end.receive(data)
    end.tick()


def _hellos() -> list[bytes]:
    end = LinkProtocol(GATEWAY, (SECRET,), clock=ManualClock(), on_drop=lambda _: None)
    return [b"".join(end.data_to_send())]


def _after_proof(data: bytes) -> None:
    peers = connected()
    opened(peers)
    peers.worker.receive(data)
    peers.worker.tick()


def _conversations() -> list[bytes]:
    peers = connected()
    number = opened(peers)
    gateway = peers.gateway
    unit = AccessUnit(Codec.H264, b"\0\0\0\1\x65" + b"x" * 200, key_frame=True, capture_us=1)
    said: list[bytes] = []
    sayings: tuple[Callable[[], object], ...] = (
        lambda: gateway.send_media(number, unit, run=1),
        lambda: gateway.send_codecs(number, frozenset({Codec.H264})),
        lambda: gateway.send_source(number, present=True, run=2),
        lambda: gateway.nudge_control(number),
        lambda: gateway.request_key_frame(number, Codec.H264),
        lambda: gateway.close_channel(number, "x"),
    )
    for say in sayings:
        say()
        said.append(b"".join(gateway.data_to_send()))
    return [*said, b"".join(said)]


def _record(data: bytes) -> None:
    """A hash as JSON, so that one mutator serves all."""
    fields = json.loads(_text(data))
    if isinstance(fields, dict) and all(isinstance(value, str) for value in fields.values()):
        record.from_fields(fields)


def _records() -> list[bytes]:
    session = resolve(SessionKey(name="demo"), StreamSessionSpec())
    made = record.SessionRecord(
        session=session,
        pools=(record.PoolChoice("pool", 10),),
        control={"steps": record.ControlValue("2", "1-1")},
        key_ids=("k1",),
    )
    return [json.dumps(record.to_fields(made)).encode()]


_DEMO: Final = Snapshot(
    session="default/demo",
    model="m",
    format=1,
    epoch=5,
    chunk=3,
    control_id="1-1",
    attributes={"engine": {"a": 1}, "flights": [[3, 2, 0, 1, 1]]},
    head={"h": np.arange(50, dtype=np.float32)},
    blocks={"b1": {"x": np.arange(64, dtype=np.uint8)}, "b2": {"x": np.zeros((4, 4), np.float16)}},
    source=SourcePosition(1, 1),
)


def _snapshot(data: bytes) -> None:
    """As a whole head, as the payload of a head that is sealed, and as that of a block."""
    delta = encode_delta(_DEMO, written={})
    resealed, _ = seal(_DEMO.format, PartKind.HEAD, data)
    block, _ = seal(_DEMO.format, PartKind.BLOCK, data)
    for head, blocks in (
        (data, delta.blocks),
        (resealed, delta.blocks),
        (delta.head, {**delta.blocks, "b1": block}),
        (delta.head, {**delta.blocks, "b1": data}),
    ):
        try:
            to_checkpoint(decode(head, blocks, session=_DEMO.session, model=_DEMO.model))
        except SnapshotRefused:
            continue


def _snapshots() -> list[bytes]:
    delta = encode_delta(_DEMO, written={})
    parts = [delta.head, unseal(delta.head, PartKind.HEAD).payload, unseal(delta.blocks["b1"], PartKind.BLOCK).payload]
    return [*parts, *(recorded.head for recorded in recorded_snapshots())]


# -- packets -----------------------------------------------------------------------------------------------------------


def _run(step: Coroutine[Any, Any, None]) -> None:
    """A coroutine that waits for nothing."""
    try:
        step.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


def _packet(data: bytes) -> None:
    """What the transport does with what it decrypted."""
    transport = DtlsTransport.__new__(DtlsTransport)
    transport._rtp_header_extensions_map = _extensions()
    transport.receiver = None
    _run(transport._handle_rtp_data(data, 0))
    _run(transport._handle_rtcp_data(data))


def _extensions() -> HeaderExtensionsMap:
    known = HeaderExtensionsMap()
    uris = (
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    )
    extensions = [RTCRtpHeaderExtensionParameters(id=number, uri=uri) for number, uri in enumerate(uris, 1)]
    known.configure(RTCRtpParameters(headerExtensions=extensions))
    return known


def _packets() -> list[bytes]:
    return [
        bytes(RtpPacket(96, 1, 7, 5, ssrc=9, payload=b"abcdef").serialize()),
        b"\x90\x60\0\1\0\0\0\1\0\0\0\2\xbe\xde\0\3\x10a\x22abc\x32abc\x42\1\2\3abc",
        b"\xb0\x60\0\1\0\0\0\1\0\0\0\2\x10\0\0\1\1\1a\2abc\4",
        *_feedback(),
    ]


def _feedback() -> list[bytes]:
    return [
        b"\x81\xcd\0\3\0\0\0\1\0\0\3\xe8\0\1\0\0",
        b"\x81\xce\0\2\0\0\0\1\0\0\3\xe8",
        b"\x84\xce\0\4\0\0\0\1\0\0\0\0\0\0\3\xe8\1\0\0\0",
        b"\x8f\xce\0\5\0\0\0\1\0\0\0\0REMB\1\2\3\4\0\0\3\xe8",
        b"\x80\xc8\0\6" + bytes(24),
        b"\x81\xc9\0\7" + bytes(28),
        b"\x81\xca\0\2\0\0\0\1\1\2ab",
        b"\x81\xcb\0\1\0\0\0\1",
    ]


def _viewer_feedback(data: bytes) -> None:
    stream, _, _ = viewer(ManualClock())
    try:
        packets = RtcpPacket.parse(data)
    except (ValueError, struct.error):
        return
    stream.feedback(packets, PacketRing())


def _payloads(data: bytes) -> list[bytes]:
    """Payloads, each with its length in front, as far as they are there."""
    found, at = [], 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big") % 1_500
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return [payload for payload in found if payload]


def _with_lengths(payloads: Sequence[bytes]) -> bytes:
    return b"".join(len(payload).to_bytes(2, "big") + payload for payload in payloads)


def _h264(data: bytes) -> None:
    payloads = _payloads(data)
    for payload in payloads:
        h264_shape(payload)
    pictures = H264Pictures(data[:80].decode("latin-1"))
    for any_start in (False, True):
        try:
            pictures.picture(payloads, any_start=any_start)
        except ValueError:
            continue
    size_mistake(Codec.H264, data)
    for nal in payloads:
        for read in (read_sequence_set, read_picture_set, read_slice, read_recovery_point):
            read(nal)


def _h264_streams() -> list[bytes]:
    coded = clips.h264(2)
    nals = [nal for picture in coded for nal in picture.nals]
    aggregated = b"\x78" + _with_lengths([bits.sequence_set(), bits.picture_set()])
    fragment = b"\x7c\x85" + bits.slice_start(5)[1:]
    by_hand = [bits.sequence_set(profile_idc=244), bits.picture_set(1), bits.recovery_point(3), bits.slice_start(1)]
    return [_with_lengths([nal[:1_200] for nal in nals]), _with_lengths([aggregated, fragment]), _with_lengths(by_hand)]


def _vp8(data: bytes) -> None:
    payloads = _payloads(data)
    for payload in payloads:
        vp8_shape(payload)
    try:
        vp8_picture(payloads)
    except ValueError:
        return
    size_mistake(Codec.VP8, data)


def _vp8_streams() -> list[bytes]:
    key = b"\x10\x02\x00\x9d\x01\x2a\x81\x00\x43\x40" + b"x" * 20
    return [
        _with_lengths([b"\x10" + key]),
        _with_lengths([b"\x90\x80\x81\x02" + key[:12], b"\x80\x80\x81\x02" + key[12:]]),
        _with_lengths([b"\x90\xf0\x01\x02\x03\x04" + key]),
    ]


class _Peer:
    ice_ufrag = "abcd"
    ice_password = "p" * 24

    def heard(self, route: Route, size: int) -> None: ...
    def stun_received(self, message: stun.Message, route: Route) -> None: ...
    def packet_received(self, data: bytes, route: Route) -> None: ...


def _stun(data: bytes) -> None:
    demultiplexer = Demultiplexer()
    demultiplexer.register(_Peer())
    demultiplexer.expect(b"t" * 12, _Peer())
    demultiplexer.datagram(data, Route(0, ("192.0.2.1", 5)))


def _stun_messages() -> list[bytes]:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes |= {"USERNAME": "abcd:x", "PRIORITY": 5, "USE-CANDIDATE": None, "ICE-CONTROLLING": 7}
    request.add_message_integrity(b"p" * 24)
    response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=b"t" * 12)
    response.attributes |= {"XOR-MAPPED-ADDRESS": ("192.0.2.4", 5), "ERROR-CODE": (400, "x")}
    return [bytes(request), bytes(response)]


def _decoder_answer(data: bytes) -> None:
    stream = io.BytesIO(data)

    def read(size: int) -> bytes:
        taken = stream.read(size)
        if len(taken) < size:
            raise EOFError
        return taken

    while stream.tell() < len(data):
        wire.read_answer(read)


def _decoder_answers() -> list[bytes]:
    frames = wire.FrameFacts(33_333, 832, 480), wire.FrameFacts(-1, 64, 64)
    decoded = wire.Decoded(False, True, True, Trouble.UNDECODABLE, 1_000, 10, frames)
    return [wire.pack_answer(decoded) + wire.pack_answer(wire.Fetched()), wire.pack_answer(wire.OutOfMemory())]


# -- what KEDA asks the operator ---------------------------------------------------------------------------------------


def _scaler_requests() -> list[bytes]:
    asking = ScaledObject("follow", "live", {"pool": "warm", "scalerAddress": "operator:9090"})
    return [reference(asking), metric_wanted(asking, "workers")]


def _scaler(messages: Messages, data: bytes) -> None:
    """Both messages are read; whoever is understood is answered."""
    with contextlib.suppress(NoMessage, NoAnswer):
        pool_of(messages.scaled_object(data))
    wanted = messages.metric_wanted(data)
    pool_of(wanted.of)
    messages.metric(wanted.metric, 3)


TARGETS: Final[dict[str, Target]] = {
    "offer": Target(_offer, _offers, (OfferError,), share=0.1),
    "fragment": Target(lambda data: parse_fragment(_text(data)), _fragments, (OfferError,)),
    "control": Target(_control, _controls, (ValidationError, ValueError, RecursionError)),
    "manifest": Target(_manifest, _manifests, (InvalidManifest,), share=0.1),
    "token": Target(_token, _tokens, (AccessDenied,)),
    "platform-token": Target(_platform_token, _platform_tokens, (AccessDenied,)),
    "link-frames": Target(lambda data: FrameParser().feed(data), _conversations, (LinkProtocolError,)),
    "link-before-proof": Target(_before_proof, _hellos, (LinkProtocolError,)),
    "link-after-proof": Target(_after_proof, _conversations, (LinkProtocolError,), share=0.3),
    "record": Target(_record, _records, (KeyError, ValueError, RecursionError)),
    "snapshot": Target(_snapshot, _snapshots, share=0.3),
    "rtp-and-rtcp": Target(_packet, _packets),
    "viewer-feedback": Target(_viewer_feedback, _feedback),
    "h264": Target(_h264, _h264_streams),
    "vp8": Target(_vp8, _vp8_streams),
    "stun": Target(_stun, _stun_messages),
    "scaler": Target(partial(_scaler, Messages()), _scaler_requests, (NoMessage, NoAnswer)),
    "decoder-answer": Target(_decoder_answer, _decoder_answers, (wire.Garbled, EOFError)),
}
