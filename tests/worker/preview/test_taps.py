"""All previews of a worker: who is refused and why, one tap for each session, bounded, and nothing left behind."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.link.messages import RefusalReason, Subscribe
from genlock_core.metrics import WorkerMetrics
from genlock_worker.preview import tap as taps
from genlock_worker.preview import taps as rooms
from genlock_worker.preview.picture_channel import PictureChannel
from genlock_worker.preview.taps import PreviewTaps
from tests.worker.gateway import until
from tests.worker.preview.previewed import PREVIEW, SESSION, FakeLink, FakeSession, Shown

REQUEST = Subscribe.of(PREVIEW, ttl_s=5.0)


class Scene:
    """A worker's previews, with sessions by name."""

    def __init__(self) -> None:
        self.sessions = {SESSION: FakeSession()}
        self.link = FakeLink()
        self.clock = ManualClock()
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.previews = PreviewTaps(self.sessions.get, clock=self.clock, metrics=self.metrics)

    def subscribe(self, number: int, request: Subscribe = REQUEST, *, link: FakeLink | None = None) -> PictureChannel:
        channel = PictureChannel(link or self.link, number)
        self.previews.subscribe(channel, request)
        return channel

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """A second is 10 ms here."""
    monkeypatch.setattr(taps, "PREVIEW_RATE", 100.0)
    made = Scene()
    yield made
    await made.previews.close()


async def test_a_subscriber_is_let_in_and_gets_pictures(scene: Scene) -> None:
    scene.sessions[SESSION].show(9)
    scene.subscribe(4)
    assert scene.link.accepted == [4]
    await until(lambda: scene.link.sent, "a picture")
    assert scene.link.numbers(4) == [9]
    assert scene.link.sent[0][1].jpeg.startswith(b"\xff\xd8"), "the mark at the beginning of a JPEG file"
    assert scene.metric("genlock_preview_pictures_total") == 1


async def test_all_subscribers_of_a_session_share_a_tap_and_its_end_leaves_nothing(scene: Scene) -> None:
    other = FakeLink()
    channels = [scene.subscribe(1), scene.subscribe(2), scene.subscribe(1, link=other)]
    scene.sessions[SESSION].show(9)
    await until(lambda: len(scene.link.sent) + len(other.sent) == 3, "a picture for each")
    assert scene.metric("genlock_preview_taps") == 1
    assert scene.metric("genlock_preview_pictures_total") == 1
    for channel in channels:
        scene.previews.unsubscribe(channel)
    await until(lambda: scene.metric("genlock_preview_taps") == 0, "the tap's end")
    assert scene.previews._taps == {}


@pytest.mark.parametrize(
    ("asked", "reason", "epoch"),
    [
        ({"session": "default/nobody"}, RefusalReason.NOT_OWNER, 0),
        ({"epoch": 2}, RefusalReason.NOT_OWNER, 3),
        ({"epoch": 4}, RefusalReason.NOT_OWNER, 3),
        ({"frames": "source"}, RefusalReason.NOT_SERVED, 3),
        ({"frames": "depth-maps"}, RefusalReason.NOT_SERVED, 3),
        ({"rate": 30.0}, RefusalReason.NOT_SERVED, 3),
        ({"long_side": 64}, RefusalReason.NOT_SERVED, 3),
    ],
)
async def test_what_cannot_be_served_is_refused_with_the_epoch_that_is_known(
    scene: Scene, asked: dict[str, object], reason: RefusalReason, epoch: int
) -> None:
    scene.subscribe(1, REQUEST.model_copy(update=asked))
    assert scene.link.refused == [(reason, epoch)]
    assert scene.link.accepted == []
    assert scene.metric("genlock_preview_refusals_total", reason=reason.value) == 1


async def test_a_session_that_was_handed_over_has_no_preview_here(scene: Scene) -> None:
    scene.sessions[SESSION].is_owned = False
    scene.subscribe(1)
    assert scene.link.refused == [(RefusalReason.NOT_OWNER, 0)]


async def test_sessions_that_are_previewed_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MAX_TAPS", 1)
    scene.sessions["default/other"] = FakeSession("default/other")
    scene.subscribe(1)
    scene.subscribe(2, REQUEST.model_copy(update={"session": "default/other"}))
    assert scene.link.refused == [(RefusalReason.NO_SLOT, 3)]
    scene.subscribe(3)
    assert scene.link.accepted == [1, 3], "a session that has its tap may have more subscribers"


async def test_subscribers_of_a_session_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "MAX_SUBSCRIBERS", 1)
    scene.subscribe(1)
    scene.subscribe(2)
    assert scene.link.refused == [(RefusalReason.NO_SLOT, 3)]


async def test_a_gateway_that_left_before_it_was_let_in_costs_nothing(scene: Scene) -> None:
    scene.link.is_up = False
    scene.subscribe(1)
    assert scene.previews._taps == {}


async def test_a_link_that_is_down_takes_its_own_subscribers_and_no_others(scene: Scene) -> None:
    other = FakeLink()
    scene.subscribe(1)
    scene.subscribe(1, link=other)
    scene.previews.forget(scene.link)
    scene.sessions[SESSION].show(5)
    await until(lambda: other.sent, "a picture for the one that is left")
    assert scene.link.sent == []


async def test_a_subscriber_that_renews_stays_and_one_that_does_not_is_closed(scene: Scene) -> None:
    alive, dead = scene.subscribe(1), scene.subscribe(2)
    scene.clock.advance(4.0)
    scene.previews.renew(alive, ttl_s=5.0)
    scene.clock.advance(4.0)
    await until(lambda: scene.link.closed, "the end of the dead one")
    assert scene.link.closed == {dead.number: "nobody asked for more"}
    scene.clock.advance(1.1)
    await until(lambda: len(scene.link.closed) == 2, "the end of the other one")


async def test_a_tap_that_fails_lets_its_subscribers_go(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeSession):
        @property
        def shown(self) -> Shown | None:  # type: ignore[override]
            raise RuntimeError("no such picture")

    scene.sessions[SESSION].__class__ = Broken
    scene.subscribe(1)
    await until(lambda: scene.link.closed, "the end of the tap")
    assert scene.link.closed == {1: "the preview has ended"}
    assert scene.previews._taps == {}
    assert "no such picture" in caplog.text


async def test_a_session_under_a_newer_epoch_has_a_tap_of_its_own(scene: Scene) -> None:
    scene.subscribe(1)
    newer = scene.sessions[SESSION] = FakeSession(epoch=4)
    newer.show(6)
    scene.subscribe(2, Subscribe.of(replace(PREVIEW, epoch=4), ttl_s=5.0))
    assert scene.link.closed == {1: "the session runs under another epoch"}
    await until(lambda: scene.link.sent, "a picture")
    assert scene.link.numbers(2) == [6]
    assert scene.metric("genlock_preview_taps") == 1
