"""The link's state machine: proof of both sides, channels, epochs, silence, and that nothing from outside breaks it."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.claims.pulse import EnginePhase
from genlock_core.claims.silence import Silence
from genlock_core.errors import LinkAuthError, LinkProtocolError
from genlock_core.link import channels, handshake
from genlock_core.link.events import (
    ChannelClosed,
    ChannelRefused,
    CodecsWanted,
    Connected,
    ControlNudged,
    HandedOver,
    KeyFrameWanted,
    LinkIdentity,
    MediaDropped,
    MediaReceived,
    OpenRequested,
    PeerLeft,
    PeerProgressing,
    PeerSilent,
    SourceChanged,
    StatsReceived,
)
from genlock_core.link.frames import Flag, FrameParser, FrameType, LinkFrame, Track, encode
from genlock_core.link.handshake import MINOR, LinkWrongPeer
from genlock_core.link.liveness import LinkSilent, LinkTimings
from genlock_core.link.messages import (
    After,
    Auth,
    Close,
    Hello,
    LinkRole,
    Open,
    Opened,
    RefusalReason,
    Renew,
    Subscribe,
)
from genlock_core.link.outbox import LinkOverflow, OutboxLimits
from genlock_core.link.protocol import LinkProtocol, LinkState
from genlock_core.media import AccessUnit, Codec, SourcePosition
from genlock_core.slo.stages import Stage, StageTimes
from genlock_core.subscriptions.preview import preview_of
from tests.core.link.old_peers import make_old
from tests.core.link.peers import GATEWAY, SESSION, WORKER, Peers, connected, opened
from tests.core.link.test_frames import frames, pieces

UNIT = AccessUnit(Codec.H264, b"\x00\x00\x00\x01\x65picture", key_frame=True, capture_us=123)
TIMINGS = LinkTimings()


def wire(frame: LinkFrame) -> bytes:
    return b"".join(encode(frame))


# The handshake.


def test_both_sides_are_proven_and_know_each_other() -> None:
    peers = Peers()
    peers.settle()
    assert peers.told(peers.gateway) == [Connected(WORKER, MINOR)]
    assert peers.told(peers.worker) == [Connected(GATEWAY, MINOR)]
    assert (peers.gateway.peer, peers.worker.peer) == (WORKER, GATEWAY)


def test_the_sides_find_a_common_secret_while_secrets_are_rotated() -> None:
    peers = Peers(gateway_secrets=(b"new" * 9, b"old" * 9), worker_secrets=(b"old" * 9, b"older" * 9))
    peers.settle()
    assert peers.gateway.state is peers.worker.state is LinkState.CONNECTED


def test_a_gateway_with_another_secret_is_refused_and_told_why() -> None:
    peers = Peers(gateway_secrets=(b"wrong" * 9,))
    with pytest.raises(LinkAuthError, match="no secret in common"):
        peers.deliver(peers.gateway)
    with pytest.raises(LinkAuthError, match=r"the peer refused the link: .*no secret in common"):
        peers.deliver(peers.worker)
    assert peers.gateway.state is peers.worker.state is LinkState.CLOSED


def hello_of(protocol: LinkProtocol) -> Hello:
    (frame,) = FrameParser().feed(b"".join(protocol.data_to_send()))
    return Hello.model_validate_json(frame.payload)


@pytest.mark.parametrize("field", ["name", "incarnation", "nonce", "mac", "minor"])
def test_a_worker_whose_hello_was_altered_is_not_believed(field: str) -> None:
    peers = Peers(expect=None)
    peers.deliver(peers.gateway)
    hello = hello_of(peers.worker)
    other: dict[str, object] = {"name": "w9", "incarnation": "x", "nonce": "ab" * 32, "mac": "cd" * 32, "minor": 9}
    forged = hello.model_copy(update={field: other[field]})
    with pytest.raises(LinkAuthError, match="does not know the secret"):
        peers.gateway.receive(wire(LinkFrame(FrameType.HELLO, payload=forged.to_json())))


def test_a_workers_proof_is_none_of_the_gateways() -> None:
    peers = Peers()
    peers.deliver(peers.gateway)
    reflected = Auth(mac=hello_of(peers.worker).mac or "")
    with pytest.raises(LinkAuthError):
        peers.worker.receive(wire(LinkFrame(FrameType.AUTH, payload=reflected.to_json())))


def test_a_recorded_handshake_does_not_work_twice() -> None:
    first = Peers()
    hello = b"".join(first.gateway.data_to_send())
    first.deliver(first.gateway, [hello])
    first.deliver(first.worker)
    auth = b"".join(first.gateway.data_to_send())
    second = Peers()
    second.gateway.data_to_send()
    second.worker = LinkProtocol(
        WORKER, (b"s" * 32,), clock=second.clock, on_drop=second.drops.append, nonce=lambda size: b"\xaa" * size
    )
    second.worker.receive(hello)
    with pytest.raises(LinkAuthError):
        second.worker.receive(auth)


def test_another_process_at_the_address_is_the_wrong_peer() -> None:
    peers = Peers(expect=LinkIdentity(LinkRole.WORKER, "w0", "an-older-one"))
    peers.deliver(peers.gateway)
    with pytest.raises(LinkWrongPeer, match="that process is gone"):
        peers.deliver(peers.worker)


def test_a_newer_major_version_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "VERSION", 2)
    newer = Peers()
    monkeypatch.setattr(handshake, "VERSION", 1)
    with pytest.raises(LinkProtocolError, match="speaks link version 2, this side 1: upgrade this side first"):
        newer.deliver(newer.gateway)
    with pytest.raises(LinkProtocolError, match="the peer refused the link"):
        newer.deliver(newer.worker)


def test_two_of_the_same_role_do_not_link() -> None:
    one, other = Peers(), Peers()
    with pytest.raises(LinkProtocolError, match="a worker belongs at the other end"):
        one.gateway.receive(b"".join(other.gateway.data_to_send()))


def test_a_handshake_has_its_time() -> None:
    peers = Peers()
    assert peers.worker.next_tick_at == peers.clock.monotonic() + TIMINGS.handshake_s
    peers.clock.advance(TIMINGS.handshake_s - 0.1)
    assert peers.worker.tick() == []
    peers.clock.advance(0.1)
    with pytest.raises(LinkSilent, match="handshake took more than 5 s"):
        peers.worker.tick()


@pytest.mark.parametrize("kind", [FrameType.OPEN, FrameType.MEDIA, FrameType.HEARTBEAT, FrameType.AUTH])
def test_nothing_but_a_hello_is_heard_before_the_proof(kind: FrameType) -> None:
    with pytest.raises(LinkProtocolError, match="needs HELLO"):
        Peers().worker.receive(wire(LinkFrame(kind, channel=1)))


def test_a_stranger_may_not_announce_long_frames() -> None:
    with pytest.raises(LinkProtocolError, match="at most 262144"):
        Peers().worker.receive((300_000).to_bytes(4, "big"))


# Channels and what is said on them.


def test_a_key_frame_is_asked_for_at_once_or_as_the_first_picture_after_a_place() -> None:
    peers = connected()
    number = opened(peers)
    place = SourcePosition(3, 4_000_000)
    peers.gateway.request_key_frame(number, Codec.H264, after=place)
    peers.settle()
    peers.gateway.request_key_frame(number, Codec.H264)
    peers.settle()
    assert peers.told(peers.worker) == [
        KeyFrameWanted(number, SESSION, Codec.H264, place),
        KeyFrameWanted(number, SESSION, Codec.H264, None),
    ]


def test_every_message_arrives_as_its_event() -> None:
    peers = connected()
    request = Open(
        session=SESSION,
        epoch=7,
        gateway="g0",
        publisher=True,
        codecs=("h264", "av1"),
        after=After(run=3, capture_us=-4),
    )
    number = peers.gateway.open(request)
    peers.settle()
    assert peers.told(peers.worker) == [OpenRequested(number, request)]
    assert request.position == SourcePosition(3, -4)
    peers.worker.accept(number, 9)
    peers.settle()
    peers.told(peers.gateway)

    stages = StageTimes.of({Stage.CAPTURED: 0, Stage.FORWARDED: 250})
    peers.gateway.send_source(number, present=True, run=3)
    peers.gateway.send_codecs(number, frozenset({Codec.VP8, Codec.H264}))
    peers.gateway.nudge_control(number)
    peers.gateway.request_key_frame(number, Codec.VP8)
    peers.gateway.send_media(number, UNIT, run=3, replay=True, stages=stages)
    peers.settle()
    assert peers.told(peers.worker) == [
        SourceChanged(number, SESSION, True, 3),
        CodecsWanted(number, SESSION, frozenset({Codec.H264, Codec.VP8})),
        ControlNudged(number, SESSION),
        KeyFrameWanted(number, SESSION, Codec.VP8),
        MediaReceived(number, SESSION, 9, UNIT, run=3, sequence=0, replay=True, stages=stages),
    ]

    peers.worker.send_stats(number, {"chunk": 3, "stages": {"engine": 1.5}})
    peers.worker.send_handover(number, epoch=10, address="127.0.0.1:7")
    peers.worker.send_media(number, UNIT, run=3, late=True)
    peers.worker.send_media(number, AccessUnit(Codec.VP8, b"v", key_frame=True, capture_us=1), run=3)
    peers.settle()
    assert peers.told(peers.gateway) == [
        StatsReceived(number, SESSION, {"chunk": 3, "stages": {"engine": 1.5}}),
        HandedOver(number, SESSION, 10, "127.0.0.1:7"),
        MediaReceived(number, SESSION, 9, UNIT, run=3, sequence=0, late=True),
        MediaReceived(number, SESSION, 9, AccessUnit(Codec.VP8, b"v", key_frame=True, capture_us=1), run=3, sequence=0),
    ]


def test_a_refused_channel_is_gone_on_both_sides() -> None:
    peers = connected()
    number = peers.gateway.open(Open(session=SESSION, epoch=7, gateway="g0"))
    peers.settle()
    assert peers.worker.refuse(number, RefusalReason.NOT_OWNER, "moved on", epoch=8)
    peers.settle()
    assert peers.told(peers.gateway) == [ChannelRefused(number, SESSION, RefusalReason.NOT_OWNER, "moved on", 8)]
    assert not peers.gateway.send_media(number, UNIT, run=1)
    assert not peers.worker.accept(number, 7)


def test_nothing_can_be_said_on_a_channel_that_is_not_open() -> None:
    peers = connected()
    number = peers.gateway.open(Open(session=SESSION, epoch=7, gateway="g0"))
    assert not peers.gateway.send_media(number, UNIT, run=1)
    assert not peers.gateway.nudge_control(number)
    peers.settle()
    with pytest.raises(ValueError, match="epoch 6 cannot serve a channel of epoch 7"):
        peers.worker.accept(number, 6)
    with pytest.raises(ValueError, match="a worker cannot open"):
        peers.worker.open(Open(session=SESSION, epoch=7, gateway="g0"))


def test_frames_that_cross_with_a_close_are_dropped_and_counted() -> None:
    peers = connected()
    number = opened(peers)
    peers.worker.send_media(number, UNIT, run=1)
    peers.worker.request_key_frame(number, Codec.H264)
    crossing = b"".join(peers.worker.data_to_send())
    assert peers.gateway.close_channel(number, "no viewer")
    assert peers.gateway.receive(crossing) == []
    assert peers.gateway.crossed_frames == 2
    peers.settle()
    assert peers.told(peers.worker) == [ChannelClosed(number, SESSION, "no viewer")]
    assert not peers.worker.send_media(number, UNIT, run=1)
    assert not peers.gateway.close_channel(number)


def test_media_that_waits_for_a_closed_channel_is_not_sent() -> None:
    peers = connected()
    number = opened(peers)
    peers.worker.send_media(number, UNIT, run=1)
    peers.gateway.close_channel(number)
    peers.deliver(peers.gateway)
    assert not peers.worker.has_data_to_send


def test_frames_of_another_epoch_are_dropped_and_counted() -> None:
    peers = connected()
    number = opened(peers, epoch=7)
    for epoch in (6, 8):
        frame = LinkFrame(
            FrameType.MEDIA, track=Track.OUTPUT, codec=Codec.H264, channel=number, epoch=epoch, payload=b"zombie"
        )
        assert peers.gateway.receive(wire(frame)) == []
    assert peers.gateway.stale_frames == 2


def test_a_channel_number_is_never_used_twice() -> None:
    peers = connected()
    first = opened(peers)
    peers.gateway.close_channel(first)
    peers.settle()
    assert peers.told(peers.worker) == [ChannelClosed(first, SESSION, "")]
    second = opened(peers)
    assert second > first
    again = LinkFrame(FrameType.OPEN, channel=first, payload=Open(session=SESSION, epoch=1, gateway="g0").to_json())
    with pytest.raises(LinkProtocolError, match="opened twice"):
        peers.worker.receive(wire(again))


def test_channels_are_bounded_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MAX_CHANNELS", 2)
    peers = connected()
    opened(peers)
    opened(peers)
    with pytest.raises(ValueError, match="cannot have more"):
        peers.gateway.open(Open(session=SESSION, epoch=1, gateway="g0"))
    third = LinkFrame(FrameType.OPEN, channel=3, payload=Open(session=SESSION, epoch=1, gateway="g0").to_json())
    with pytest.raises(LinkProtocolError, match="more than 2 channels"):
        peers.worker.receive(wire(third))


def at_gateway(kind: FrameType, payload: bytes = b"", *, channel: int = 1, **fields: int) -> LinkFrame:
    return LinkFrame(
        kind,
        track=Track(fields.get("track", Track.OUTPUT)),
        codec=fields.get("codec", Codec.H264),
        channel=channel,
        epoch=7,
        payload=payload,
    )


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (at_gateway(FrameType.OPEN, b"{}"), "not for this side"),
        (at_gateway(FrameType.HELLO, b"{}"), "not for this side"),
        (at_gateway(FrameType.MEDIA, b"x", channel=9), "never opened"),
        (at_gateway(FrameType.MEDIA, b"x", track=Track.SOURCE), "the wrong way"),
        (at_gateway(FrameType.MEDIA, b"x", codec=9), "unknown codec 9"),
        (at_gateway(FrameType.MEDIA), "without a byte"),
        (at_gateway(FrameType.OPENED, b"{}"), "open already"),
        (at_gateway(FrameType.STATS, b"[1]"), "STATS"),
        (at_gateway(FrameType.STATS, b"[" * 60_000), "STATS"),
        (at_gateway(FrameType.STATS, b" " * 70_000), "over the maximum"),
        (at_gateway(FrameType.HANDOVER, b'{"epoch": "1", "address": "x"}'), "epoch"),
        (at_gateway(FrameType.KEY_FRAME, codec=0), "unknown codec 0"),
        (at_gateway(FrameType.HEARTBEAT, b"1234", channel=0), "heartbeat of 4 bytes"),
        (at_gateway(FrameType.HEARTBEAT, bytes(16), channel=0), "heartbeat of 16 bytes"),
    ],
)
def test_a_peer_that_breaks_the_rules_is_told_which(frame: LinkFrame, complaint: str) -> None:
    peers = connected()
    assert opened(peers) == 1
    with pytest.raises(LinkProtocolError, match=complaint):
        peers.gateway.receive(wire(frame))
    assert peers.gateway.state is LinkState.CLOSED
    (goodbye,) = FrameParser().feed(b"".join(peers.gateway.data_to_send()))
    assert Close.model_validate_json(goodbye.payload).fault == "protocol"
    assert peers.gateway.receive(b"anything") == []


def test_an_answer_for_another_session_or_an_older_epoch_is_a_mistake() -> None:
    for answer in (Opened(session="default/other", epoch=7), Opened(session=SESSION, epoch=6)):
        peers = connected()
        number = peers.gateway.open(Open(session=SESSION, epoch=7, gateway="g0"))
        with pytest.raises(LinkProtocolError, match="was asked for default/demo in epoch 7"):
            peers.gateway.receive(wire(at_gateway(FrameType.OPENED, answer.to_json(), channel=number)))


# Queues, goodbye, time.


def test_requests_that_wait_are_one() -> None:
    peers = connected()
    number = opened(peers)
    for _ in range(5):
        peers.gateway.request_key_frame(number, Codec.H264)
        peers.gateway.nudge_control(number)
    peers.gateway.request_key_frame(number, Codec.VP8)
    peers.settle()
    assert peers.told(peers.worker) == [
        KeyFrameWanted(number, SESSION, Codec.H264),
        ControlNudged(number, SESSION),
        KeyFrameWanted(number, SESSION, Codec.VP8),
    ]


def test_a_drop_is_told_and_leaves_a_gap_before_a_key_frame() -> None:
    peers = connected(limits=OutboxLimits(lane_frames=3))
    number = opened(peers)
    delta = AccessUnit(Codec.H264, b"delta", key_frame=False, capture_us=1)
    for _ in range(4):
        peers.worker.send_media(number, delta, run=1)
    assert peers.drops == [MediaDropped(number, Track.OUTPUT, Codec.H264, 4)]
    peers.worker.send_media(number, UNIT, run=1)
    peers.settle()
    (received,) = peers.told(peers.gateway)
    assert isinstance(received, MediaReceived)
    assert (received.sequence, received.unit.key_frame) == (4, True)


def test_control_that_nobody_reads_ends_the_link_at_the_next_tick() -> None:
    peers = connected(limits=OutboxLimits(control_frames=10))
    number = opened(peers)
    for run in range(20):
        peers.gateway.send_source(number, present=True, run=run)
    assert peers.gateway.next_tick_at <= peers.clock.monotonic()
    with pytest.raises(LinkOverflow):
        peers.gateway.tick()
    assert peers.gateway.state is LinkState.CLOSED


def test_a_goodbye_is_heard_and_ends_both_sides() -> None:
    peers = connected()
    number = opened(peers)
    peers.worker.send_media(number, UNIT, run=1)
    peers.worker.leave("draining")
    peers.settle()
    assert peers.told(peers.gateway) == [PeerLeft("draining")]
    assert peers.gateway.state is peers.worker.state is LinkState.CLOSED
    assert not peers.gateway.nudge_control(number)
    with pytest.raises(ValueError, match="CLOSED"):
        peers.gateway.open(Open(session=SESSION, epoch=7, gateway="g0"))


def beat(peers: Peers, seconds: float, *, progress: int = 0, alive: int = 0) -> None:
    """Let time pass in steps of a heartbeat, both sides awake, the worker's counters moving by so much each."""
    for _ in range(round(seconds / TIMINGS.heartbeat_s)):
        peers.clock.advance(TIMINGS.heartbeat_s)
        peers.progress += progress
        peers.alive += alive
        for end in (peers.worker, peers.gateway):
            peers.events[end] += end.tick()
        peers.settle()


