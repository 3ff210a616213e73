"""One tap for each session: a picture a second, encoded once, for whoever is still there."""

import asyncio
from dataclasses import replace

import pytest

from genlock_core.clock import ManualClock
from genlock_worker.intake.picture import Picture
from genlock_worker.preview import tap as taps
from genlock_worker.preview.jpeg import PreviewFailure
from genlock_worker.preview.picture_channel import PictureChannel
from genlock_worker.preview.tap import Tap
from tests.worker.preview.previewed import PREVIEW, FakeLink, FakeSession


class Encoder:
    """Counts what it is asked to encode; `hold` makes it take its time, `broken` fail."""

    def __init__(self) -> None:
        self.encoded: list[int] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.broken = False

    async def __call__(self, picture: Picture) -> bytes:
        self.encoded.append(int(picture[0, 0, 0]))
        await self.go_on.wait()
        if self.broken:
            raise PreviewFailure("no JPEG")
        return b"jpeg %d" % picture[0, 0, 0]


class Scene:
    """A tap of one session with subscribers on one link."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.session = FakeSession()
        self.link = FakeLink()
        self.encoder = Encoder()
        self.tap = Tap(self.session, clock=self.clock, encode=self.encoder)

    def subscribe(self, number: int, *, rate: float = 1.0, ttl_s: float = 60.0) -> PictureChannel:
        channel = PictureChannel(self.link, number)
        self.tap.subscribe(channel, replace(PREVIEW, rate=rate), ttl_s=ttl_s)
        return channel

    async def seconds(self, count: int, *, showing: int | None = None) -> None:
        """Let time pass, a new picture in every second if there is a first one."""
        for second in range(count):
            if showing is not None:
                self.session.show(showing + second)
            await self.tap.step()
            self.clock.advance(1.0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_one_picture_a_second_is_encoded_once_for_all(scene: Scene) -> None:
    for number in (1, 2, 3):
        scene.subscribe(number)
    await scene.seconds(4, showing=10)
    assert scene.encoder.encoded == [10, 11, 12, 13]
    assert [scene.link.numbers(number) for number in (1, 2, 3)] == [[10, 11, 12, 13]] * 3


async def test_a_picture_that_does_not_change_is_neither_encoded_nor_sent_again(scene: Scene) -> None:
    scene.subscribe(1)
    scene.session.show(5)
    await scene.seconds(10)
    assert scene.encoder.encoded == [5]
    assert scene.link.numbers(1) == [5]


async def test_whoever_comes_later_has_the_picture_that_is_there_at_once(scene: Scene) -> None:
    scene.subscribe(1)
    await scene.seconds(1, showing=5)
    scene.subscribe(2)
    assert scene.link.numbers(2) == [5]
    assert scene.encoder.encoded == [5]


async def test_whoever_wants_less_gets_less(scene: Scene) -> None:
    scene.subscribe(1)
    scene.subscribe(2, rate=0.25)
    await scene.seconds(9, showing=0)
    assert scene.link.numbers(1) == list(range(9))
    assert scene.link.numbers(2) == [0, 4, 8]


async def test_before_the_first_picture_there_is_nothing_to_send(scene: Scene) -> None:
    scene.subscribe(1)
    await scene.seconds(3)
    assert scene.link.sent == []
    assert scene.tap.is_watched


async def test_a_dead_subscriber_ends_by_itself_and_takes_nobody_with_it(scene: Scene) -> None:
    scene.subscribe(1, ttl_s=3.0)
    alive = scene.subscribe(2, ttl_s=3.0)
    for second in range(6):
        scene.tap.renew(alive, ttl_s=3.0)
        await scene.seconds(1, showing=second)
    assert scene.link.numbers(1) == [0, 1, 2]
    assert scene.link.closed == {1: "nobody asked for more"}
    assert scene.link.numbers(2) == [0, 1, 2, 3, 4, 5]


async def test_a_session_that_moved_tells_its_subscribers_and_shows_nothing_more(scene: Scene) -> None:
    scene.subscribe(1)
    await scene.seconds(2, showing=0)
    scene.session.is_owned = False
    await scene.seconds(2, showing=7)
    assert scene.link.numbers(1) == [0, 1]
    assert scene.link.closed == {1: "the session has left this worker"}
    assert not scene.tap.is_watched
    assert scene.encoder.encoded == [0, 1]


async def test_a_picture_whose_session_leaves_while_it_is_encoded_is_not_sent(scene: Scene) -> None:
    scene.subscribe(1)
    scene.session.show(1)
    scene.encoder.go_on.clear()
    step = asyncio.create_task(scene.tap.step())
    await asyncio.sleep(0)
    assert scene.encoder.encoded == [1]
    scene.session.is_owned = False
    scene.encoder.go_on.set()
    await step
    assert scene.link.sent == []


async def test_a_subscriber_that_leaves_while_its_picture_is_encoded_gets_none(scene: Scene) -> None:
    channel = scene.subscribe(1)
    scene.session.show(1)
    scene.encoder.go_on.clear()
    step = asyncio.create_task(scene.tap.step())
    await asyncio.sleep(0)
    scene.tap.unsubscribe(channel)
    scene.encoder.go_on.set()
    await step
    assert scene.link.sent == []


async def test_a_picture_that_cannot_be_encoded_is_left_out(scene: Scene) -> None:
    scene.subscribe(1)
    scene.encoder.broken = True
    await scene.seconds(1, showing=1)
    scene.encoder.broken = False
    await scene.seconds(1, showing=2)
    assert scene.link.numbers(1) == [2]


async def test_it_runs_until_nobody_is_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "PREVIEW_RATE", 1_000.0)
    channel = scene.subscribe(1)
    scene.session.show(1)
    running = asyncio.create_task(scene.tap.run())
    async with asyncio.timeout(10):
        while not scene.link.sent:
            await asyncio.sleep(0)
        assert not running.done()
        scene.tap.unsubscribe(channel)
        await running


async def test_it_has_room_for_so_many(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "MAX_SUBSCRIBERS", 2)
    scene.tap = Tap(scene.session, clock=scene.clock, encode=scene.encoder)
    scene.subscribe(1)
    assert scene.tap.has_room
    scene.subscribe(2)
    assert not scene.tap.has_room
