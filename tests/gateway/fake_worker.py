"""A worker without an engine: it speaks the real link and keeps real claims, and sends back what is published to it."""

import asyncio
import contextlib
from typing import Any

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import Held, MoveCause
from genlock_core.claims.identity import FormatRange, WorkerIdentity, WorkerOffer
from genlock_core.claims.pulse import Pulse, Vitals
from genlock_core.clock import Clock
from genlock_core.link.connection import LinkConnection
from genlock_core.link.events import (
    ChannelClosed,
    CodecsWanted,
    ControlNudged,
    Event,
    LinkIdentity,
    MediaReceived,
    OpenRequested,
    SourceChanged,
    SubscriptionRenewed,
    SubscriptionRequested,
)
from genlock_core.link.messages import LinkRole, RefusalReason
from genlock_core.link.server import LinkServer, serve
from genlock_core.media import AccessUnit, Codec, SourcePosition, StillPicture
from genlock_core.slo.stages import StageTimes

HEARTBEAT_S = 0.1
NO_STAGES = StageTimes()
MODEL = "wan2.1-1.3b"


class FakeWorker:
    """`start`; then `kill` (the process dies), `stall` (it stands still) and `go_on`, or `hand_over`.

    It keeps what it hears: `opens` every OPEN, `received` the source units, `replayed` those of kept groups of
    pictures, `sources` and `codecs` what gateways said. What it receives it sends back at once.
    """

    def __init__(
        self, name: str, claims: Claims, *, secret: bytes, clock: Clock, pool: str = "local", engine: str = ""
    ) -> None:
        self.identity = WorkerIdentity.fresh(name)
        self.pool = pool
        self.engine = engine
        self.opens: list[OpenRequested] = []
        self.replayed: list[MediaReceived] = []
        self.received: list[MediaReceived] = []
        self.sources: list[SourceChanged] = []
        self.codecs: dict[str, frozenset[Codec]] = {}
        self.nudges = 0
        self.subscriptions: list[SubscriptionRequested] = []
        self.renewals = 0
        self.beats = 0
        self.vitals: Vitals | None = None
        """What its heartbeats say of it."""
        self.refuses_pictures: RefusalReason | None = None
        self.may_open = asyncio.Event()  # unset: a worker that takes its time to restore a session
        self.may_open.set()
        self._claims = claims
        self._secret = secret
        self._clock = clock
        self._held_sessions: dict[str, Held] = {}
        self._progress = 0
        self._stalled = self._dead = False
        self._channels: dict[tuple[LinkConnection, int], tuple[str, int]] = {}
        self._looking: dict[tuple[LinkConnection, int], str] = {}
        self._server: LinkServer | None = None
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._server = await serve(
            "127.0.0.1",
            0,
            self._serve,
            identity=LinkIdentity(LinkRole.WORKER, self.identity.name, self.identity.incarnation),
            secrets=[self._secret],
            clock=self._clock,
            pulse=lambda: Pulse(self._progress),
        )
        await self._claims.register(self._offer())
        self._beating = asyncio.create_task(self._beat())

    @property
    def sessions(self) -> set[str]:
        """The sessions that gateways have channels for."""
        return {session for session, _ in self._channels.values()}

    async def stop(self) -> None:
        """Leave without a sound: no release, no goodbye in Redis."""
        self._dead = True
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
        if self._server is not None:
            await self._server.close("the worker stops")

    async def kill(self) -> None:
        """Die: the connections break without a goodbye, and nobody listens any more."""
        assert self._server is not None
        assert self._beating is not None
        self._dead = True
        self._beating.cancel()
        await self._server.stop_listening()
        for connection in list(self._server.connections):
            connection._writer.transport.abort()
        self._channels.clear()

    def stall(self) -> None:
        """Stand still as a stopped process does: no progress, no heartbeat, no answer."""
        self._stalled = True

    def go_on(self) -> None:
        self._stalled = False

    async def hand_over(self, session: str, epoch: int) -> None:
        """Move the session away politely, and serve on until the gateways close."""
        move = await self._claims.move(session, expected_epoch=epoch, suspect=self.identity.name, cause=MoveCause.DRAIN)
        for (connection, number), (known, _) in self._channels.items():
            if known == session:
                connection.send_handover(number, epoch=move.claim.epoch, address=move.claim.address)

    def send(self, session: str, unit: AccessUnit, *, run: int, stages: StageTimes = NO_STAGES) -> None:
        """Send a picture of the session to its gateways."""
        for (connection, number), (known, _) in self._channels.items():
            if known == session and unit.codec in self.codecs.get(session, frozenset()):
                connection.send_media(number, unit, run=run, stages=stages)

    @property
    def looked_at(self) -> list[str]:
        """The session of every subscription to pictures."""
        return list(self._looking.values())

    def show(self, session: str, jpeg: bytes) -> None:
        """Send a picture to whoever subscribed to the session."""
        for (connection, number), known in self._looking.items():
            if known == session:
                connection.send_picture(number, StillPicture(jpeg, SourcePosition(1, 0)))

    def end_previews(self) -> None:
        """Close every subscription, as a worker does when nobody renews it."""
        for connection, number in self._looking:
            connection.close_channel(number, "nobody asked for more")
        self._looking.clear()

    def report(self, session: str, **fields: Any) -> None:
        for (connection, number), (known, _) in self._channels.items():
            if known == session:
                connection.send_stats(number, fields)

    def _offer(self) -> WorkerOffer:
        assert self._server is not None
        return WorkerOffer(
            self.identity,
            self.pool,
            MODEL,
            1_000,
            self._server.address,
            FormatRange(1, 1),
            "NVIDIA-H100",
            4,
            self.engine,
        )

    async def _beat(self) -> None:
        while not self._dead:  # a cancellation alone can get lost in the wait for Redis
            if not self._stalled:
                self._progress += 1
                with contextlib.suppress(Exception):
                    renewal = await self._claims.renew(
                        self.identity, progress=self._progress, links={}, vitals=self.vitals
                    )
                    self.beats += 1
                    if not renewal.known:
                        await self._claims.reassert(self._offer(), list(self._held_sessions.values()))
            await asyncio.sleep(HEARTBEAT_S)

    async def _serve(self, connection: LinkConnection) -> None:
        try:
            async for event in connection.events():
                while self._stalled:
                    await asyncio.sleep(HEARTBEAT_S)
                await self._take(connection, event)
        finally:
            for key in [key for key in self._channels if key[0] is connection]:
                del self._channels[key]
            for key in [key for key in self._looking if key[0] is connection]:
                del self._looking[key]

    async def _take(self, connection: LinkConnection, event: Event) -> None:
        match event:
            case OpenRequested(channel, request):
                self.opens.append(event)
                record = await self._claims.record(request.session)
                if record is None or record.owner != self.identity or record.epoch != request.epoch:
                    connection.refuse(channel, RefusalReason.NOT_OWNER, epoch=0 if record is None else record.epoch)
                    return
                self._channels[connection, channel] = request.session, request.epoch
                self._held_sessions[request.session] = Held(request.session, record.epoch, record.cost, record)
                await self.may_open.wait()
                connection.accept(channel, request.epoch)
            case SubscriptionRequested(channel, wish):
                self.subscriptions.append(event)
                record = await self._claims.record(wish.session)
                if record is None or record.owner != self.identity or record.epoch != wish.epoch:
                    connection.refuse(channel, RefusalReason.NOT_OWNER, epoch=0 if record is None else record.epoch)
                elif self.refuses_pictures is not None:
                    connection.refuse(channel, self.refuses_pictures, epoch=record.epoch)
                elif connection.accept(channel, wish.epoch):
                    self._looking[connection, channel] = wish.session
            case SubscriptionRenewed():
                self.renewals += 1
            case ChannelClosed(channel):
                self._looking.pop((connection, channel), None)
                self._channels.pop((connection, channel), None)
            case CodecsWanted():
                self.codecs[event.session] = self.codecs.get(event.session, frozenset()) | event.codecs
            case ControlNudged():
                self.nudges += 1
            case SourceChanged():
                self.sources.append(event)
            case MediaReceived() if event.replay:
                self.replayed.append(event)
            case MediaReceived():
                self.received.append(event)
                self.send(event.session, event.unit, run=event.run, stages=event.stages)