def is_normal(peers: Peers) -> bool:
    return peers.gateway.silence.is_normal


def test_heartbeats_are_due_and_keep_an_idle_link_up() -> None:
    peers = connected()
    assert peers.gateway.next_tick_at <= peers.clock.monotonic()
    beat(peers, 30.0, progress=1)
    assert peers.told(peers.gateway) == peers.told(peers.worker) == []
    assert peers.gateway.silence.quiet_s < 0.3
    assert peers.gateway.next_tick_at <= peers.clock.monotonic() + TIMINGS.heartbeat_s


def test_a_worker_whose_counter_stands_still_is_silent_whatever_else_arrives() -> None:
    peers = connected()
    number = opened(peers)
    beat(peers, 0.5, progress=1)
    for _ in range(5):
        peers.worker.send_media(number, UNIT, run=1)
        beat(peers, 0.25)
    silences = [event for event in peers.told(peers.gateway) if not isinstance(event, MediaReceived)]
    assert silences == [PeerSilent(1.0)]
    beat(peers, 0.25, progress=1)
    assert PeerProgressing() in peers.told(peers.gateway)
    assert peers.told(peers.worker) == []
    with pytest.raises(LinkSilent, match="no progress for 10"):
        beat(peers, 11.0)


def test_what_was_normal_for_a_worker_lately_is_waited_for_and_a_pause_of_this_side_teaches_nothing() -> None:
    peers = connected()
    beat(peers, 0.5, progress=1)
    peers.clock.advance(30.0)
    beat(peers, 0.5, progress=1)
    assert peers.gateway.silence == Silence(0.0, 1.0)

    for _ in range(2):
        beat(peers, 1.75)
        beat(peers, 0.25, progress=1)
    assert peers.gateway.silence == Silence(0.0, 3.0)
    beat(peers, 2.75)
    assert is_normal(peers)
    beat(peers, 0.25)
    assert not is_normal(peers)


