"""One session's preview at a gateway: asked for once whoever looks, followed when it moves, let go at the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from genlock_core.claims.facts import Claim
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.clock import ManualClock
from genlock_core.link.closure import CloseCause, Closure, LinkDown
from genlock_core.link.events import ChannelClosed, ChannelOpened, ChannelRefused, PictureReceived
from genlock_core.link.handshake import PeerTooOld
from genlock_core.link.messages import RefusalReason, Subscribe
from genlock_core.media import SourcePosition, StillPicture
from genlock_core.subscriptions.preview import PREVIEW_TTL_S
from genlock_gateway.preview import watch as watches
from genlock_gateway.preview.absence import NO_PICTURE, NOT_THERE, TOO_OLD, UNREACHABLE, WORKER_FULL, Absence
from genlock_gateway.preview.watch import RENEW_EVERY_S, PreviewWatch
from genlock_gateway.sessions.upstream.links import ChannelListener, Links

SESSION = "default/demo"


def claim(epoch: int, worker: str = "w0") -> Claim:
    return Claim(SESSION, epoch, WorkerIdentity(worker, "a"), f"{worker}:1", "local", 500)


def still(number: int) -> StillPicture:
    return StillPicture(b"picture %d" % number, SourcePosition(1, number))


class FakeConnection:
    def __init__(self) -> None:
        self.renewed: list[int] = []

    def renew(self, channel: int, *, ttl_s: float) -> bool:
        assert ttl_s == PREVIEW_TTL_S
        self.renewed.append(channel)
        return True


class FakeChannel:
    def __init__(self, number: int, claim: Claim) -> None:
        self.number = number
        self.claim = claim
        self.connection = FakeConnection()
        self.closed: str | None = None

    def close(self, reason: str) -> None:
        self.closed = self.closed or reason or "over"


class FakeLinks:
    """Gives channels at once, or when `go_on` is set; `failure` is raised instead."""

    def __init__(self) -> None:
        self.asked: list[tuple[Claim, Subscribe]] = []
        self.channels: list[FakeChannel] = []
        self.listeners: list[ChannelListener] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.failure: Exception | None = None

    async def subscribe(self, claim: Claim, request: Subscribe, listener: ChannelListener) -> FakeChannel:
        self.asked.append((claim, request))
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        channel = FakeChannel(len(self.channels) + 1, claim)
        self.channels.append(channel)
        self.listeners.append(listener)
        return channel

    def say(self, event: Any, *, channel: int = -1) -> None:
        self.listeners[channel](cast(Any, self.channels[channel]), event)

    def show(self, number: int, *, epoch: int, channel: int = -1) -> None:
        self.say(PictureReceived(self.channels[channel].number, SESSION, epoch, still(number)), channel=channel)


class Scene:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.links = FakeLinks()
        self.watch = PreviewWatch(claim(3), gateway="g0", links=cast(Links, self.links), clock=self.clock)

    async def ask(self, epoch: int = 3, worker: str = "w0") -> StillPicture | Absence | None:
        """Look, and let what that began go on as far as it can."""
        outcome = self.watch.ask(claim(epoch, worker))
        for _ in range(5):
            await asyncio.sleep(0)
        return outcome


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(watches, "WAIT_S", 0.02)
    made = Scene()
    yield made
    made.watch.close("the test is over")


async def test_the_first_look_subscribes_and_waits_for_the_first_picture(scene: Scene) -> None:
    assert await scene.ask() is None
    ((asked, request),) = scene.links.asked
    assert (asked, request.epoch, request.frames, request.subscriber) == (claim(3), 3, "generated", "g0")
    waiting = asyncio.create_task(scene.watch.wait())
    await asyncio.sleep(0)
    scene.links.say(ChannelOpened(1, SESSION, 3))
    scene.links.show(1, epoch=3)
    assert await waiting == still(1)


async def test_however_many_look_there_is_one_subscription(scene: Scene) -> None:
    for _ in range(50):
        await scene.ask()
    assert len(scene.links.asked) == 1
    scene.links.show(1, epoch=3)
    scene.links.show(2, epoch=3)
    assert await scene.ask() == still(2)


async def test_a_look_that_gets_no_picture_in_time_says_so(scene: Scene) -> None:
    await scene.ask()
    assert await scene.watch.wait() is NO_PICTURE


async def test_it_is_renewed_while_somebody_looks_and_no_more_often_than_needed(scene: Scene) -> None:
    await scene.ask()
    for _ in range(10):
        scene.clock.advance(RENEW_EVERY_S / 5)
        await scene.ask()
    assert scene.links.channels[0].connection.renewed == [1, 1]


async def test_it_follows_its_session_and_refuses_pictures_of_the_old_owner(scene: Scene) -> None:
    await scene.ask()
    scene.links.show(1, epoch=3)
    assert await scene.ask(4, "w1") is None, "what the old owner showed is not shown any more"
    assert scene.links.channels[0].closed == "the session has moved"
    assert [asked.worker.name for asked, _ in scene.links.asked] == ["w0", "w1"]
    scene.links.show(2, epoch=3, channel=0)
    scene.links.show(2, epoch=3)
    assert await scene.ask(4, "w1") is None
    scene.links.show(3, epoch=4)
    assert await scene.ask(4, "w1") == still(3)


async def test_a_claim_that_was_read_earlier_does_not_lead_it_back(scene: Scene) -> None:
    await scene.ask(5, "w1")
    scene.links.show(1, epoch=5)
    assert await scene.ask(3) == still(1)
    assert len(scene.links.asked) == 1


async def test_a_session_that_moves_while_its_worker_is_being_reached_is_asked_for_at_the_new_one(scene: Scene) -> None:
    scene.links.go_on.clear()
    await scene.ask()
    await scene.ask(4, "w1")
    scene.links.go_on.set()
    await scene.ask(4, "w1")
    assert [asked.worker.name for asked, _ in scene.links.asked] == ["w0", "w1"]
    assert [channel.closed for channel in scene.links.channels] == ["the session has moved", None]


@pytest.mark.parametrize(
    ("reason", "absence"),
    [
        (RefusalReason.NOT_OWNER, NOT_THERE),
        (RefusalReason.DRAINING, NOT_THERE),
        (RefusalReason.NO_SLOT, WORKER_FULL),
        (RefusalReason.NOT_SERVED, TOO_OLD),
    ],
)
async def test_a_refusal_is_remembered_for_its_time_and_then_asked_again(
    scene: Scene, reason: RefusalReason, absence: Absence
) -> None:
    await scene.ask()
    scene.links.say(ChannelRefused(1, SESSION, reason, "", 3))
    for _ in range(20):
        assert await scene.ask() is absence
    assert len(scene.links.asked) == 1
    scene.clock.advance(absence.retry_after_s)
    assert await scene.ask() is None
    assert len(scene.links.asked) == 2


async def test_a_new_owner_is_asked_at_once_whatever_the_old_one_refused(scene: Scene) -> None:
    scene.links.failure = PeerTooOld("w0 is old")
    await scene.ask()
    assert await scene.ask() is TOO_OLD
    scene.links.failure = None
    assert await scene.ask(4, "w1") is None
    scene.links.show(1, epoch=4)
    assert await scene.ask(4, "w1") == still(1)


async def test_a_worker_that_cannot_be_reached_is_no_picture(scene: Scene) -> None:
    scene.links.failure = LinkDown("w0:1", Closure(CloseCause.REFUSED, "nobody listens"))
    assert await scene.ask() is None
    assert await scene.watch.wait() is UNREACHABLE


async def test_a_link_that_breaks_takes_the_picture_with_it(scene: Scene) -> None:
    await scene.ask()
    scene.links.show(1, epoch=3)
    scene.links.say(LinkDown("w0:1", Closure(CloseCause.RESET, "")))
    assert await scene.ask() is UNREACHABLE


async def test_after_the_worker_has_closed_it_the_next_look_subscribes_again(scene: Scene) -> None:
    await scene.ask()
    scene.links.show(1, epoch=3)
    scene.links.say(ChannelClosed(1, SESSION, "nobody asked for more"))
    assert await scene.ask() is None, "the old picture is not shown for ever"
    assert len(scene.links.asked) == 2
    scene.links.show(2, epoch=3)
    assert await scene.ask() == still(2)


async def test_what_comes_on_a_channel_that_was_left_is_not_heard(scene: Scene) -> None:
    await scene.ask()
    scene.watch.close("nobody looks")
    assert scene.links.channels[0].closed == "nobody looks"
    scene.links.show(1, epoch=3, channel=0)
    assert await scene.ask() is None
