"""A session whose orientation is auto: each publication's first picture turns it, and nothing else does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from genlock_core.claims.claims import MoveCause
from genlock_core.link.messages import After
from genlock_core.media import Codec
from genlock_core.spec.session import Orientation
from genlock_worker.output.encode import EncoderSettings, open_encoder
from tests.worker.gateway import FakeGateway, Publisher, Viewer, until
from tests.worker.house import SESSION, House, kill


@asynccontextmanager
async def publishing(width: int, height: int, *, run: int = 1) -> AsyncIterator[Publisher]:
    publisher = Publisher(width=width, height=height, run=run)
    try:
        yield publisher
    finally:
        await publisher.stop()


def shapes(viewer: Viewer) -> list[tuple[int, int]]:
    """Width and height of the pictures, without repetition."""
    sizes = [picture.shape[1::-1] for picture in viewer.pictures]
    return [size for place, size in enumerate(sizes) if place == 0 or size != sizes[place - 1]]


async def opened(home: House, gateway: FakeGateway) -> Viewer:
    await home.session(orientation="auto")
    claim = await home.claims.claim(SESSION)
    return await gateway.open(claim.address, SESSION, claim.epoch, publisher=True)


async def orientation(home: House) -> tuple[Orientation | None, int]:
    record = await home.claims.record(SESSION)
    assert record is not None
    return record.orientation, record.orientation_run


async def test_an_upright_camera_turns_the_session_and_loses_nothing(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    viewer = await opened(home, gateway)
    async with publishing(96, 160) as publisher:
        publisher.aim(gateway.link_of(viewer), viewer.channel)
        await until(lambda: len(viewer.pictures) > 12 and viewer.reports, "pictures")
    assert shapes(viewer) == [(96, 128)], "it is made upright from its first picture on"
    assert await orientation(home) == (Orientation.PORTRAIT, 1)
    assert viewer.media[0].unit.capture_us == 0 or viewer.media[0].unit.key_frame
    report = viewer.reports[-1]
    assert report.dropped_input == 0
    batch = worker.engine_loop.sessions[f"{SESSION}@{viewer.media[0].epoch}"].rows.shape(1)
    assert (batch.width, batch.height) == (96, 128), "rows of it share forwards with upright ones alone"


async def test_a_camera_that_is_turned_later_is_shown_whole_between_bars(home: House, gateway: FakeGateway) -> None:
    await home.start_worker("w0")
    viewer = await opened(home, gateway)
    async with publishing(160, 96) as publisher:
        publisher.aim(gateway.link_of(viewer), viewer.channel)
        await until(lambda: len(viewer.pictures) > 6, "pictures")
        turn(publisher, 96, 160)
        before = len(viewer.pictures)
        await until(lambda: len(viewer.pictures) > before + 12, "pictures of the turned camera")
    assert shapes(viewer) == [(128, 96)]
    assert await orientation(home) == (Orientation.LANDSCAPE, 1)
    epochs = {media.epoch for media in viewer.media}
    assert len(epochs) == 1
    captured = [media.unit.capture_us for media in viewer.media]
    assert captured == sorted(set(captured)), "no picture is lost to a reset, none comes twice"


async def test_the_next_publication_may_turn_it_and_then_it_begins_anew(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    viewer = await opened(home, gateway)
    async with publishing(160, 96) as publisher:
        publisher.aim(gateway.link_of(viewer), viewer.channel)
        await until(lambda: worker.agent.sessions[SESSION].figures.chunk > 3, "chunks")
    async with publishing(96, 160, run=2) as publisher:
        publisher.aim(gateway.link_of(viewer), viewer.channel)
        await until(lambda: shapes(viewer)[-1] == (96, 128), "upright pictures")
        await until(lambda: 0 < worker.agent.sessions[SESSION].figures.chunk < 4, "its first chunks once more")
        turned_at = next(i for i, picture in enumerate(viewer.pictures) if picture.shape[1] == 96)
        assert viewer.media[turned_at].unit.key_frame
    assert shapes(viewer) == [(128, 96), (96, 128)]
    assert await orientation(home) == (Orientation.PORTRAIT, 2)


async def test_a_successor_goes_on_upright_from_what_was_stored(home: House, gateway: FakeGateway) -> None:
    first, second = await home.start_worker("w0"), await home.start_worker("w1")
    viewer = await opened(home, gateway)
    claim = await home.claims.claim(SESSION)
    one, other = (first, second) if claim.worker.name == "w0" else (second, first)
    async with publishing(96, 160) as publisher:
        publisher.aim(gateway.link_of(viewer), viewer.channel)
        await until(lambda: one.agent.sessions[SESSION].figures.chunk > 4, "chunks")
        await one.agent.sessions[SESSION].flush()
        await kill(one)
        home.workers.remove(one)
        last = viewer.media[-1]
        move = await home.claims.move(
            SESSION, expected_epoch=claim.epoch, suspect=claim.worker.name, cause=MoveCause.REFUSED
        )
        after = After(run=last.run, capture_us=last.unit.capture_us)
        moved = await gateway.open(other.address, SESSION, move.claim.epoch, publisher=True, after=after)
        publisher.aim(gateway.link_of(moved), moved.channel)
        await until(lambda: len(moved.pictures) > 8, "pictures of the successor")
    assert shapes(moved) == [(96, 128)]
    live = other.agent.sessions[SESSION]
    assert live.figures.restored, "it goes on; it does not begin anew"
    assert live.figures.chunk > 4


async def test_a_manifest_that_does_not_say_auto_is_not_turned(home: House, gateway: FakeGateway) -> None:
    await home.start_worker("w0")
    await home.session(fit="fit")
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(claim.address, SESSION, claim.epoch, publisher=True)
    async with publishing(96, 160) as publisher:
        publisher.aim(gateway.link_of(viewer), viewer.channel)
        await until(lambda: len(viewer.pictures) > 8, "pictures")
    assert shapes(viewer) == [(128, 96)]
    assert await orientation(home) == (None, 0)


def turn(publisher: Publisher, width: int, height: int) -> None:
    """The camera is turned: the next picture has another size, and begins with a key frame."""
    publisher.size = (width, height)
    publisher._encoder = open_encoder(Codec.H264, EncoderSettings(width, height, 16, 1_000_000))
    publisher.force_key_frame()