def restored(peers: Peers, seconds: float) -> None:
    """The worker restores a session for so long: its process is alive, its engine makes no progress."""
    peers.phase = EnginePhase.RESTORING
    beat(peers, seconds, alive=1)
    peers.phase = EnginePhase.STEPPING
    beat(peers, 0.25, progress=1, alive=1)


def test_a_worker_that_says_it_restores_is_waited_for_longer_and_as_long_as_it_took_before() -> None:
    peers = connected()
    beat(peers, 0.5, progress=1, alive=1)
    peers.phase = EnginePhase.RESTORING
    beat(peers, 1.75, alive=1)
    assert is_normal(peers)
    beat(peers, 0.25, alive=1)
    assert not is_normal(peers), "nothing is known of its restorations"

    restored(peers, 3.75)
    peers.phase = EnginePhase.RESTORING
    beat(peers, 5.75, alive=1)
    assert is_normal(peers)
    peers.phase = EnginePhase.STEPPING
    beat(peers, 0.25, alive=1)
    assert peers.gateway.silence == Silence(6.0, 1.0), "it does not restore any more"


def test_a_process_that_stopped_is_left_after_its_own_patience_whatever_its_engine_did() -> None:
    peers = connected()
    restored(peers, 6.0)
    peers.phase = EnginePhase.RESTORING
    beat(peers, 0.5, progress=1, alive=1)
    beat(peers, 0.75)
    assert is_normal(peers)
    beat(peers, 0.25)
    assert not is_normal(peers)


