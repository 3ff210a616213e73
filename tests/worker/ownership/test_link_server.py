"""What a gateway is answered over its link: channels opened or refused with the reason, and each word handed on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.errors import StaleEpoch
from genlock_core.link import events as said
from genlock_core.link.connection import LinkConnection
from genlock_core.link.frames import Track
from genlock_core.link.messages import After, LinkRole, Open, RefusalReason, Subscribe
from genlock_core.media import Codec, SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.tasks import end_tasks
from genlock_core.subscriptions.preview import preview_of
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.output.gateway_channel import ChannelRefusal, GatewayChannel
from genlock_worker.ownership.link_server import GatewayLink
from genlock_worker.preview.picture_channel import PictureChannel
from genlock_worker.preview.taps import PreviewTaps
from genlock_worker.session.live_session import LiveSession, State
from tests.worker.gateway import until

SESSION = "default/demo"
EPOCH = 3
OPEN = Open(
    session=SESSION, epoch=EPOCH, gateway="g0", publisher=True, codecs=("vp8",), after=After(run=1, capture_us=500)
)


@dataclass(eq=False)
class FakeConnection:
    """A link whose other end is the test: it says events, and reads what was answered."""

    peer: said.LinkIdentity = field(default_factory=lambda: said.LinkIdentity(LinkRole.GATEWAY, "g0", "g0-1"))
    is_up: bool = True
    accepted: list[tuple[int, int]] = field(default_factory=list)
    refused: list[tuple[int, RefusalReason, str, int]] = field(default_factory=list)
    receivers: dict[int, Callable[[said.MediaReceived], None]] = field(default_factory=dict)
    queue: "asyncio.Queue[said.Event | None]" = field(default_factory=asyncio.Queue)

    async def events(self) -> AsyncIterator[said.Event]:
        while (event := await self.queue.get()) is not None:
            yield event

    def accept(self, channel: int, epoch: int, *, restore_ms: int | None = None) -> bool:
        self.accepted.append((channel, epoch))
        return self.is_up

    def refuse(self, channel: int, reason: RefusalReason, message: str = "", *, epoch: int = 0) -> bool:
        self.refused.append((channel, reason, message, epoch))
        return self.is_up

    def deliver_media(self, channel: int, receive: Callable[[said.MediaReceived], None]) -> None:
        self.receivers[channel] = receive


@dataclass(eq=False)
class FakeSession:
    """Stands for a live session and for each of its parts: `heard` is what came to it."""

    opened: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    state: State = State.RUNNING
    epoch: int = EPOCH
    attached: list[GatewayChannel] = field(default_factory=list)
    shown_until: list[SourcePosition | None] = field(default_factory=list)
    heard: list[object] = field(default_factory=list)
    has_publisher: bool = True
    restore_ms: int = 40

    @property
    def intake(self) -> "FakeSession":
        return self

    output = control = intake

    @property
    def publisher(self) -> "FakeSession | None":
        return self if self.has_publisher else None

    def attach(self, channel: GatewayChannel, *, after: SourcePosition | None) -> None:
        self.attached.append(channel)
        self.shown_until.append(after)

    def detach(self, channel: GatewayChannel) -> None:
        self.attached.remove(channel)

    def resume(self, channel: GatewayChannel, codec: Codec, *, after: SourcePosition) -> None:
        self.heard.append(("resume", channel.number, codec, after))

    def ask_idr(self, codec: Codec) -> None:
        self.heard.append(("key frame", codec))

    def set_codecs(self, channel: GatewayChannel, codecs: frozenset[Codec]) -> None:
        self.heard.append(("codecs", channel.number, codecs))

    def nudge(self) -> None:
        self.heard.append("nudge")

    def gap(self, channel: GatewayChannel, codec: Codec) -> None:
        self.heard.append(("gap", channel.number, codec))

    def receive(self, channel: GatewayChannel, media: object) -> None:
        self.heard.append(("media", channel.number, media))


@dataclass(eq=False)
class FakePreviews:
    """Writes down what was asked, and by whom."""

    asked: list[tuple[object, ...]] = field(default_factory=list)

    def subscribe(self, channel: PictureChannel, request: Subscribe) -> None:
        self.asked.append(("subscribe", channel, request))

    def renew(self, channel: PictureChannel, *, ttl_s: float) -> None:
        self.asked.append(("renew", channel, ttl_s))

    def unsubscribe(self, channel: PictureChannel) -> None:
        self.asked.append(("unsubscribe", channel))

    def forget(self, link: object) -> None:
        self.asked.append(("forget", link))


class Room:
    """One link under test, with the session that the worker has, or the error with which it is looked for."""

    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.previews = FakePreviews()
        self.session = FakeSession()
        self.error: Exception | None = None
        self.looked_for: list[tuple[str, int]] = []
        self.registry = CollectorRegistry()
        self.link = GatewayLink(
            cast("LinkConnection", self.connection),
            directory=self,
            previews=cast("PreviewTaps", self.previews),
            metrics=WorkerMetrics(self.registry),
        )
        self.serving = asyncio.create_task(self.link.serve())

    async def find(self, session: str, epoch: int) -> LiveSession:
        self.looked_for.append((session, epoch))
        if self.error is not None:
            raise self.error
        return cast("LiveSession", self.session)

    async def say(self, *events: said.Event) -> None:
        """Let the gateway say something, and the worker take it."""
        for event in events:
            self.connection.queue.put_nowait(event)
        await until(self.connection.queue.empty, "the worker to take it")
        await asyncio.sleep(0)

    async def open(self, channel: int = 5) -> GatewayChannel:
        self.session.opened.set_result(None)
        await self.say(said.OpenRequested(channel, OPEN))
        await until(lambda: self.session.attached, "the channel to be open")
        return self.session.attached[0]

    async def hang_up(self) -> None:
        self.connection.queue.put_nowait(None)
        await self.serving

    def count(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await end_tasks([made.serving, *made.link._tasks])


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_an_open_is_answered_once_the_session_is_there_and_its_frames_go_to_its_source(room: Room) -> None:
    await room.say(said.OpenRequested(5, OPEN))
    await asyncio.sleep(0)
    assert room.looked_for == [(SESSION, EPOCH)]
    assert room.connection.accepted == []

    room.session.opened.set_result(None)
    await until(lambda: room.session.attached, "the channel to be open")
    (channel,) = room.session.attached
    assert room.connection.accepted == [(5, EPOCH)]
    assert (channel.number, channel.publisher) == (5, True)
    assert cast("object", channel.connection) is room.connection
    assert (channel.subscription.subscriber, channel.subscription.codecs) == ("g0", frozenset({Codec.VP8}))
    assert room.session.shown_until == [SourcePosition(1, 500)]

    room.connection.receivers[5](cast("said.MediaReceived", "a frame"))
    assert room.session.heard == [("media", 5, "a frame")]


async def test_the_subscription_follows_the_session_to_the_epoch_that_it_runs_under(room: Room) -> None:
    room.session.epoch = EPOCH + 1
    channel = await room.open()
    assert room.connection.accepted == [(5, EPOCH + 1)]
    assert channel.subscription.epoch == EPOCH + 1


async def test_a_session_that_makes_its_source_itself_takes_no_frames_from_a_channel(room: Room) -> None:
    room.session.has_publisher = False
    await room.open()
    assert room.connection.receivers == {}


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (
            ChannelRefusal(RefusalReason.NO_SLOT, "no slot for it", epoch=7),
            (RefusalReason.NO_SLOT, "no slot for it", 7),
        ),
        (
            StaleEpoch(SESSION, epoch=EPOCH, current=9),
            (RefusalReason.NOT_OWNER, str(StaleEpoch(SESSION, epoch=EPOCH, current=9)), 9),
        ),
        (EngineFailure(SESSION, "NaN"), (RefusalReason.ENGINE, f"{SESSION}: NaN", EPOCH)),
        (ValueError("w" * 501), (RefusalReason.ENGINE, "w" * 500, EPOCH)),
        (TimeoutError("too slow"), (RefusalReason.ENGINE, "too slow", EPOCH)),
    ],
    ids=["refused", "stale", "engine", "long words are cut", "time"],
)
@pytest.mark.parametrize("when", ["looked for", "opened"])
async def test_a_gateway_is_told_why_it_gets_no_channel_and_which_epoch_is_known(
    room: Room, error: Exception, answer: tuple[RefusalReason, str, int], when: str
) -> None:
    if when == "looked for":
        room.error = error
    else:
        room.session.opened.set_exception(error)
        room.session.opened.exception()
    await room.say(said.OpenRequested(5, OPEN))
    await until(lambda: room.connection.refused, "an answer")
    assert room.connection.refused == [(5, *answer)]
    assert room.connection.accepted == []
    assert room.session.attached == []


@pytest.mark.parametrize("state", [State.HANDED_OVER, State.CLOSED])
async def test_a_session_that_leaves_while_it_is_asked_for_is_refused(room: Room, state: State) -> None:
    room.session.state = state
    room.session.opened.set_result(None)
    await room.say(said.OpenRequested(5, OPEN))
    await until(lambda: room.connection.refused, "an answer")
    assert room.connection.refused == [(5, RefusalReason.NOT_OWNER, "the session has just left", EPOCH)]


async def test_a_gateway_that_left_before_the_answer_gets_no_channel(room: Room) -> None:
    room.connection.is_up = False
    room.session.opened.set_result(None)
    await room.say(said.OpenRequested(5, OPEN))
    await until(lambda: room.connection.accepted, "an answer")
    await asyncio.sleep(0)
    assert room.session.attached == []
    assert room.connection.refused == []


async def test_a_gateway_that_closes_before_the_answer_is_not_answered_and_hurts_no_other(room: Room) -> None:
    await room.say(said.OpenRequested(5, OPEN), said.OpenRequested(6, OPEN))
    await asyncio.sleep(0)
    await room.say(said.ChannelClosed(5, SESSION, "changed its mind"))
    room.session.opened.set_result(None)
    await until(lambda: room.session.attached, "the other channel to be open")
    assert room.connection.accepted == [(6, EPOCH)]


async def test_an_open_that_is_answered_is_kept_no_longer(room: Room) -> None:
    await room.open()
    await until(lambda: not room.link._opening, "the opening to be forgotten")


# -- what comes over a channel -----------------------------------------------------------------------------------------


async def test_each_word_reaches_the_part_that_it_is_for(room: Room) -> None:
    channel = await room.open()
    await room.say(
        said.KeyFrameWanted(5, SESSION, Codec.VP8),
        said.CodecsWanted(5, SESSION, frozenset({Codec.H264})),
        said.ControlNudged(5, SESSION),
        said.SourceChanged(5, SESSION, present=False, run=2),
        said.MediaDropped(5, Track.OUTPUT, Codec.H264.value, 4),
    )
    assert room.session.heard == [
        ("key frame", Codec.VP8),
        ("codecs", 5, frozenset({Codec.H264})),
        "nudge",
        ("gap", 5, Codec.H264),
    ]
    assert channel.publisher is False
    assert room.count("genlock_worker_link_drops_total") == 4


async def test_a_place_to_resume_at_holds_until_a_key_frame_is_wanted_at_once(room: Room) -> None:
    channel = await room.open()
    await room.say(said.KeyFrameWanted(5, SESSION, Codec.VP8, SourcePosition(1, 2)))
    assert room.session.heard == [("resume", 5, Codec.VP8, SourcePosition(1, 2))]
    channel.resumes[Codec.VP8] = SourcePosition(1, 2)
    await room.say(said.KeyFrameWanted(5, SESSION, Codec.VP8))
    assert channel.resumes == {}


async def test_what_is_about_another_channel_reaches_nobody(room: Room) -> None:
    await room.open()
    await room.say(said.KeyFrameWanted(6, SESSION, Codec.VP8), said.PeerSilent(2.0), said.PeerProgressing())
    assert room.session.heard == []
    assert not room.serving.done()


async def test_a_channel_that_is_closed_leaves_its_session(room: Room) -> None:
    await room.open()
    await room.say(said.ChannelClosed(5, SESSION, "no viewer is left"))
    assert room.session.attached == []
    await room.say(said.KeyFrameWanted(5, SESSION, Codec.VP8))
    assert room.session.heard == []


async def test_previews_are_asked_for_by_this_link_and_the_channels_number(room: Room) -> None:
    request = Subscribe.of(preview_of(SESSION, epoch=EPOCH, subscriber="g0"), ttl_s=5.0)
    await room.say(
        said.SubscriptionRequested(8, request),
        said.SubscriptionRenewed(8, SESSION, ttl_s=2.5),
        said.ChannelClosed(8, SESSION, "nobody looks"),
    )
    asker: Any = PictureChannel(room.connection, 8)  # type: ignore[arg-type]
    assert room.previews.asked == [
        ("subscribe", asker, request),
        ("renew", asker, 2.5),
        ("unsubscribe", asker),
    ]


async def test_nothing_is_left_behind_when_the_gateway_is_gone(room: Room) -> None:
    await room.open()
    assert room.count("genlock_worker_links") == 1
    waiting = FakeSession()
    room.session, first = waiting, room.session
    await room.say(said.OpenRequested(6, OPEN))
    await room.hang_up()
    assert first.attached == []
    assert room.previews.asked == [("forget", room.connection)]
    assert room.count("genlock_worker_links") == 0
    waiting.opened.set_result(None)
    await until(lambda: len(room.link._tasks) == 0, "the opening to end")
    assert waiting.attached == []
