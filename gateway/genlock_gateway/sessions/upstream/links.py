"""Links to workers: one connection for each worker process, shared by all sessions, opened on demand.

A `WorkerChannel` is one session on a link. Its frames go from the connection to the session's `FrameReceiver`, which is
named when the channel is opened. Its listener gets the other events of the link. The end of the link comes as a
`LinkDown`, once for each channel.
"""

import asyncio
import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from genlock_core.claims.facts import Claim
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.silence import Rhythm, Silence
from genlock_core.clock import Clock
from genlock_core.link.client import connect
from genlock_core.link.closure import CloseCause, LinkDown
from genlock_core.link.connection import LinkConnection, Meter
from genlock_core.link.events import (
    Connected,
    Event,
    LinkIdentity,
    MediaDropped,
    MediaReceived,
    PeerLeft,
    PeerProgressing,
    PeerSilent,
)
from genlock_core.link.messages import LinkRole, Open, Subscribe
from genlock_core.metrics import GatewayMetrics
from genlock_core.process.tasks import end_tasks

logger = logging.getLogger(__name__)

IDLE_S: Final = 10.0
"""A link without a channel is closed after this long."""
RESET_RETRIES_S: Final = (0.005, 0.01, 0.02, 0.04, 0.08)
"""A process that ends resets who comes to its port, for a moment, before nobody listens there. Its port is asked again
after each of these: only a refused link proves that the process is gone."""
RESET_WITHIN_S: Final = 0.25
"""A reset comes at once. What fails later is a network that does not lead there: asking again would take as long."""
RHYTHMS_KEPT: Final = 1_000
"""What is normal for a worker is remembered for this many workers, those that were asked last."""

ChannelEvent: TypeAlias = Event | LinkDown
ChannelListener: TypeAlias = "Callable[[WorkerChannel, ChannelEvent], None]"


@dataclass(slots=True, eq=False)
class WorkerChannel:
    """One session on the link to one worker, under one claim. Open until `close`, or until its link is down."""

    claim: Claim
    number: int
    connection: LinkConnection
    _link: "_Link" = field(repr=False)

    @property
    def epoch(self) -> int:
        return self.claim.epoch

    @property
    def silence(self) -> Silence:
        """For how long the worker's progress counter has stood still, and for how long that is normal for it."""
        return self.connection.silence

    def close(self, reason: str) -> None:
        """Tell the worker, and hear nothing more of it."""
        if self._link.forget(self.number):
            self.connection.close_channel(self.number, reason)


class FrameReceiver(Protocol):
    """Where the frames of a session's workers go."""

    def receive(self, channel: WorkerChannel, media: MediaReceived) -> None:
        """A frame came through the channel. It must return at once."""