def test_a_worker_of_the_release_before_is_judged_by_its_one_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    make_old(monkeypatch, LinkRole.WORKER)
    peers = connected()
    peers.phase = EnginePhase.RESTORING
    beat(peers, 0.5, progress=1, alive=1)
    beat(peers, 0.75, alive=1)
    assert is_normal(peers)
    beat(peers, 0.25, alive=1)
    assert peers.gateway.silence == Silence(1.0, 1.0)


def test_time_in_which_this_side_slept_or_did_not_read_is_not_the_peers_silence() -> None:
    peers = connected()
    beat(peers, 0.5, progress=1)
    peers.clock.advance(30.0)
    assert peers.gateway.tick() == []
    for _ in range(40):
        peers.clock.advance(0.25)
        assert peers.gateway.tick(reading=False) == []
    for _ in range(2):
        peers.clock.advance(0.25)
        assert peers.gateway.tick() == []  # of the sleep one heartbeat's time counts, and these two
    peers.clock.advance(0.25)
    assert [type(event) for event in peers.gateway.tick()] == [PeerSilent]


# Fuzz.


def in_state(depth: int) -> Peers:
    """Peers that got this far: 0 made, 1 heard a hello, 2 connected, 3 asked for a channel, 4 with an open channel,
    5 with one for pictures beside it."""
    peers = Peers()
    if depth >= 1:
        peers.deliver(peers.gateway)
    if depth >= 2:
        peers.settle()
    if depth == 3:
        peers.gateway.open(Open(session=SESSION, epoch=7, gateway="g0"))
        peers.settle()
    if depth >= 4:
        peers.told(peers.worker)
        peers.told(peers.gateway)
        opened(peers)
    if depth >= 5:
        number = peers.gateway.subscribe(SUBSCRIBE)
        peers.settle()
        peers.worker.accept(number, 7)
        peers.settle()
    return peers


