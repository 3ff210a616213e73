"""Subscriptions to pictures on the link: asked for, renewed, served in one epoch, never said to an old peer."""

import pytest

from genlock_core.errors import LinkProtocolError
from genlock_core.link.events import (
    ChannelClosed,
    ChannelOpened,
    ChannelRefused,
    Connected,
    MediaReceived,
    PictureReceived,
    SubscriptionRenewed,
    SubscriptionRequested,
)
from genlock_core.link.frames import FrameType, LinkFrame, Track, encode
from genlock_core.link.handshake import PeerTooOld
from genlock_core.link.messages import LinkRole, Open, RefusalReason, Renew, Subscribe
from genlock_core.link.outbox import OutboxLimits
from genlock_core.link.protocol import LinkState
from genlock_core.media import AccessUnit, Codec, SourcePosition, StillPicture
from genlock_core.subscriptions.preview import MAX_PREVIEW_BYTES, preview_of
from genlock_core.subscriptions.subscription import FrameKind, Subscription
from tests.core.link.old_peers import make_old
from tests.core.link.peers import GATEWAY, SESSION, WORKER, Peers, connected, opened

PREVIEW = preview_of(SESSION, epoch=7, subscriber="g0")
REQUEST = Subscribe.of(PREVIEW, ttl_s=5.0)
UNIT = AccessUnit(Codec.H264, b"\x00\x00\x00\x01\x65picture", key_frame=True, capture_us=123)


def picture(number: int, size: int = 10) -> StillPicture:
    return StillPicture(bytes(size), SourcePosition(run=1, capture_us=number))


def subscribed(peers: Peers) -> int:
    """A channel for pictures in epoch 7."""
    number = peers.gateway.subscribe(REQUEST)
    peers.settle()
    assert peers.told(peers.worker) == [SubscriptionRequested(number, REQUEST)]
    assert peers.worker.accept(number, 7)
    peers.settle()
    assert peers.told(peers.gateway) == [ChannelOpened(number, SESSION, 7)]
    return number


def wire(frame: LinkFrame) -> bytes:
    return b"".join(encode(frame))


# What is said, and by whom.


def test_a_subscription_is_asked_for_renewed_and_served() -> None:
    peers = connected()
    number = subscribed(peers)
    assert REQUEST.subscription == PREVIEW
    peers.worker.send_picture(number, picture(4))
    peers.gateway.renew(number, ttl_s=2.5)
    peers.settle()
    assert peers.told(peers.gateway) == [PictureReceived(number, SESSION, 7, picture(4))]
    assert peers.told(peers.worker) == [SubscriptionRenewed(number, SESSION, 2.5)]


def test_a_refused_subscription_leaves_the_link_as_it_was() -> None:
    peers = connected()
    stream, number = opened(peers), peers.gateway.subscribe(REQUEST)
    peers.settle()
    peers.told(peers.worker)
    assert peers.worker.refuse(number, RefusalReason.NOT_SERVED, "not here", epoch=7)
    peers.worker.send_media(stream, UNIT, run=1)
    peers.settle()
    refused, media = peers.told(peers.gateway)
    assert refused == ChannelRefused(number, SESSION, RefusalReason.NOT_SERVED, "not here", 7)
    assert isinstance(media, MediaReceived)
    assert not peers.worker.send_picture(number, picture(1))
    assert not peers.gateway.renew(number, ttl_s=1.0)


def test_a_kind_of_frame_that_is_not_known_yet_is_no_mistake() -> None:
    peers = connected()
    asked = REQUEST.model_copy(update={"frames": "depth-maps"})
    number = peers.gateway.subscribe(asked)
    peers.settle()
    assert peers.told(peers.worker) == [SubscriptionRequested(number, asked)]
    assert asked.subscription is None


