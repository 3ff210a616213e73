"""One live session at this gateway: its publisher, its viewers, and the frames between them and the worker.

Codecs, RTP and ICE are `rtc`'s, claims and moves `worker_side`'s, what is shown of which worker `output`'s; a
`LiveStream` puts them together.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Final

from redis.exceptions import RedisError

from genlock_core.claims.facts import Claim, MoveCause
from genlock_core.claims.record import SessionRecord
from genlock_core.link.events import MediaReceived, StatsReceived
from genlock_core.link.messages import Open
from genlock_core.media import AccessUnit, Codec
from genlock_core.process.tasks import OwnedTasks
from genlock_core.slo.stages import Stage, StageTimes
from genlock_core.spec.session import Phase
from genlock_core.subscriptions.subscription import FrameKind, Subscription
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.sessions.audience import Audience, PeerResource
from genlock_gateway.sessions.gop import GroupOfPictures
from genlock_gateway.sessions.output import FrameVerdict, SessionOutput
from genlock_gateway.sessions.session_view import SessionView, view_of
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.links import WorkerChannel
from genlock_gateway.sessions.upstream.shared_parts import SharedParts
from genlock_gateway.sessions.upstream.upstream import Upstream

logger = logging.getLogger(__name__)

FAREWELL_S: Final = 0.2
"""The last message of an ended session gets this long to reach its clients."""
DROPPED: Final = {
    FrameVerdict.STALE: "stale-epoch",
    FrameVerdict.OLDER: "old",
    FrameVerdict.NEEDS_KEY: "before-key-frame",
}


class LiveStream:
    """The one mutable object of a session here.

    Idle until a publisher or a viewer enters; then its worker side claims, opens and moves, until the last one has left
    (idle again) or the session is `over`. `Hub` makes it on demand, and drops it when nobody uses it any more.
    """

    def __init__(self, record: SessionRecord, shared: SharedParts) -> None:
        self.session = record.name
        self.record = record
        self.audience = Audience()
        self.stats = SessionStats(
            self.session, frame_rate=record.session.frame_rate, clock=shared.clock, metrics=shared.metrics
        )
        self.upstream = Upstream(self.session, self, shared)
        self._shared = shared
        self._gop = GroupOfPictures()
        self.output = SessionOutput(
            Codec[record.session.output.codec.upper()], clock=shared.clock, ask_key_frame=self._ask_key_frame
        )
        self.over = ""  # why the session has ended
        self.missing_since_s: float | None = None  # since when Redis has no record of it
        self._chores = OwnedTasks()
        self._refreshing: asyncio.Task[None] | None = None

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        return self.audience.publisher is not None or bool(self.audience.viewers)

    @property
    def unused(self) -> bool:
        return not self.wanted and not self.audience.listeners

    @property
    def phase(self) -> Phase:
        """What clients are told: the record's phase, and Recovering from the loss of a worker to the next frame."""
        if self.record.finished or not self.wanted:
            return self.record.phase
        if self.output.lost:
            return Phase.RECOVERING
        return Phase.LIVE if self.output.shown_epoch >= self.record.epoch > 0 else self.record.phase

    def view(self, *, gpus: int | None = None) -> SessionView:
        """The session as the API shows it; `gpus` are its worker's, where the caller knows them."""
        stats = self.stats.report(
            viewers=len(self.audience.viewers), worker=None if self.record.owner is None else self.record.owner.name,
            epoch=self.record.epoch,
        )  # fmt: skip
        return view_of(
            self.record,
            phase=self.phase,
            viewers=len(self.audience.viewers),
            publisher=self.audience.publisher is not None,
            gpus=gpus,
            stats=stats if self.wanted else None,
        )

    # -- people -----------------------------------------------------------------------------------------------------

    def enter(self, resource: PeerResource, claim: Claim | None = None) -> PeerResource | None:
        """A publisher or a viewer is here; returns the publisher that it takes over from."""
        previous: PeerResource | None = None
        self._count_losses()
        if resource.kind == "whip":
            previous = self.audience.publisher
            self.audience.publisher = resource
            self._gop.clear()
            self.stats.published(resource.run)
            self._tell_source()
        else:
            self.audience.viewers.add(resource)
            self._tell_codecs()
        self._shared.metrics.viewers.labels(session=self.session).set(len(self.audience.viewers))
        self.upstream.want(claim)
        self.changed()
        return previous

    def leave(self, resource: PeerResource) -> None:
        """Its peer is closed."""
        self._count_losses()
        if resource is self.audience.publisher:
            self.audience.publisher = None
            self._gop.clear()
            self.stats.unpublished()
            self._tell_source(gone_run=resource.run)
        elif resource in self.audience.viewers:
            self.audience.viewers.discard(resource)
            self._tell_codecs()
            if not self.audience.viewers:
                self.stats.rest()
        else:
            return
        self._shared.metrics.viewers.labels(session=self.session).set(len(self.audience.viewers))
        if not self.wanted:
            self.upstream.unwant()
            self.stats.forget_report()
            self.output.rest()
        self.changed()

    def renumber(self, resource: PeerResource, run: int) -> None:
        """Redis had lost the publisher's slot, and its publication has another number now."""
        if resource is self.audience.publisher and run != resource.run:
            resource.run = run
            self._tell_source()
            self.key_frame_wanted()

    def source(self, resource: PeerResource, unit: AccessUnit) -> None:
        """A publisher's access unit."""
        if resource is not self.audience.publisher:
            return
        self._gop.add(unit)
        if self._gop.wants_key_frame:
            self.key_frame_wanted()
        self.stats.source_frame(resource.run, watched=bool(self.audience.viewers))
        age_us = max(0, self.stats.now_us() - unit.capture_us)
        stages = StageTimes.of({Stage.CAPTURED: 0, Stage.FORWARDED: age_us})
        channels = [channel for channel in (self.upstream.serving, self._still_needed()) if channel is not None]
        if not channels:
            self._shared.metrics.frames_dropped.labels(reason="no-worker").inc()
        for channel in channels:
            channel.connection.send_media(channel.number, unit, run=resource.run, stages=stages)

    def nudge(self) -> None:
        """There is something new in the control stream."""
        for channel in (self.upstream.serving, self.upstream.leaving):
            if channel is not None:
                channel.connection.nudge_control(channel.number)

    # -- time and the record ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Several times a second: silence, retries, what is due to be told."""
        self.upstream.tick()
        self._count_losses()
        if self.upstream.leaving is not None and self.output.may_leave(self.upstream.epochs):
            self.upstream.leave_old()
        self.audience.tick(self.view, self._shared.clock.monotonic())

    def updated(self, record: SessionRecord) -> None:
        """Redis tells a newer record."""
        if record.epoch < self.record.epoch:
            return
        moved = record.epoch > self.record.epoch and record.owner != self.record.owner
        paused = record.control.get("paused")
        self.record = record
        if record.finished:
            self.over = self.over or f"the session has ended{f' ({record.reason})' if record.reason else ''}"
        if moved and record.phase is Phase.RECOVERING and record.epoch > self.output.shown_epoch:
            self.moving(_cause(record.reason))
        if paused is not None and paused.value == "true":
            self.stats.rest()
        if not record.finished:
            self.upstream.follow(record)
        self.changed()

    async def end(self, reason: str) -> None:
        """The session is over: tell everybody, and close."""
        self.audience.farewell(self.view())
        self.upstream.unwant()
        await asyncio.sleep(FAREWELL_S)
        await asyncio.gather(*(resource.peer.close(reason) for resource in self.audience.clients))

    def close(self) -> None:
        """Leave nothing behind."""
        self.upstream.close("the gateway leaves the session")
        self._count_losses()
        self.output.close()
        self._chores.cancel()
        self._shared.metrics.drop_session(self.session)

    # -- from the worker's side -------------------------------------------------------------------------------------

    def request(self, claim: Claim) -> Open:
        subscription = Subscription(
            session=self.session,
            epoch=claim.epoch,
            subscriber=self._shared.gateway,
            frames=FrameKind.ENCODED,
            codecs=self.audience.codecs,
        )
        return Open.of(subscription, publisher=self.audience.publisher is not None, after=self.output.last_shown)

    def opened(self, channel: WorkerChannel, *, moved: bool) -> None:
        self.stats.moves += moved
        connection, number = channel.connection, channel.number
        connection.send_codecs(number, self.audience.codecs)
        if self.audience.publisher is not None:
            connection.send_source(number, present=True, run=self.audience.publisher.run)
            for unit in self._gop.units:
                connection.send_media(number, unit, run=self.audience.publisher.run, replay=True)
            self.key_frame_wanted()
        self.changed()

    def frame_generated(self, channel: WorkerChannel, media: MediaReceived) -> None:
        arrived_us = self.stats.now_us()
        if not self.audience.viewers:
            return
        shown_epoch = self.output.shown_epoch
        verdict = self.output.show(media, channel_epoch=channel.epoch, epochs=self.upstream.epochs)
        if verdict is not FrameVerdict.SHOW:
            self._shared.metrics.frames_dropped.labels(reason=DROPPED[verdict]).inc()
            return
        own_run = None if self.audience.publisher is None else self.audience.publisher.run
        if media.unit.codec is self.output.measured(self.audience.codecs):
            self.stats.shown(media, arrived_us=arrived_us, own_run=own_run)
        if self.output.shown_epoch > shown_epoch:
            self._chore(self._live(channel.epoch), name=f"live phase of {self.session}")
            self.changed()

    def key_frame_wanted(self) -> None:
        if self.audience.publisher is not None and isinstance(self.audience.publisher.peer, IngestPeer):
            self._shared.metrics.key_frame_requests.labels(to="publisher").inc()
            self.audience.publisher.peer.request_key_frame()

    def reported(self, channel: WorkerChannel, stats: StatsReceived) -> None:
        if channel is self.upstream.channel:
            self.stats.reported(stats.report)

    def moving(self, cause: MoveCause) -> None:
        if cause not in (MoveCause.DRAIN, MoveCause.REQUESTED) and self.output.lose():
            self.stats.fault(cause)
            self.changed()

    def changed(self) -> None:
        claim = self.upstream.situation.claim
        if claim is not None and claim.epoch > self.record.epoch:
            self.outdated()
        self.audience.state_changed = True

    def outdated(self) -> None:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._chore(self._refresh(), name=f"record of {self.session}")

    # -- within -----------------------------------------------------------------------------------------------------

    def _still_needed(self) -> WorkerChannel | None:
        """The leaving worker, until its successor has sent its first frame."""
        leaving = self.upstream.leaving
        return leaving if leaving is not None and self.output.feeds_leaving(self.upstream.epochs) else None

    def _count_losses(self) -> None:
        peer = None if self.audience.publisher is None else self.audience.publisher.peer
        fan_outs = (fanout.figures for fanout in self.output.fanouts.values())
        self.stats.lost(peer.figures if isinstance(peer, IngestPeer) else None, fan_outs)

    def _tell_codecs(self) -> None:
        codecs = self.audience.codecs
        self.output.restart(codecs)
        channel = self.upstream.serving
        if channel is not None:
            channel.connection.send_codecs(channel.number, codecs)

    def _tell_source(self, *, gone_run: int = 0) -> None:
        run = gone_run if self.audience.publisher is None else self.audience.publisher.run
        channel = self.upstream.serving
        if channel is not None:
            channel.connection.send_source(channel.number, present=self.audience.publisher is not None, run=run)

    def _ask_key_frame(self, codec: Codec) -> None:
        channel = self.upstream.serving
        if channel is not None:
            self._shared.metrics.key_frame_requests.labels(to="worker").inc()
            channel.connection.request_key_frame(channel.number, codec)

    async def _live(self, epoch: int) -> None:
        await self._shared.claims.set_phase(self.session, epoch, Phase.LIVE)

    async def _refresh(self) -> None:
        record = await self._shared.claims.record(self.session)
        if record is not None:
            self.missing_since_s = None
            self.updated(record)
        elif self.missing_since_s is None:
            self.missing_since_s = self._shared.clock.monotonic()

    def _chore(self, work: Awaitable[None], *, name: str) -> "asyncio.Task[None]":
        async def guarded() -> None:
            try:
                await work
            except (RedisError, OSError) as error:
                logger.warning("%s: Redis does not answer (%s)", self.session, type(error).__name__)

        return self._chores.start(guarded(), name=name)


def _cause(reason: str) -> MoveCause:
    return MoveCause(reason) if reason in set(MoveCause) else MoveCause.REFUSED