SUBSCRIBE = Subscribe.of(preview_of(SESSION, epoch=7, subscriber="g0"), ttl_s=5.0)

plausible = st.builds(
    LinkFrame,
    type=st.sampled_from(FrameType),
    flags=st.integers(0, sum(Flag)),
    track=st.sampled_from(Track),
    codec=st.integers(0, 3),
    channel=st.integers(0, 3),
    epoch=st.sampled_from([0, 6, 7, 8]),
    payload=st.sampled_from(
        [
            b"",
            b"{}",
            b"[]",
            b'["h264"]',
            b'{"present":true,"run":4}',
            b'{"reason":"draining"}',
            b'{"epoch":8,"address":"a:1"}',
            struct.pack("!Q", 4),
            Open(session=SESSION, epoch=7, gateway="g0").to_json(),
            SUBSCRIBE.to_json(),
            Renew(ttl_ms=1).to_json(),
            b'{"ttlMs":1.5}',
            Opened(session=SESSION, epoch=7).to_json(),
            Hello(version=1, role=LinkRole.WORKER, name="w0", incarnation="x", nonce="00" * 32).to_json(),
            Auth(mac="00" * 32).to_json(),
        ]
    ),
)


@given(
    depth=st.integers(0, 5),
    at_worker=st.booleans(),
    sent=st.lists(frames | plausible | plausible, max_size=12),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_no_order_of_frames_in_any_state_does_worse_than_a_protocol_error(
    depth: int, at_worker: bool, sent: list[LinkFrame], data: st.DataObject
) -> None:
    peers = in_state(depth)
    end = peers.worker if at_worker else peers.gateway
    stream = b"".join(wire(frame) for frame in sent)
    if data.draw(st.booleans()) and stream:
        position = data.draw(st.integers(0, len(stream) - 1))
        stream = stream[:position] + data.draw(st.binary(max_size=8)) + stream[position + 1 :]
    try:
        for piece in pieces(data, stream):
            end.receive(piece)
            end.tick()
    except LinkProtocolError:
        assert end.state is LinkState.CLOSED
        assert end.receive(stream) == []
    assert end.buffered_bytes <= len(stream) + 4_096


@given(st.integers(0, 5), st.booleans(), st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_bytes_in_any_state_do_worse_than_a_protocol_error(depth: int, at_worker: bool, noise: bytes) -> None:
    peers = in_state(depth)
    end = peers.worker if at_worker else peers.gateway
    try:
        end.receive(noise)
    except LinkProtocolError:
        assert end.state is LinkState.CLOSED
    assert end.buffered_bytes <= len(noise) + 4_096


@given(st.data(), st.lists(st.sampled_from(["open", "accept", "media", "close", "key", "stats"]), max_size=30))
@settings(max_examples=60, deadline=None)
def test_two_honest_ends_agree_in_any_fragmentation(data: st.DataObject, actions: list[str]) -> None:
    peers = Peers()
    said: list[tuple[int, int]] = []
    for action in ["settle", *actions, "settle"]:
        number = data.draw(st.integers(1, 3))
        match action:
            case "open" if peers.gateway.state is LinkState.CONNECTED:
                peers.gateway.open(Open(session=SESSION, epoch=7, gateway="g0"))
            case "accept":
                peers.worker.accept(number, 7)
            case "media":
                size = data.draw(st.integers(1, 3_000))
                unit = AccessUnit(Codec.H264, bytes(size), key_frame=True, capture_us=len(said))
                if peers.worker.send_media(number, unit, run=1):
                    said.append((number, len(said)))
            case "close":
                data.draw(st.sampled_from([peers.gateway, peers.worker])).close_channel(number)
            case "key":
                peers.gateway.request_key_frame(number, Codec.H264)
            case "stats":
                peers.worker.send_stats(number, {"chunk": 1})
        for end in (peers.gateway, peers.worker):
            if data.draw(st.booleans()) or action == "settle":
                peers.deliver(end, pieces(data, b"".join(end.data_to_send())))
        if action == "settle":
            peers.settle()
    heard = [
        (event.channel, event.unit.capture_us)
        for event in peers.events[peers.gateway]
        if isinstance(event, MediaReceived)
    ]
    assert set(heard) <= set(said)
    for number in {channel for channel, _ in said}:
        order = [sequence for channel, sequence in heard if channel == number]
        assert order == sorted(order)
    assert peers.gateway.buffered_bytes == peers.worker.buffered_bytes == 0
    assert peers.gateway.stale_frames == peers.worker.stale_frames == 0
    assert not peers.drops