class Links:
    """All links of one gateway process."""

    def __init__(
        self, *, identity: LinkIdentity, secrets: Sequence[bytes], clock: Clock, metrics: GatewayMetrics
    ) -> None:
        self._identity = identity
        self._secrets = tuple(secrets)
        self._clock = clock
        self._metrics = metrics
        self._links: dict[WorkerIdentity, _Link] = {}
        self._connecting: dict[WorkerIdentity, asyncio.Task[_Link]] = {}
        self._rhythms: OrderedDict[str, tuple[str, Rhythm]] = OrderedDict()
        """By the worker's name: the incarnation that it is about, and what was learned. The one heard last is last."""

    async def open(
        self, claim: Claim, request: Open, listener: ChannelListener, *, frames: FrameReceiver
    ) -> WorkerChannel:
        """Ask the claim's worker for a channel; ChannelOpened or ChannelRefused follows. Raises LinkDown."""
        link = self._links.get(claim.worker) or await self._connect(claim)
        channel = link.add(claim, link.connection.open(request), listener)
        link.connection.deliver_media(channel.number, functools.partial(frames.receive, channel))
        return channel

    async def subscribe(self, claim: Claim, request: Subscribe, listener: ChannelListener) -> WorkerChannel:
        """Ask the claim's worker for pictures; an answer follows as for `open`. Raises LinkDown, PeerTooOld."""
        link = self._links.get(claim.worker) or await self._connect(claim)
        return link.add(claim, link.connection.subscribe(request), listener)

    def rhythm(self, worker: WorkerIdentity) -> Rhythm:
        """What is normal for that worker process. It outlives a link, and is forgotten with the process."""
        incarnation, rhythm = self._rhythms.get(worker.name, ("", Rhythm()))
        if incarnation != worker.incarnation:
            rhythm = Rhythm()

        self._rhythms[worker.name] = worker.incarnation, rhythm
        self._rhythms.move_to_end(worker.name)
        if len(self._rhythms) > RHYTHMS_KEPT:
            self._rhythms.popitem(last=False)
        return rhythm

    async def close(self, reason: str) -> None:
        """Say goodbye on every link."""
        await end_tasks(self._connecting.values())
        await asyncio.gather(*(link.close(reason) for link in list(self._links.values())))

    async def _connect(self, claim: Claim) -> "_Link":
        """One attempt at a time for each worker, which all who ask meanwhile share."""
        task = self._connecting.get(claim.worker)
        if task is None:
            task = asyncio.create_task(self._connected(claim), name=f"link to {claim.worker.name}")
            self._connecting[claim.worker] = task
            task.add_done_callback(lambda done: self._attempted(claim.worker, done))
        return await asyncio.shield(task)

    def _attempted(self, worker: WorkerIdentity, done: "asyncio.Task[_Link]") -> None:
        self._connecting.pop(worker, None)
        if not done.cancelled():
            # Nobody else may look at it: those who asked may have given up meanwhile.
            done.exception()

    async def _connected(self, claim: Claim) -> "_Link":
        worker = claim.worker
        connection = await self._dial_until_sure(claim)
        logger.info("linked to worker %s at %s", worker.name, claim.address)

        link = _Link(claim.address, connection, metrics=self._metrics, on_down=lambda: self._down(worker))
        self._links[worker] = link
        self._metrics.links.set(len(self._links))
        return link

    async def _dial_until_sure(self, claim: Claim) -> LinkConnection:
        """Connect; a port that resets is asked again, until it is clear whether its process is there."""
        for wait_s in RESET_RETRIES_S:
            asked_s = self._clock.monotonic()
            try:
                return await self._dial(claim)
            except LinkDown as down:
                if down.cause is not CloseCause.RESET or self._clock.monotonic() - asked_s > RESET_WITHIN_S:
                    raise
            await asyncio.sleep(wait_s)
        return await self._dial(claim)

    async def _dial(self, claim: Claim) -> LinkConnection:
        worker = claim.worker
        traffic = self._metrics.link_bytes
        return await connect(
            claim.address,
            identity=self._identity,
            secrets=self._secrets,
            clock=self._clock,
            expect=LinkIdentity(LinkRole.WORKER, worker.name, worker.incarnation),
            rhythm=self.rhythm(worker),
            meter=Meter(received=traffic.labels("in").inc, sent=traffic.labels("out").inc),
        )

    def _down(self, worker: WorkerIdentity) -> None:
        self._links.pop(worker, None)
        self._metrics.links.set(len(self._links))


class _Link:
    """One connection, its channels and the task that reads it."""

    def __init__(
        self, address: str, connection: LinkConnection, *, metrics: GatewayMetrics, on_down: Callable[[], None]
    ) -> None:
        self.address = address
        self.connection = connection
        self._metrics = metrics
        self._on_down = on_down
        self._channels: dict[int, tuple[WorkerChannel, ChannelListener]] = {}
        self._reader = asyncio.create_task(self._read(), name=f"reads link {address}")
        self._idle: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._rest()

    def add(self, claim: Claim, number: int, listener: ChannelListener) -> WorkerChannel:
        """The channel that was asked for under this number."""
        channel = WorkerChannel(claim, number, self.connection, self)
        self._channels[number] = channel, listener
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        return channel

    def forget(self, number: int) -> bool:
        """Drop the channel's listener; False if it had none."""
        known = self._channels.pop(number, None) is not None
        self._rest()
        return known

    async def close(self, reason: str) -> None:
        await self.connection.close(reason)
        await self._reader

    def _rest(self) -> None:
        """Close the link if nobody uses it for a while."""
        if not self._channels and self._idle is None and not self.connection.closed.done():
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._retire)

    def _retire(self) -> None:
        self._closing = asyncio.create_task(self.close("idle"), name=f"closes the idle link {self.address}")

    async def _read(self) -> None:
        try:
            async for event in self.connection.events():
                # These are of the whole link. Upstreams read it from `silence`, and `LinkDown` tells how it ended.
                if isinstance(event, Connected | PeerSilent | PeerProgressing | PeerLeft):
                    continue
                if isinstance(event, MediaDropped):
                    self._metrics.link_drops.inc(event.count)
                known = self._channels.get(event.channel)
                if known is not None:
                    self._tell(*known, event)
        finally:
            if self._idle is not None:
                self._idle.cancel()
            self._on_down()

        closure = await self.connection.closed
        logger.info("the link to %s is down: %s %s", self.address, closure.cause, closure.detail)

        # A listener may open a channel at once, but not on this link any more.
        channels = list(self._channels.values())
        self._channels.clear()
        for channel, listener in channels:
            self._tell(channel, listener, LinkDown(self.address, closure))

    def _tell(self, channel: WorkerChannel, listener: ChannelListener, event: ChannelEvent) -> None:
        try:
            listener(channel, event)
        except Exception:
            logger.exception("%s: an event of the link was not handled", channel.claim.session)
