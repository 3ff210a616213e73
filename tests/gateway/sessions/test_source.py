"""The source of a session: whose pictures go to which workers, and the group of pictures that is kept for a new one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from genlock_core.bounds import OBJECT_BYTES, Holdings
from genlock_core.clock import ManualClock
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_core.metrics import GatewayMetrics
from genlock_gateway.access.limits import TokenBucket
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.sessions.audience import Audience, PeerResource
from genlock_gateway.sessions.source import GROUP_LIMIT, GroupOfPictures, SessionSource
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.mover import Epochs


def unit(at_ms: int, *, key: bool = False, size: int = 10, codec: Codec = Codec.H264) -> AccessUnit:
    return AccessUnit(codec, bytes(size), key, at_ms * 1000)


def test_it_holds_everything_since_the_last_key_frame() -> None:
    group = GroupOfPictures()
    for given_unit in (unit(0), unit(1, key=True), unit(2), unit(3, key=True), unit(4)):
        group.add(given_unit)
    assert group.units == (unit(3, key=True), unit(4))


def test_a_group_that_outgrows_its_bytes_is_dropped_whole_and_a_key_frame_wanted() -> None:
    group = GroupOfPictures(limit=replace(GROUP_LIMIT, at_most=3 * (10 + OBJECT_BYTES)))
    for at in range(4):
        group.add(unit(at, key=at == 0))
    assert group.units == ()
    assert group.wants_key_frame


def test_a_publisher_with_a_key_frame_every_ten_seconds_is_kept_whole() -> None:
    group = GroupOfPictures()
    for number in range(300):
        group.add(unit(number * 33, key=number == 0, size=4_000))
    assert len(group.units) == 300


def test_units_of_another_codec_or_from_the_past_end_the_group() -> None:
    for other in (unit(1_005, codec=Codec.VP8), unit(400)):
        group = GroupOfPictures()
        group.add(unit(1_000, key=True))
        group.add(other)
        assert group.units == ()


def test_pictures_that_are_shown_before_the_one_decoded_before_them_stay_in_the_group() -> None:
    group = GroupOfPictures()
    reordered = (unit(1_000, key=True), unit(900), unit(1_100), unit(1_033), unit(1_066))
    for given_unit in reordered:
        group.add(given_unit)
    assert group.units == reordered


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(-50, 900)), max_size=80),
    st.integers(0, 10_000),
    st.floats(0.1, 5),
)
def test_it_is_empty_or_starts_with_a_key_frame_and_never_over_its_bounds(
    given_units: list[tuple[bool, int, int]], max_bytes: int, max_seconds: float
) -> None:
    group, at_ms = GroupOfPictures(limit=replace(GROUP_LIMIT, at_most=max_bytes), max_seconds=max_seconds), 0
    for key, size, step_ms in given_units:
        at_ms += step_ms
        group.add(unit(at_ms, key=key, size=size))
        assert sum(len(held.data) + OBJECT_BYTES for held in group.units) <= max_bytes
        if group.units:
            assert [held.key_frame for held in group.units] == [True] + [False] * (len(group.units) - 1)
            assert group.units[-1].capture_us - group.units[0].capture_us <= max_seconds * 1e6


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
