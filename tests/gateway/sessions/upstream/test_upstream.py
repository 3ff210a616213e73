"""The current epoch of a session has one owner, the upstream; frames of any other epoch go nowhere."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.claims.facts import Claim, MoveCause
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.silence import Rhythm, Silence
from genlock_core.clock import ManualClock
from genlock_core.link.events import ChannelClosed, ChannelOpened, ChannelRefused, MediaReceived, StatsReceived
from genlock_core.link.messages import Open, RefusalReason
from genlock_core.media import AccessUnit, Codec
from genlock_core.metrics import GatewayMetrics
from genlock_core.slo.stages import StageTimes
from genlock_gateway.sessions.upstream.links import ChannelListener, FrameReceiver, WorkerChannel
from genlock_gateway.sessions.upstream.mover import SILENCE_S, Epochs, MoveStage, backoff_s
from genlock_gateway.sessions.upstream.shared_parts import SharedParts
from genlock_gateway.sessions.upstream.upstream import Upstream


def claim(epoch: int) -> Claim:
    return Claim("default/demo", epoch, WorkerIdentity(f"w{epoch}", "1"), "127.0.0.1:1", "local", 500)


@dataclass(eq=False)
class Channel:
    """A channel that opens when the test says so; `silence` is what is heard of its worker."""

    claim: Claim
    listener: ChannelListener
    frames: FrameReceiver
    silence: Silence = field(default_factory=lambda: Silence(0.0))
    closed: list[str] = field(default_factory=list)
    connection: Any = field(default_factory=lambda: SimpleNamespace(closed=SimpleNamespace(done=lambda: False)))

    @property
    def epoch(self) -> int:
        return self.claim.epoch

    def close(self, reason: str) -> None:
        self.closed.append(reason)

    def accept(self) -> None:
        self.listener(cast(WorkerChannel, self), ChannelOpened(1, self.claim.session, self.epoch))

    def send(self) -> None:
        unit = AccessUnit(Codec.VP8, b"\x00", key_frame=True, capture_us=1)
        media = MediaReceived(1, self.claim.session, self.epoch, unit, run=1, sequence=0, stages=StageTimes())
        if not self.closed:
            self.frames.receive(cast(WorkerChannel, self), media)


class Links:
    """Every claim's worker answers."""

    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}

    async def open(self, claim: Claim, request: Open, listener: ChannelListener, *, frames: FrameReceiver) -> Channel:
        channel = self.channels[claim.epoch] = Channel(claim, listener, frames)
        return channel

    def rhythm(self, worker: WorkerIdentity) -> Rhythm:
        return Rhythm()


