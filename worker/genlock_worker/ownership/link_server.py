"""Serves gateways over the link: opens channels for sessions that this worker owns, and hands on what comes.

The publisher's frames do not pass through here: a channel is opened with the session's source as their receiver.

One gateway process has one connection for all its sessions; a session may have several gateways, one of which has its
publisher. Who owns what is the agent's knowledge (`Directory`).
"""

import asyncio
import functools
import logging
from typing import Protocol, TypeAlias

from genlock_core.errors import StaleEpoch
from genlock_core.link.connection import LinkConnection
from genlock_core.link.events import (
    ChannelClosed,
    CodecsWanted,
    ControlNudged,
    Event,
    KeyFrameWanted,
    MediaDropped,
    MediaReceived,
    OpenRequested,
    SourceChanged,
    SubscriptionRenewed,
    SubscriptionRequested,
)
from genlock_core.link.messages import RefusalReason
from genlock_core.media import Codec, SourcePosition
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.tasks import OwnedTasks
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.output.gateway_channel import ChannelRefusal, GatewayChannel
from genlock_worker.preview.picture_channel import PictureChannel
from genlock_worker.preview.taps import PreviewTaps
from genlock_worker.session.live_session import LiveSession, State

logger = logging.getLogger(__name__)


class Directory(Protocol):
    """Where the link server learns which sessions are this worker's."""

    async def find(self, session: str, epoch: int) -> LiveSession:
        """The session, owned by this worker in that epoch. Raises ChannelRefusal."""
        ...


ChannelEvent: TypeAlias = KeyFrameWanted | CodecsWanted | ControlNudged | SourceChanged | MediaDropped
"""What is about one channel that is open."""


class GatewayLink:
    """One connection of a gateway: `serve` runs until it is down."""

    def __init__(
        self,
        connection: LinkConnection,
        *,
        directory: Directory,
        previews: PreviewTaps,
        metrics: WorkerMetrics,
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._previews = previews
        self._metrics = metrics
        self._channels: dict[int, tuple[LiveSession, GatewayChannel]] = {}
        self._tasks = OwnedTasks()
        self._opening: dict[int, asyncio.Task[None]] = {}  # by channel

    async def serve(self) -> None:
        """Hand on what the gateway says; leaves nothing behind when it is gone."""
        self._metrics.links.inc()
        logger.info("gateway %s linked", self._connection.peer.name)
        try:
            async for event in self._connection.events():
                self._take(event)
        finally:
            self._metrics.links.dec()
            self._tasks.cancel()
            for session, channel in self._channels.values():
                session.detach(channel)
            self._previews.forget(self._connection)
            logger.info("gateway %s left", self._connection.peer.name)

    def _take(self, event: Event) -> None:
        if isinstance(event, MediaDropped):
            self._metrics.link_drops.inc(event.count)

        match event:
            case OpenRequested():
                name = f"open channel {event.channel} for {self._connection.peer.name}"
                self._opening[event.channel] = opening = self._tasks.start(self._open(event), name=name)
                opening.add_done_callback(lambda _: self._opening.pop(event.channel, None))
            case SubscriptionRequested():
                self._previews.subscribe(PictureChannel(self._connection, event.channel), event.request)
            case SubscriptionRenewed():
                self._previews.renew(PictureChannel(self._connection, event.channel), ttl_s=event.ttl_s)
            case ChannelClosed():
                self._previews.unsubscribe(PictureChannel(self._connection, event.channel))
                if (abandoned := self._opening.get(event.channel)) is not None:
                    abandoned.cancel()
                if (known := self._channels.pop(event.channel, None)) is not None:
                    session, channel = known
                    session.detach(channel)
            case MediaReceived():
                pass  # of a channel that has ended, or the session makes its source itself
            case _:
                if not isinstance(event, ChannelEvent):
                    logger.debug("gateway %s: %s", self._connection.peer.name, event)
                elif (known := self._channels.get(event.channel)) is not None:
                    self._hand_on(event, *known)

    def _hand_on(self, event: ChannelEvent, session: LiveSession, channel: GatewayChannel) -> None:
        """Give what came over a channel to the part of its session that it is for."""
        match event:
            case KeyFrameWanted(after=None):
                channel.resumes.pop(event.codec, None)
                session.output.ask_idr(event.codec)
            case KeyFrameWanted(after=SourcePosition() as after):
                session.resume(channel, event.codec, after=after)
            case CodecsWanted():
                session.output.set_codecs(channel, event.codecs)
            case ControlNudged():
                session.control.nudge()
            case SourceChanged():
                channel.publisher = event.present
            case MediaDropped():
                session.output.gap(channel, Codec(event.codec))

    async def _open(self, event: OpenRequested) -> None:
        """Answer an OPEN, once the session is there."""
        request = event.request
        try:
            session = await self._directory.find(request.session, request.epoch)
            await asyncio.shield(session.opened)
            if session.state is not State.RUNNING:
                raise ChannelRefusal(RefusalReason.NOT_OWNER, "the session has just left", epoch=session.epoch)
            if not self._connection.accept(event.channel, session.epoch, restore_ms=session.restore_ms):
                return
        except ChannelRefusal as refusal:
            logger.info("%s: channel refused to %s: %s", request.session, request.gateway, refusal)
            self._connection.refuse(event.channel, refusal.reason, refusal.message, epoch=refusal.epoch)
            return
        except StaleEpoch as stale:
            self._connection.refuse(event.channel, RefusalReason.NOT_OWNER, str(stale), epoch=stale.current)
            return
        except (EngineFailure, ValueError, TimeoutError) as error:
            self._connection.refuse(event.channel, RefusalReason.ENGINE, str(error)[:500], epoch=request.epoch)
            return

        channel = GatewayChannel(
            connection=self._connection,
            number=event.channel,
            subscription=request.subscription.following(session.epoch),
            publisher=request.publisher,
        )
        self._channels[event.channel] = (session, channel)
        if (source := session.intake.publisher) is not None:
            self._connection.deliver_media(channel.number, functools.partial(source.receive, channel))
        session.attach(channel, after=request.position)