def test_open_says_what_a_subscription_to_encoded_output_says() -> None:
    encoded = Subscription(SESSION, 7, "g0", FrameKind.ENCODED, codecs=frozenset({Codec.H264, Codec.VP8}))
    request = Open.of(encoded, publisher=True, after=SourcePosition(3, -4))
    assert request.subscription == encoded
    assert request.to_json() == (
        b'{"session":"default/demo","epoch":7,"gateway":"g0","publisher":true,"codecs":["h264","vp8"],'
        b'"after":{"run":3,"captureUs":-4}}'
    ), "what peers of minor version 0 read"
    with pytest.raises(ValueError, match="not to generated pictures"):
        Open.of(PREVIEW, publisher=False, after=None)


def test_pictures_of_another_epoch_are_dropped_and_counted() -> None:
    peers = connected()
    number = subscribed(peers)
    for epoch in (6, 8):
        frame = LinkFrame(FrameType.PICTURE, channel=number, epoch=epoch, payload=b"a zombie's")
        assert peers.gateway.receive(wire(frame)) == []
    assert peers.gateway.stale_frames == 2


def test_pictures_that_wait_for_an_ended_subscription_are_not_sent() -> None:
    peers = connected()
    number = subscribed(peers)
    peers.worker.send_picture(number, picture(1))
    peers.gateway.close_channel(number, "nobody looks")
    peers.deliver(peers.gateway)
    assert peers.told(peers.worker) == [ChannelClosed(number, SESSION, "nobody looks")]
    assert not peers.worker.has_data_to_send


@pytest.mark.parametrize(
    ("at_worker", "frame", "complaint"),
    [
        (True, LinkFrame(FrameType.SUBSCRIBE, channel=9, payload=b'{"session":"a/b"}'), "Subscribe: "),
        (True, LinkFrame(FrameType.SUBSCRIBE, channel=1, payload=REQUEST.to_json()), "opened twice"),
        (True, LinkFrame(FrameType.PICTURE, channel=1, epoch=7, payload=b"x"), "not for this side"),
        (True, LinkFrame(FrameType.RENEW, channel=1, epoch=7, payload=b'{"ttlMs":60001}'), "Renew: ttlMs"),
        (True, LinkFrame(FrameType.RENEW, channel=8, epoch=7, payload=b"{}"), "never opened"),
        (True, LinkFrame(FrameType.CODECS, channel=1, epoch=7, payload=b"[]"), "which is for pictures"),
        (True, LinkFrame(FrameType.MEDIA, track=Track.SOURCE, channel=1, epoch=7, payload=b"x"), "for pictures"),
        (False, LinkFrame(FrameType.SUBSCRIBE, channel=9, payload=REQUEST.to_json()), "not for this side"),
        (False, LinkFrame(FrameType.RENEW, channel=1, epoch=7, payload=Renew(ttl_ms=1).to_json()), "not for this side"),
        (False, LinkFrame(FrameType.PICTURE, channel=1, epoch=7), "picture of 0 bytes"),
        (
            False,
            LinkFrame(FrameType.PICTURE, channel=1, epoch=7, payload=bytes(MAX_PREVIEW_BYTES + 1)),
            "131072 are the most",
        ),
        (False, LinkFrame(FrameType.STATS, channel=1, epoch=7, payload=b"{}"), "which is for pictures"),
    ],
)
def test_a_peer_that_breaks_the_rules_is_told_which(at_worker: bool, frame: LinkFrame, complaint: str) -> None:
    peers = connected()
    assert subscribed(peers) == 1
    end = peers.worker if at_worker else peers.gateway
    with pytest.raises(LinkProtocolError, match=complaint):
        end.receive(wire(frame))
    assert end.state is LinkState.CLOSED


def test_no_picture_comes_on_a_channel_for_media() -> None:
    peers = connected()
    number = opened(peers)
    with pytest.raises(LinkProtocolError, match="PICTURE came on channel 1, which is for media"):
        peers.gateway.receive(wire(LinkFrame(FrameType.PICTURE, channel=number, epoch=7, payload=b"x")))


