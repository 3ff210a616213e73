"""One live session at this gateway, put together: audience, source, output and upstream.

Frames do not pass through here: `source` sends those of the publisher to the workers, and those of the workers go from
their channels to `output`. `LiveStream` is told who comes and goes, what Redis says and how the upstream stands.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Final

from redis.exceptions import RedisError

from genlock_core.claims.facts import Claim, MoveCause, Publishing
from genlock_core.claims.record import SessionRecord
from genlock_core.link.events import StatsReceived
from genlock_core.link.messages import Open
from genlock_core.media import Codec, SourcePosition
from genlock_core.process.tasks import OwnedTasks
from genlock_core.situation.states import SessionState
from genlock_core.slo.report import StreamReport
from genlock_core.spec.session import Phase
from genlock_core.subscriptions.subscription import FrameKind, Subscription
from genlock_core.tokens import Role
from genlock_gateway.sessions.audience import Audience, PeerResource
from genlock_gateway.sessions.meters.recovery import RecoveryLeg
from genlock_gateway.sessions.output_gate import SessionOutput
from genlock_gateway.sessions.session_view import SessionView
from genlock_gateway.sessions.showing import SeenHere, phase_of, view_of
from genlock_gateway.sessions.source import SessionSource
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.surroundings import Surroundings
from genlock_gateway.sessions.upstream.links import WorkerChannel
from genlock_gateway.sessions.upstream.mover import Epochs
from genlock_gateway.sessions.upstream.shared_parts import SharedParts
from genlock_gateway.sessions.upstream.upstream import Upstream

logger = logging.getLogger(__name__)

JUDGE_EVERY_S: Final = 0.5
LEVEL_SETTLES_S: Final = 2.0
"""A worker runs another level with its next chunk, and its figures tell of it some time later."""
FAREWELL_S: Final = 0.2
"""The last message gets this long to reach those that are closed next."""
POLITE: Final = frozenset({MoveCause.DRAIN, MoveCause.REQUESTED})
"""Moves off a worker that serves until its successor is shown."""
DISMISSALS: Final = 5
"""So often is it tried to tell a publisher that it is not wanted."""


class LiveStream:
    """The one mutable object of a session here.

    It is idle until a publisher or a viewer enters. Then its upstream claims, opens and moves, until the last one has
    left (idle again) or the session has an `end_reason`. `Hub` makes it on demand, and drops it when nobody uses it.
    """

    def __init__(self, record: SessionRecord, shared: SharedParts) -> None:
        self.session = record.name
        self.record = record
        self.audience = Audience()
        self.stats = SessionStats(
            self.session, frame_rate=record.session.frame_rate, clock=shared.clock, metrics=shared.metrics
        )
        self.stats.levels.served_by(record.pool)
        self.output = SessionOutput(
            Codec[record.session.output.codec.upper()],
            audience=self.audience,
            stats=self.stats,
            clock=shared.clock,
            owner=self,
        )
        self.upstream = Upstream(self.session, stream=self, output=self.output, shared=shared)
        self.source = SessionSource(
            audience=self.audience,
            output=self.output,
            upstream=self.upstream,
            stats=self.stats,
            metrics=shared.metrics,
        )
        self.end_reason = ""
        """Why the session has ended; empty while it has not."""
        self.missing_since_s: float | None = None
        """Since when Redis has no record of it."""
        self.surroundings = Surroundings()
        """As Redis knows them; maintenance brings them up to date."""
        self._shared = shared
        self._state: SessionState | None = None
        self._level_settled_s = float("-inf")
        self._judge_due_s = 0.0
        self._chores = OwnedTasks()
        self._refreshing: asyncio.Task[None] | None = None

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Somebody publishes or watches here, or is about to publish, so the session has to run."""
        return self.audience.publisher is not None or bool(self.audience.viewers) or bool(self.audience.candidates)

    @property
    def unused(self) -> bool:
        """Nobody here has anything to do with the session."""
        return not self.wanted and not self.audience.listeners

    @property
    def phase(self) -> Phase:
        """What clients are told: the record's phase, Recovering from the loss of a worker to the next frame, and Live
        from the first frame on for as long as somebody publishes."""
        record = self.record
        if record.finished or not self.wanted:
            return phase_of(record, self.publishing)
        if self.output.lost:
            return Phase.RECOVERING
        if self.output.shown_epoch >= record.epoch > 0:
            return phase_of(replace(record, phase=Phase.LIVE), self.publishing)
        return phase_of(record, self.publishing)

    @property
    def publishing(self) -> Publishing:
        """Whether anybody publishes: here as it is, elsewhere as Redis knew it a moment ago."""
        return Publishing.NOW if self.audience.publisher is not None else self.surroundings.publishing

    def view(self, role: Role) -> SessionView:
        """The session as somebody with `role` is shown it."""
        return view_of(
            self.record,
            role=role,
            surroundings=replace(self.surroundings, publishing=self.publishing),
            may_start_again=self._shared.may_start_again,
            here=SeenHere(
                phase=self.phase,
                reason=self.stats.cause.value if self.output.lost else "",
                publisher=self.audience.publisher is not None,
                viewers=len(self.audience.viewers),
                pictures=self.stats.pictures,
                source_moves=self.stats.source_moves,
                trouble=self.source.trouble,
                late_share=self.stats.late_share,
                level_settles=self._shared.clock.monotonic() < self._level_settled_s,
                stats=self.report() if self.wanted else None,
            ),
        )

    def report(self) -> StreamReport:
        """The live figures."""
        owner = self.record.owner
        return self.stats.report(
            viewers=len(self.audience.viewers),
            worker=None if owner is None else owner.name,
            epoch=self.record.epoch,
        )

    # -- people -----------------------------------------------------------------------------------------------------

    def expect(self, candidate: PeerResource, claim: Claim | None = None) -> Sequence[PeerResource]:
        """A publisher's offer was answered; `enter` follows when it is connected and has the slot.

        Returns the candidates whose place a newer offer of the same publisher has taken: close them.
        """
        self.audience.candidates.add(candidate)
        same = sorted(
            (one for one in self.audience.candidates if one.key == candidate.key), key=lambda one: one.admission
        )
        # The worker gets ready meanwhile.
        self.upstream.want(claim)
        return same[:-1]

    def enter(self, resource: PeerResource, claim: Claim | None = None) -> PeerResource | None:
        """A publisher or a viewer is here; returns the publisher that it takes over from."""
        previous: PeerResource | None = None
        self._count_losses()

        if resource.kind == "whip":
            previous = self.audience.publisher
            self.audience.candidates.discard(resource)
            self.audience.publisher = resource
            self.source.began(resource.run)
        else:
            self.audience.viewers.add(resource)
            self._tell_codecs()

        self._count_viewers()
        self.upstream.want(claim)
        self.changed()
        return previous

    def leave(self, resource: PeerResource) -> None:
        """Its peer is closed."""
        # The figures of a publisher's peer are gone with it.
        self._count_losses()

        if resource is self.audience.publisher:
            self.audience.publisher = None
            self.surroundings = replace(self.surroundings, publishing=Publishing.GONE)
            self.source.ended(resource.run)
        elif resource in self.audience.candidates:
            self.audience.candidates.discard(resource)
            self.source.forget(resource)
        elif resource in self.audience.viewers:
            self.audience.viewers.discard(resource)
            self._tell_codecs()
            if not self.audience.viewers:
                self.stats.rest()
        else:
            return

        self._count_viewers()
        if not self.wanted:
            self.upstream.unwant()
            self.stats.forget_report()
            self.output.rest()
        self.changed()

    async def dismiss(self, publisher: PeerResource, reason: str) -> None:
        """Another publisher has the session: tell this one, or one that wanted to be, and close it."""
        await self._farewell(publisher, reason, {"type": "replaced", "reason": reason})

    async def send_away(self, candidate: PeerResource, reason: str) -> None:
        """Nobody is in its way, and yet it did not become the publisher: ask it to connect again, and close it."""
        await self._farewell(candidate, reason, {"type": "reconnect", "afterMs": 0})

    async def _farewell(self, publisher: PeerResource, reason: str, message: dict[str, str | int]) -> None:
        # Whoever has just connected opens its channel in a moment.
        for _ in range(DISMISSALS):
            if publisher.peer.send(json.dumps(message)):
                break
            await asyncio.sleep(FAREWELL_S / 2)
        await asyncio.sleep(FAREWELL_S)
        await publisher.peer.close(reason)

    def renumber(self, resource: PeerResource, run: int) -> None:
        """Redis had lost the publisher's slot, and its publication has another number now."""
        if resource is self.audience.publisher and run != resource.run:
            resource.run = run
            self.source.announce()
            self.source.request_key_frame()

    def nudge(self) -> None:
        """There is something new in the control stream."""
        for channel in (self.upstream.serving, self.upstream.leaving):
            if channel is not None:
                channel.connection.nudge_control(channel.number)

    # -- time and the record ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Time passes; several times a second."""
        self.upstream.tick()
        self._count_losses()
        self.source.tick()
        if self.upstream.leaving is not None and self.output.may_leave(self.upstream.epochs):
            self.upstream.close_leaving()
            self.output.left(self.upstream.epochs)
        self.output.tick()
        self._judge()
        self.audience.tick(self.view, self._shared.clock.monotonic())

    def _judge(self) -> None:
        """Clients are told of a state that time alone has changed: pictures stop, and nobody says so."""
        now_s = self._shared.clock.monotonic()
        if now_s < self._judge_due_s or self.unused:
            return
        self._judge_due_s = now_s + JUDGE_EVERY_S
        self.stats.levels.look(now_s)
        state = self.view(Role.VIEW).state
        if state is not self._state:
            self._state = state
            self.audience.state_changed = True

    def updated(self, record: SessionRecord) -> None:
        """Redis has this record now."""
        # Two reads may overtake each other, and one that was kept for a moment may come after a newer one.
        before = self.record
        same = record.created_ms == before.created_ms
        if record.epoch < before.epoch or (same and record.orientation_run < before.orientation_run):
            return

        moved = record.epoch > self.record.epoch and record.owner != self.record.owner
        paused = record.control.get("paused")
        if record.granted != before.granted or record.requested_steps != before.requested_steps:
            self._level_settled_s = self._shared.clock.monotonic() + LEVEL_SETTLES_S
        self.record = record
        self.stats.levels.served_by(record.pool)

        if record.finished and not self.end_reason:
            self.end_reason = f"the session has ended ({record.reason})" if record.reason else "the session has ended"

        # Somebody else moved the session because of a fault, and viewers have seen nothing of its new worker yet.
        if moved and record.phase is Phase.RECOVERING and record.epoch > self.output.shown_epoch:
            self.moving(_cause(record.reason))

        # A pause is no freeze.
        if paused is not None and paused.value == "true":
            self.stats.rest()

        if not record.finished:
            self.upstream.follow(record)
        self.changed()

    async def end(self, reason: str) -> None:
        """The session is over: tell everybody, and close."""
        if not self.record.finished:
            # Its record went before it had an end.
            self.record = replace(self.record, phase=Phase.ENDED, reason="Deleted")
        self.audience.farewell(self.view)
        self.upstream.unwant()
        await asyncio.sleep(FAREWELL_S)
        leaving = (*self.audience.clients, *self.audience.candidates)
        await asyncio.gather(*(resource.peer.close(reason) for resource in leaving))

    def close(self) -> None:
        """Leave nothing behind."""
        self.upstream.close("the gateway leaves the session")
        self._count_losses()
        self.output.close()
        self._chores.cancel()
        self._shared.metrics.drop_session(self.session)

    # -- from the upstream and the output -----------------------------------------------------------------------------

    def open_request(self, claim: Claim) -> Open:
        self.stats.recovers(RecoveryLeg.CLAIM, epoch=claim.epoch)
        subscription = Subscription(
            session=self.session,
            epoch=claim.epoch,
            subscriber=self._shared.gateway,
            frames=FrameKind.ENCODED,
            codecs=self.audience.codecs,
        )
        return Open.of(subscription, publisher=self.audience.publisher is not None, after=self.output.last_shown)

    def opened(self, channel: WorkerChannel, *, moved: bool, restore_ms: int | None) -> None:
        self.stats.recovers(RecoveryLeg.OPEN, epoch=channel.epoch, restore_s=(restore_ms or 0) / 1_000)
        self.stats.opened()
        if moved:
            self.stats.moved()
        channel.connection.send_codecs(channel.number, self.audience.codecs)
        self.source.replay(channel)
        self.changed()

    @property
    def epochs(self) -> Epochs:
        return self.upstream.epochs

    def ask_key_frame(self, codec: Codec, *, after: SourcePosition | None = None) -> None:
        channel = self.upstream.serving
        if channel is not None:
            self._shared.metrics.key_frame_requests.labels(to="worker").inc()
            channel.connection.request_key_frame(channel.number, codec, after=after)

    def live(self, epoch: int) -> None:
        self._chore(self._set_live(epoch), name=f"live phase of {self.session}")
        self.changed()

    def key_frame_wanted(self) -> None:
        self.source.request_key_frame()

    def reported(self, channel: WorkerChannel, stats: StatsReceived) -> None:
        if channel is self.upstream.channel:
            self.stats.reported(stats.report)

    def moving(self, cause: MoveCause) -> None:
        self.stats.leaves(cause)
        # It is there by the time that another worker opens: that one may skip a long group of pictures.
        if cause not in POLITE:
            self.source.request_key_frame()
        # A polite move shows no gap: its old worker is shown until its new one is.
        if cause not in POLITE and self.output.lose():
            self.stats.fault(cause)
            self.changed()

    def changed(self) -> None:
        claim = self.upstream.situation.claim
        if claim is not None and claim.epoch > self.record.epoch:
            self.refresh()
        self.audience.state_changed = True

    def refresh(self) -> None:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._chore(self._read_record(), name=f"record of {self.session}")

    # -- within -----------------------------------------------------------------------------------------------------

    def _count_viewers(self) -> None:
        self._shared.metrics.viewers.labels(session=self.session).set(len(self.audience.viewers))

    def _count_losses(self) -> None:
        fan_outs = (fanout.figures for fanout in self.output.fanouts.values())
        self.stats.lost(self.source.figures, fan_outs)

    def _tell_codecs(self) -> None:
        codecs = self.audience.codecs
        self.output.restart(codecs)
        channel = self.upstream.serving
        if channel is not None:
            channel.connection.send_codecs(channel.number, codecs)

    async def _set_live(self, epoch: int) -> None:
        await self._shared.claims.set_phase(self.session, epoch, Phase.LIVE)

    async def _read_record(self) -> None:
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
