"""A gateway as far as the link goes, for tests of the worker: publishes test pictures, decodes what comes back."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from genlock_core.clock import SystemClock
from genlock_core.link.client import connect
from genlock_core.link.connection import LinkConnection
from genlock_core.link.events import (
    ChannelClosed,
    ChannelOpened,
    ChannelRefused,
    HandedOver,
    KeyFrameWanted,
    LinkIdentity,
    MediaReceived,
    PictureReceived,
    StatsReceived,
)
from genlock_core.link.messages import After, LinkRole, Open, Subscribe
from genlock_core.media import Codec
from genlock_core.slo.report import StreamReport
from genlock_core.subscriptions.subscription import Subscription
from genlock_worker.intake.decode import Decoder
from genlock_worker.intake.pattern import draw
from genlock_worker.intake.picture import Picture
from genlock_worker.output.encode import EncoderSettings, open_encoder

SECRET = b"a secret of the tests of the worker"
PATIENCE_S = 20.0


@dataclass(slots=True)
class Viewer:
    """What one channel brought."""

    session: str
    channel: int
    media: list[MediaReceived] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    reports: list[StreamReport] = field(default_factory=list)
    handovers: list[HandedOver] = field(default_factory=list)
    opened: ChannelOpened | None = None
    refused: ChannelRefused | None = None
    closed: ChannelClosed | None = None
    key_frames_wanted: int = 0
    stills: list[PictureReceived] = field(default_factory=list)
    _decoders: dict[Codec, Decoder] = field(default_factory=dict)

    def take(self, media: MediaReceived) -> None:
        decoder = self._decoders.setdefault(media.unit.codec, Decoder(media.unit.codec))
        frames = decoder.decode(media.unit)
        assert frames, f"unit {len(self.media)} (key frame: {media.unit.key_frame}) cannot be decoded"
        (frame,) = frames
        self.media.append(media)
        self.pictures.append(frame.fitted(width=frame.width, height=frame.height))


class FakeGateway:
    """One gateway process: a link to each worker that it is told of."""

    def __init__(self, name: str = "g0", *, secrets: Sequence[bytes] = (SECRET,)) -> None:
        self.identity = LinkIdentity(LinkRole.GATEWAY, name, f"{name}-1")
        self.viewers: dict[tuple[LinkConnection, int], Viewer] = {}
        self._secrets = secrets
        self._links: dict[str, LinkConnection] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def open(
        self,
        address: str,
        session: str,
        epoch: int,
        *,
        publisher: bool = False,
        codecs: tuple[str, ...] = ("h264",),
        after: After | None = None,
    ) -> Viewer:
        """Open a channel; returns when it was answered."""
        link = await self.linked(address)
        channel = link.open(
            Open(
                session=session,
                epoch=epoch,
                gateway=self.identity.name,
                publisher=publisher,
                codecs=codecs,
                after=after,
            )
        )
        return await self._answered(link, channel, session)

    async def subscribe(self, address: str, subscription: Subscription, *, ttl_s: float = 30.0) -> Viewer:
        """Ask for pictures; returns when it was answered."""
        link = await self.linked(address)
        channel = link.subscribe(Subscribe.of(subscription, ttl_s=ttl_s))
        return await self._answered(link, channel, subscription.session)

    async def linked(self, address: str) -> LinkConnection:
        """The link to a worker, made if it is not up."""
        link = self._links.get(address)
        if link is None or link.closed.done():
            link = await connect(address, identity=self.identity, secrets=self._secrets, clock=SystemClock())
            self._links[address] = link
            self._tasks.append(asyncio.create_task(self._follow(link)))
        return link

    async def _answered(self, link: LinkConnection, channel: int, session: str) -> Viewer:
        viewer = self.viewers[(link, channel)] = Viewer(session, channel)
        await until(lambda: viewer.opened is not None or viewer.refused is not None, "an answer from the worker")
        return viewer

    async def _follow(self, link: LinkConnection) -> None:
        async for event in link.events():
            viewer = self.viewers.get((link, getattr(event, "channel", 0)))
            if viewer is None:
                continue
            match event:
                case ChannelOpened():
                    viewer.opened = event
                case ChannelRefused():
                    viewer.refused = event
                case ChannelClosed():
                    viewer.closed = event
                case MediaReceived():
                    viewer.take(event)
                case PictureReceived():
                    viewer.stills.append(event)
                case StatsReceived():
                    viewer.reports.append(StreamReport.model_validate(event.report))
                case HandedOver():
                    viewer.handovers.append(event)
                case KeyFrameWanted():
                    viewer.key_frames_wanted += 1
                case _:
                    pass

    def link_of(self, viewer: Viewer) -> LinkConnection:
        return next(link for (link, _), known in self.viewers.items() if known is viewer)

    async def close(self) -> None:
        for link in self._links.values():
            await link.close("the test is over")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Publisher:
    """Encodes the test pattern and sends it up a channel at a frame rate, as a camera would."""

    def __init__(self, *, width: int = 128, height: int = 96, rate: float = 16.0, run: int = 1) -> None:
        self.size = (width, height)
        self.rate = rate
        self.run = run
        self.index = 0
        self._encoder = open_encoder(Codec.H264, EncoderSettings(width, height, round(rate), 1_000_000))
        self._key_frame = True
        self._target: tuple[LinkConnection, int] | None = None
        self._task = asyncio.create_task(self._publish())

    def aim(self, link: LinkConnection, channel: int) -> None:
        """Send to this channel from now on, beginning with a key frame."""
        self._target = (link, channel)
        self._key_frame = True

    def force_key_frame(self) -> None:
        self._key_frame = True

    async def _publish(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            self.send_one()
            await asyncio.sleep(max(0.0, start + self.index / self.rate - loop.time()))

    def send_one(self) -> None:
        width, height = self.size
        picture = draw(self.index, width=width, height=height)
        capture_us = round(self.index * 1_000_000 / self.rate)
        unit = self._encoder.encode(picture, capture_us=capture_us, idr=self._key_frame)
        self._key_frame = False
        if self._target is not None:
            link, channel = self._target
            link.send_media(channel, unit, run=self.run)
        self.index += 1

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for something that must become true; fails, with its name, when it does not."""
    try:
        async with asyncio.timeout(patience_s):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never came: {what}") from None