@pytest.mark.parametrize("wish", [{"ttl_ms": 0}, {"ttl_ms": 60_001}, {"rate": 0.0}, {"long_side": 0}, {"session": ""}])
def test_what_a_subscriber_may_ask_for_is_bounded(wish: dict[str, object]) -> None:
    peers = connected()
    asked = REQUEST.model_copy(update=wish)
    with pytest.raises(LinkProtocolError, match="Subscribe: "):
        peers.worker.receive(wire(LinkFrame(FrameType.SUBSCRIBE, channel=1, payload=asked.to_json())))


# A subscriber that does not read.


def test_a_slow_subscriber_gets_the_latest_picture_alone() -> None:
    peers = connected()
    number = subscribed(peers)
    for count in range(1_000):
        peers.worker.send_picture(number, picture(count, size=10_000))
    assert peers.worker.buffered_bytes < 20_000
    peers.settle()
    assert peers.told(peers.gateway) == [PictureReceived(number, SESSION, 7, picture(999, size=10_000))]


def test_all_pictures_together_are_bounded_too() -> None:
    peers = connected(limits=OutboxLimits(picture_bytes=25_000))
    numbers = [subscribed(peers) for _ in range(4)]
    for number in numbers:
        peers.worker.send_picture(number, picture(number, size=10_000))
    peers.settle()
    came = [event.channel for event in peers.told(peers.gateway) if isinstance(event, PictureReceived)]
    assert came == numbers[2:], "those that had waited longest went"


def test_pictures_wait_for_everything_else() -> None:
    peers = connected()
    stream, number = opened(peers), subscribed(peers)
    peers.worker.send_picture(number, picture(1))
    peers.worker.send_media(stream, UNIT, run=1)
    peers.worker.send_media(stream, UNIT, run=1)
    peers.worker.send_stats(stream, {})
    peers.settle()
    kinds = [type(event).__name__ for event in peers.told(peers.gateway)]
    assert kinds == ["StatsReceived", "MediaReceived", "MediaReceived", "PictureReceived"]


# Peers of before, both ways.


def test_both_sides_speak_the_smaller_minor_version(monkeypatch: pytest.MonkeyPatch) -> None:
    make_old(monkeypatch, LinkRole.WORKER)
    peers = Peers()
    peers.settle()
    assert peers.told(peers.gateway) == [Connected(WORKER, 0)]
    assert peers.told(peers.worker) == [Connected(GATEWAY, 0)]


def test_an_old_worker_is_never_asked_and_its_link_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    make_old(monkeypatch, LinkRole.WORKER)
    peers = connected()
    stream = opened(peers)
    with pytest.raises(PeerTooOld, match="knows no subscriptions to pictures"):
        peers.gateway.subscribe(REQUEST)
    assert not peers.gateway.has_data_to_send
    peers.worker.send_media(stream, UNIT, run=1)
    peers.settle()
    (media,) = peers.told(peers.gateway)
    assert isinstance(media, MediaReceived)


def test_an_old_gateway_is_served_as_ever_and_does_not_subscribe(monkeypatch: pytest.MonkeyPatch) -> None:
    make_old(monkeypatch, LinkRole.GATEWAY)
    peers = connected()
    stream = opened(peers)
    peers.worker.send_media(stream, UNIT, run=1)
    peers.settle()
    assert [type(event) for event in peers.told(peers.gateway)] == [MediaReceived]
    with pytest.raises(LinkProtocolError, match="SUBSCRIBE is not for this side of the link to hear, or not now"):
        peers.worker.receive(wire(LinkFrame(FrameType.SUBSCRIBE, channel=2, payload=REQUEST.to_json())))


def test_nobody_subscribes_before_the_handshake_or_as_a_worker() -> None:
    with pytest.raises(ValueError, match="while the link is HANDSHAKE"):
        Peers().gateway.subscribe(REQUEST)
    with pytest.raises(ValueError, match="a worker cannot subscribe"):
        connected().worker.subscribe(REQUEST)