class Stream:
    """The stream and its output: keeps the epochs of the frames that come."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.moved: list[bool] = []

    def open_request(self, claim: Claim) -> Open:
        return Open(session=claim.session, epoch=claim.epoch, gateway="g0")

    def opened(self, channel: WorkerChannel, *, moved: bool, restore_ms: int | None) -> None:
        self.moved.append(moved)

    def receive(self, channel: WorkerChannel, media: MediaReceived) -> None:
        self.frames.append(media.epoch)

    def key_frame_wanted(self) -> None: ...
    def reported(self, channel: WorkerChannel, stats: StatsReceived) -> None: ...
    def moving(self, cause: MoveCause) -> None: ...
    def changed(self) -> None: ...
    def refresh(self) -> None: ...


@pytest.fixture
def links() -> Links:
    return Links()


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def upstream(links: Links, stream: Stream) -> Upstream:
    shared = SharedParts(
        gateway="g0",
        claims=cast(Any, None),
        links=cast(Any, links),
        clock=ManualClock(),
        metrics=GatewayMetrics(CollectorRegistry()),
        jitter=random.Random(1),
        may_start_again=True,
    )
    return Upstream("default/demo", stream=stream, output=stream, shared=shared)


async def wanted(upstream: Upstream, links: Links, epoch: int) -> Channel:
    """The session is claimed under `epoch`; its channel, which is not open yet."""
    upstream.want(claim(epoch))
    async with asyncio.timeout(5):
        while epoch not in links.channels or upstream.channel is not cast(Any, links.channels[epoch]):
            await asyncio.sleep(0)
    return links.channels[epoch]


async def test_the_current_epoch_is_that_of_the_claim(upstream: Upstream, links: Links, stream: Stream) -> None:
    assert upstream.epochs == Epochs(0)
    channel = await wanted(upstream, links, 7)
    channel.accept()
    channel.send()
    assert upstream.epochs == Epochs(7)
    assert (stream.frames, stream.moved) == ([7], [False])


async def test_a_worker_that_makes_progress_is_the_leaving_one_of_a_newer_epoch(
    upstream: Upstream, links: Links, stream: Stream
) -> None:
    first = await wanted(upstream, links, 7)
    first.accept()
    second = await wanted(upstream, links, 8)
    assert upstream.epochs == Epochs(8, leaving=7)
    first.send()
    second.accept()
    second.send()
    assert (stream.frames, stream.moved) == ([7, 8], [False, True])
    upstream.close_leaving()
    assert upstream.epochs == Epochs(8)
    first.send()
    assert stream.frames == [7, 8], "the epoch that was left is stale"


async def test_no_frame_of_the_leaving_worker_is_refused_between_the_claim_and_the_opening(
    upstream: Upstream, links: Links
) -> None:
    (await wanted(upstream, links, 7)).accept()
    upstream.want(claim(8))
    assert upstream.epochs == Epochs(8, leaving=7), "frames may come before anything else runs"


async def test_frames_of_a_worker_that_was_left_in_silence_are_stale(
    upstream: Upstream, links: Links, stream: Stream
) -> None:
    first = await wanted(upstream, links, 7)
    first.accept()
    first.silence = Silence(SILENCE_S)
    second = await wanted(upstream, links, 8)
    assert upstream.epochs == Epochs(8)
    assert first.closed
    first.send()
    assert stream.frames == []
    second.accept()
    second.send()
    assert stream.frames == [8]


async def test_an_older_claim_never_comes_back(upstream: Upstream, links: Links, stream: Stream) -> None:
    (await wanted(upstream, links, 7)).accept()
    upstream.want(claim(6))
    await asyncio.sleep(0)
    assert upstream.epochs == Epochs(7)
    assert 6 not in links.channels
    assert stream.moved == [False]


async def test_a_channel_that_opens_again_under_the_same_claim_is_no_move(
    upstream: Upstream, links: Links, stream: Stream
) -> None:
    channel = await wanted(upstream, links, 7)
    channel.accept()
    channel.accept()
    assert stream.moved == [False, False]


@pytest.mark.parametrize("draw", [0.75, 1.25])
def test_room_is_asked_for_again_when_redis_says_or_sooner_each_gateway_at_another_moment(
    upstream: Upstream, draw: float
) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return draw

    upstream._shared = replace(upstream._shared, jitter=cast(Any, SimpleNamespace(uniform=uniform)))
    soon_s = backoff_s(0)
    assert upstream._retry_s(60.0) == soon_s * draw
    assert upstream._retry_s(soon_s / 2) == soon_s / 2 * draw
    assert drawn == [(0.75, 1.25)] * 2


async def test_a_channel_that_the_worker_closed_is_closed_here_without_a_word(upstream: Upstream, links: Links) -> None:
    upstream.want(claim(1))
    await asyncio.sleep(0)
    channel = links.channels[1]
    channel.accept()
    channel.listener(cast(WorkerChannel, channel), ChannelClosed(1, "default/demo", "it was withdrawn"))
    assert channel.closed == [""]
    assert upstream.channel is None
    upstream.close("the test is over")


@pytest.mark.parametrize("known", [0, 1, 2])
async def test_a_channel_that_is_refused_is_closed_and_a_newer_epoch_is_read_from_the_record(
    upstream: Upstream, links: Links, stream: Stream, monkeypatch: pytest.MonkeyPatch, known: int
) -> None:
    read: list[int] = []
    monkeypatch.setattr(stream, "refresh", lambda: read.append(known), raising=True)
    upstream.want(claim(1))
    await asyncio.sleep(0)
    channel = links.channels[1]
    refusal = ChannelRefused(1, "default/demo", RefusalReason.NOT_OWNER, "another worker has it", known)
    channel.listener(cast(WorkerChannel, channel), refusal)
    assert channel.closed == [""]
    assert upstream.channel is None
    assert upstream.situation.stage is MoveStage.REFUSED
    assert read == ([2] if known == 2 else [])
    upstream.close("the test is over")
