"""Previews of a whole worker: beside the viewers' frames, never in their way, and under the epoch that holds."""

import asyncio
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from genlock_core.claims.claims import MoveCause
from genlock_core.link.messages import LinkRole, RefusalReason
from genlock_core.subscriptions.preview import preview_of
from genlock_worker.intake.picture import Picture
from genlock_worker.preview import jpeg
from tests.core.link.old_peers import make_old
from tests.worker.gateway import FakeGateway, Viewer, until
from tests.worker.house import SESSION, House

PATTERN = {"type": "testPattern"}


async def watched(home: House, gateway: FakeGateway, name: str = "w0") -> Viewer:
    """A session on a new worker, with a viewer."""
    worker = await home.start_worker(name)
    await home.session(source=PATTERN)
    claim = await home.claims.claim(SESSION)
    viewer = await gateway.open(worker.address, SESSION, claim.epoch)
    await until(lambda: viewer.media, "a generated frame")
    return viewer


async def epoch_of(home: House) -> int:
    record = await home.claims.record(SESSION)
    assert record is not None
    return record.epoch


async def test_a_gateway_without_viewers_sees_what_another_one_shows(home: House, gateway: FakeGateway) -> None:
    viewer = await watched(home, gateway)
    (worker,) = home.workers
    second = FakeGateway("g1")
    try:
        wanted = preview_of(SESSION, epoch=await epoch_of(home), subscriber="g1")
        looking = await second.subscribe(worker.address, wanted)
        await until(lambda: len(looking.stills) >= 2, "two pictures")
        still = looking.stills[0]
        shown = cv2.imdecode(np.frombuffer(still.picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert shown.shape == (96, 128, 3)
        assert still.epoch == wanted.epoch
        assert {media.unit.capture_us for media in viewer.media} & {
            picture.picture.position.capture_us for picture in looking.stills
        }, "a preview shows a frame that viewers had"
        assert worker.agent._links()[SESSION] == ["g0"], "whoever only looks does not count as a gateway of the session"
    finally:
        await second.close()
    await until(lambda: not worker.previews._taps, "the tap's end with its only subscriber")


async def test_a_preview_claims_nothing(home: House, gateway: FakeGateway) -> None:
    worker = await home.start_worker("w0")
    await home.session(source=PATTERN)
    looking = await gateway.subscribe(worker.address, preview_of(SESSION, epoch=0, subscriber="g0"))
    assert looking.refused is not None
    assert looking.refused.reason is RefusalReason.NOT_OWNER
    record = await home.claims.record(SESSION)
    assert record is not None
    assert (record.epoch, record.owner) == (0, None)


async def test_a_preview_follows_its_session_to_the_new_worker(home: House, gateway: FakeGateway) -> None:
    await watched(home, gateway)
    before = await epoch_of(home)
    wanted = preview_of(SESSION, epoch=before, subscriber="g0")
    looking = await gateway.subscribe(home.workers[0].address, wanted)
    await until(lambda: looking.stills, "a picture of the old owner")

    other = await home.start_worker("w1")
    move = await home.claims.move(SESSION, expected_epoch=before, suspect="w0", cause=MoveCause.REQUESTED)
    await until(lambda: looking.closed, "the old owner's goodbye")
    again = await gateway.subscribe(home.workers[0].address, wanted)
    assert again.refused is not None, "a stale epoch is refused"
    assert again.refused.reason is RefusalReason.NOT_OWNER

    viewer = await gateway.open(other.address, SESSION, move.claim.epoch)
    await until(lambda: viewer.media, "a frame of the new owner")
    followed = await gateway.subscribe(other.address, wanted.following(move.claim.epoch))
    await until(lambda: followed.stills, "a picture of the new owner")
    assert {still.epoch for still in followed.stills} == {move.claim.epoch}


async def test_a_gateway_that_dies_takes_its_subscription_with_it(home: House, gateway: FakeGateway) -> None:
    viewer = await watched(home, gateway)
    (worker,) = home.workers
    second = FakeGateway("g1")
    looking = await second.subscribe(worker.address, preview_of(SESSION, epoch=await epoch_of(home), subscriber="g1"))
    second.link_of(looking)._writer.transport.abort()
    await until(lambda: not worker.previews._taps, "the tap's end")
    await second.close()
    count = len(viewer.media)
    await until(lambda: len(viewer.media) > count, "frames of the viewer that is left")


async def test_a_subscription_that_nobody_renews_ends_by_itself(home: House, gateway: FakeGateway) -> None:
    await watched(home, gateway)
    (worker,) = home.workers
    wanted = preview_of(SESSION, epoch=await epoch_of(home), subscriber="g0")
    looking = await gateway.subscribe(worker.address, wanted, ttl_s=0.2)
    await until(lambda: looking.closed, "the end of its time")
    assert looking.closed is not None
    assert looking.closed.reason == "nobody asked for more"


async def test_a_picture_that_takes_for_ever_stops_no_frame(
    home: House, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, go_on = threading.Event(), threading.Event()
    encode = jpeg.encode

    def hang(picture: Picture) -> bytes:
        stuck.set()
        go_on.wait(30)
        return encode(picture)

    monkeypatch.setattr(jpeg, "encode", hang)
    viewer = await watched(home, gateway)
    wanted = preview_of(SESSION, epoch=await epoch_of(home), subscriber="g0")
    try:
        looking = await gateway.subscribe(home.workers[0].address, wanted)
        await asyncio.to_thread(stuck.wait, 10)
        count = len(viewer.media)
        await until(lambda: len(viewer.media) >= count + 32, "two seconds of frames")
        assert looking.stills == []
    finally:
        go_on.set()


async def test_an_old_gateway_watches_as_ever(
    home: House, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(monkeypatch, LinkRole.GATEWAY)
    viewer = await watched(home, gateway)
    await until(lambda: len(viewer.media) >= 16 and viewer.reports, "a second of frames and a report")


async def test_a_session_whose_source_rests_shows_its_last_picture(home: House, gateway: FakeGateway) -> None:
    viewer = await watched(home, gateway)
    gateway.link_of(viewer).close_channel(viewer.channel, "nobody watches")
    wanted = preview_of(SESSION, epoch=await epoch_of(home), subscriber="g0")
    looking = await gateway.subscribe(home.workers[0].address, replace(wanted, rate=1.0))
    await until(lambda: looking.stills, "the last picture that there was")
