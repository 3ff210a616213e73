"""The source of a session: whose pictures go to which workers, and what a new one gets of those that came before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.bounds import Holdings
from genlock_core.clock import ManualClock
from genlock_core.media import AccessUnit, Codec, SourcePosition, Trouble
from genlock_core.metrics import GatewayMetrics
from genlock_gateway.access.limits import TokenBucket
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.sessions.audience import Audience, PeerResource
from genlock_gateway.sessions.source import SessionSource
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.mover import Epochs


def unit(at_ms: int, *, key: bool = False, size: int = 10, codec: Codec = Codec.H264) -> AccessUnit:
    return AccessUnit(codec, bytes(size), key, at_ms * 1000)


class Camera(IngestPeer):
    """A publisher without a connection, which counts the key frames that it is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.holdings = Holdings()
        self.in_trouble: Trouble | None = None

    @property
    def trouble(self) -> Trouble | None:
        return self.in_trouble

    def request_key_frame(self) -> None:
        self.asked += 1

    def resource(self, run: int) -> PeerResource:
        bucket = TokenBucket(rate_per_s=1, burst=1, now_s=0)
        return PeerResource(id="a", kind="whip", peer=self, etag="", may_control=True, messages=bucket, run=run)


@dataclass(eq=False)
class Channel:
    """A worker's channel, which is its own connection and keeps what is sent."""

    number: int = 1
    units: list[tuple[AccessUnit, int]] = field(default_factory=list)
    replayed: list[tuple[AccessUnit, int]] = field(default_factory=list)
    sources: list[tuple[bool, int]] = field(default_factory=list)

    @property
    def connection(self) -> "Channel":
        return self

    def send_media(self, _: int, given_unit: AccessUnit, *, run: int, replay: bool = False, stages: Any = None) -> None:
        (self.replayed if replay else self.units).append((given_unit, run))

    def send_source(self, _: int, *, present: bool, run: int) -> None:
        self.sources.append((present, run))


class Scene:
    """A session's source with fakes around it: `serving` and `leaving` are the workers' channels."""

    def __init__(self) -> None:
        self.audience = Audience()
        self.metrics = GatewayMetrics(CollectorRegistry())
        self.stats = stats = SessionStats("default/demo", frame_rate=16, clock=ManualClock(), metrics=self.metrics)
        self.serving: Channel | None = None
        self.leaving: Channel | None = None
        self.epochs = Epochs(8, leaving=7)
        self.successor_shown = False
        self.last_shown: SourcePosition | None = None
        here = cast(Any, self)
        self.source = SessionSource(
            audience=self.audience, output=here, upstream=here, stats=stats, metrics=self.metrics
        )

    def feeds_leaving(self, epochs: Epochs) -> bool:
        return not self.successor_shown

    def publish(self, run: int) -> Camera:
        camera = Camera()
        self.audience.publisher = camera.resource(run)
        self.source.began(run)
        return camera

    def dropped(self) -> float | None:
        return self.metrics.registry.get_sample_value("genlock_gateway_frames_dropped_total", {"reason": "no-worker"})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_units_of_a_publisher_that_was_taken_over_from_go_nowhere(scene: Scene) -> None:
    scene.serving = channel = Channel()
    first, second = scene.publish(1), scene.publish(2)
    scene.source.access_unit(first, unit(0, key=True))
    scene.source.access_unit(second, unit(1, key=True))
    assert channel.units == [(unit(1, key=True), 2)]
    assert channel.sources == [(True, 1), (True, 2)]


def test_the_leaving_worker_gets_the_source_until_its_successors_picture_is_shown(scene: Scene) -> None:
    scene.serving, scene.leaving = new, old = Channel(), Channel()
    camera = scene.publish(1)
    scene.source.access_unit(camera, unit(0, key=True))
    scene.successor_shown = True
    scene.source.access_unit(camera, unit(1))
    assert [len(channel.units) for channel in (new, old)] == [2, 1]
    assert old.sources == [], "the leaving worker knows its source"


def test_a_unit_that_no_worker_needs_is_counted(scene: Scene) -> None:
    scene.source.access_unit(scene.publish(1), unit(0, key=True))
    assert scene.dropped() == 1


def test_a_worker_that_opens_gets_the_publication_and_its_group_and_a_key_frame_soon(scene: Scene) -> None:
    camera = scene.publish(3)
    group: Sequence[AccessUnit] = (unit(0, key=True), unit(1))
    for given_unit in group:
        scene.source.access_unit(camera, given_unit)
    channel = Channel()
    scene.source.replay(cast(Any, channel))
    assert channel.sources == [(True, 3)]
    assert channel.replayed == [(given_unit, 3) for given_unit in group]
    assert camera.asked == 1


@pytest.mark.parametrize(
    ("shown", "begins_ms"),
    [
        pytest.param(SourcePosition(3, 1_050_000), 1_000, id="the key frame before it is the start"),
        pytest.param(SourcePosition(3, 2_010_000), 2_000, id="the newest one, where viewers are past it"),
        pytest.param(SourcePosition(2, 1_050_000), 2_000, id="nothing is shown of this publication"),
        pytest.param(None, 2_000, id="nothing is shown"),
    ],
)
def test_a_successor_goes_on_where_viewers_are_also_where_a_key_frame_came_meanwhile(
    scene: Scene, shown: SourcePosition | None, begins_ms: int
) -> None:
    camera, channel = scene.publish(3), Channel()
    for at_ms in range(1_000, 2_200, 50):
        scene.source.access_unit(camera, unit(at_ms, key=at_ms % 1_000 == 0))
    scene.last_shown = shown
    scene.source.replay(cast(Any, channel))
    assert [one.capture_us for one, _ in channel.replayed] == [ms * 1_000 for ms in range(begins_ms, 2_200, 50)]


def test_a_group_ends_with_its_publication(scene: Scene) -> None:
    scene.source.access_unit(scene.publish(1), unit(0, key=True))
    scene.publish(2)
    channel = Channel()
    scene.source.replay(cast(Any, channel))
    assert (channel.sources, channel.replayed) == ([(True, 2)], [])


def test_without_a_key_frame_to_begin_with_one_is_asked_for(scene: Scene) -> None:
    camera = scene.publish(1)
    scene.source.access_unit(camera, unit(0))
    assert camera.asked == 1
    scene.source.access_unit(camera, unit(1, key=True))
    assert camera.asked == 1


def test_a_publisher_that_goes_is_told_to_the_worker_and_nothing_is_asked_of_it(scene: Scene) -> None:
    scene.serving = channel = Channel()
    camera = scene.publish(1)
    scene.audience.publisher = None
    scene.source.ended(1)
    scene.source.request_key_frame()
    scene.source.announce()
    assert channel.sources == [(True, 1), (False, 1)]
    assert (camera.asked, scene.source.figures) == (0, None)


def unusable(scene: Scene, trouble: Trouble) -> float | None:
    return scene.metrics.registry.get_sample_value(
        "genlock_gateway_unusable_publications_total", {"reason": trouble.value}
    )


def test_the_trouble_of_a_publication_is_told_once_and_its_end_too(scene: Scene) -> None:
    camera = scene.publish(1)
    scene.audience.state_changed = False
    scene.source.tick()
    assert (scene.source.trouble, scene.audience.state_changed) == (None, False)

    camera.in_trouble = Trouble.NO_KEY_FRAME
    scene.source.tick()
    assert (scene.source.trouble, scene.audience.state_changed) == (Trouble.NO_KEY_FRAME, True)
    scene.audience.state_changed = False
    scene.source.tick()
    assert not scene.audience.state_changed
    assert unusable(scene, Trouble.NO_KEY_FRAME) == 1

    camera.in_trouble = None
    scene.source.tick()
    assert (scene.source.trouble, scene.audience.state_changed) == (None, True)


def test_the_workers_word_is_told_where_the_gateway_knows_of_none(scene: Scene) -> None:
    camera = scene.publish(1)
    scene.stats.reported({"trouble": "undecodable"})
    scene.source.tick()
    told = [scene.source.trouble]
    camera.in_trouble = Trouble.NO_KEY_FRAME
    scene.source.tick()
    told.append(scene.source.trouble)

    camera.in_trouble = None
    scene.stats.reported({"trouble": "a word of a newer release"})
    scene.source.tick()
    told.append(scene.source.trouble)
    assert told == [Trouble.UNDECODABLE, Trouble.NO_KEY_FRAME, None]


def test_trouble_goes_with_its_publication(scene: Scene) -> None:
    camera = scene.publish(1)
    camera.in_trouble = Trouble.UNSUPPORTED_PROFILE
    scene.source.tick()
    scene.audience.publisher = None
    scene.source.ended(1)
    scene.source.tick()
    assert scene.source.trouble is None
