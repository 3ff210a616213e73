"""What the worker owns: registers it, renews its leases, takes sessions on, lets them go.

Redis says who owns a session (`Renewal.owned`); the inbox only says it sooner. While Redis is away the worker goes on
with what it has. When Redis is back without its data, the worker claims again what it still serves.
"""

import asyncio
import logging
from collections.abc import Sequence

from redis.exceptions import RedisError

from genlock_core.claims.claims import Assignment, AssignmentKind, Held, MoveCause, Renewal
from genlock_core.claims.identity import WorkerOffer
from genlock_core.claims.liveness import RENEW_EVERY_S
from genlock_core.claims.record import SessionRecord
from genlock_core.link.messages import RefusalReason
from genlock_core.process.tasks import OwnedTasks, wait_first
from genlock_core.spec.session import Phase
from genlock_worker.output.gateway_channel import ChannelRefusal
from genlock_worker.ownership.drain import SessionDrain
from genlock_worker.ownership.vital_signs import VitalSigns
from genlock_worker.session.live_session import LiveSession
from genlock_worker.session.opening import Services

logger = logging.getLogger(__name__)

VERIFY_TIMEOUT_S = 0.5
"""How long an OPEN waits for Redis before what the worker serves is taken for the truth."""
ROUND_S = 8.0
"""No round of a loop takes longer, whatever Redis does: a silent one is no reason to take the worker for stuck."""
BREATH_S = 0.1
"""At least so much lies between two heartbeats: by then even an idle engine has made progress."""
INBOX_BLOCK_MS = 1_000
RETRY_S = 0.25


class Agent:
    """Made with what the worker offers; `register`, then `beat` and `follow_inbox` as tasks; `drain`, `close`.

    It is the one owner of the table of live sessions; `drain.SessionDrain` shares it, to take sessions out.
    """

    def __init__(self, offer: WorkerOffer, services: Services, vital_signs: VitalSigns) -> None:
        self.offer = offer
        self.draining = False
        """Whether this worker moves its sessions away itself."""
        self.closed = False
        """Whether somebody closed the worker in Redis; whoever did moves its sessions as he sees fit."""
        self.superseded = asyncio.Event()
        """Set when a newer process has this worker's name: no session is this process's any more."""
        self.rounds: dict[str, float] = {}
        """When each loop last began a round, by the worker's clock, whatever came of the round."""
        self.sessions: dict[str, LiveSession] = {}
        """The sessions that are served, by name."""
        self._services = services
        self._vital_signs = vital_signs
        self._claims = services.claims
        self._metrics = services.metrics
        self._errands = OwnedTasks()
        self._level_changed = asyncio.Event()
        """Set when a heartbeat now would be told of another level."""
        self._held = False
        """Whether Redis was newly back when it was last asked."""
        self._read_inbox_after = "0"
        self.session_drain = SessionDrain(offer.identity, self.sessions, services=services, errands=self._errands)

    def leaving(self) -> str:
        """Why no session comes here any more; "" while they may."""
        if self.superseded.is_set():
            return "a newer process has the name"
        return "draining" if self.draining or self.closed else ""

    # -- its loops ----------------------------------------------------------------------------------------------------

    async def register(self) -> None:
        """Tell Redis of this worker; tries until Redis answers."""
        while True:
            try:
                voided = await self._claims.register(self.offer)
                break
            except RedisError as error:
                logger.warning("cannot register yet: %s", error)
                await asyncio.sleep(RETRY_S)

        if voided:
            logger.warning("sessions of an older process of this name are void: %s", ", ".join(voided))

    async def beat(self) -> None:
        """The heartbeat: progress is the engine's own, so that a stuck engine stops it.

        The leases live on while the engine stands still no longer than is normal for it: a worker that restores a
        large model must not lose the sessions that it serves beside.
        """
        clock = self._services.clock
        while True:
            known = {name: live.epoch for name, live in self.sessions.items()}
            progress = self._services.engine.progress
            started_s = clock.monotonic()
            self.rounds["heartbeat"] = started_s
            asked = self._services.snapshot_room.asks()
            self._level_changed.clear()

            try:
                async with asyncio.timeout(ROUND_S):
                    renewal = await self._claims.renew(
                        self.offer.identity,
                        progress=progress,
                        links=self._links(),
                        snapshots=asked,
                        vitals=self._vital_signs.vitals,
                    )
                    self._services.snapshot_room.granted(renewal.snapshots, asked)
                    await self._apply(renewal, known)
                self._metrics.heartbeats.labels("ok").inc()
                self._metrics.renew_seconds.observe(clock.monotonic() - started_s)
            except (RedisError, TimeoutError) as error:
                self._metrics.heartbeats.labels("failed").inc()
                logger.warning("heartbeat failed, serving on: %s", str(error) or "no answer")

            self._metrics.engine_progress.set(progress)
            self._show_capacity()
            self._services.snapshot_room.show()
            await self._until_next_beat(RENEW_EVERY_S - (clock.monotonic() - started_s))

    async def _until_next_beat(self, rest_s: float) -> None:
        """Wait for the rest of the interval; less where a snapshot waits for room, or another level was granted."""
        await asyncio.sleep(BREATH_S)
        if rest_s > BREATH_S:
            await wait_first(self._services.snapshot_room.asking, self._level_changed, timeout_s=rest_s - BREATH_S)

    def _links(self) -> dict[str, list[str]]:
        return {
            name: sorted({c.subscription.subscriber for c in live.output.channels})
            for name, live in self.sessions.items()
        }

    def _show_capacity(self) -> None:
        used = sum(live.level.cost for live in self.sessions.values())
        self._metrics.capacity.labels("total").set(self.offer.capacity)
        self._metrics.capacity.labels("free").set(self.offer.capacity - used)

        # A session counts as Live here from its first frame on, whether Redis knows it or not.
        for phase in (Phase.ASSIGNED, Phase.LIVE):
            live = phase is Phase.LIVE
            count = sum((session.figures.frames_sent > 0) == live for session in self.sessions.values())
            self._metrics.sessions.labels(phase.value).set(count)

    async def _apply(self, renewal: Renewal, known: dict[str, int]) -> None:
        """Bring what is served in line with what is owned; `known` is what was served when Redis was asked."""
        if renewal.superseded:
            logger.error("a newer process has the name %s; leaving", self.offer.identity.name)
            self.superseded.set()
            return

        if not renewal.known:
            self._services.snapshot_room.lost()
            for live in await self._reassert(list(self.sessions.values())):
                self.session_drain.drop(live, "it belongs to another owner")
            return

        self.closed = renewal.closed

        # What was served when Redis was asked, and is not owned, has gone to another worker. Or Redis went back to an
        # older replica: then it holds back for now, and who has the higher epoch may have the session again.
        gone = [
            served
            for name, served in self.sessions.items()
            if known.get(name) == served.epoch and renewal.owned.get(name) != served.epoch
        ]
        if gone and renewal.holding:
            gone = await self._reassert(gone)
        for served in gone:
            self.session_drain.lost(served)

        if renewal.holding and not self._held:
            self._read_inbox_after = "0"  # its ids may have gone back, too; what was obeyed is obeyed in vain
        self._held = renewal.holding

        self._follow_levels(renewal)
        for name, epoch in renewal.owned.items():
            if name not in self.sessions and not self.session_drain.has_finished(name, epoch):
                await self._take(name, epoch)

    def _follow_levels(self, renewal: Renewal) -> None:
        """Have the engine keep to what is granted. It may be busy with a batch: no heartbeat waits for it."""
        for name, ceiling in renewal.ceilings.items():
            live = self.sessions.get(name)
            if live is not None and live.epoch == renewal.owned[name] and live.level.hear(ceiling):
                self._errands.start(live.level.follow(ceiling), name=f"level of {name}")

    async def _reassert(self, serving: Sequence[LiveSession]) -> list[LiveSession]:
        """Redis does not know this worker, or that these sessions are its own: claim them again; those refused."""
        held = [Held(live.name, live.epoch, live.level.cost, live.record_again()) for live in serving]
        outcome = await self._claims.reassert(self.offer, held, closed=self.draining or self.closed)
        logger.warning("Redis had lost claims: kept %d sessions, lost %d", len(outcome.kept), len(outcome.refused))
        return [live for live in serving if live.name in outcome.refused]

    async def follow_inbox(self) -> None:
        """Take sessions on and let them go as the inbox says, for ever."""
        while True:
            self.rounds["inbox"] = self._services.clock.monotonic()
            try:
                async with asyncio.timeout(ROUND_S):
                    for assignment in await self._claims.assignments(
                        self.offer.identity, self._read_inbox_after, INBOX_BLOCK_MS
                    ):
                        await self._obey(assignment)
                        self._read_inbox_after = assignment.id
            except (RedisError, TimeoutError) as error:
                logger.warning("the inbox cannot be read: %s", str(error) or "no answer")
                await asyncio.sleep(RETRY_S)

    async def _obey(self, assignment: Assignment) -> None:
        name, epoch = assignment.session, assignment.epoch
        if assignment.kind is AssignmentKind.ASSIGN:
            await self._take(name, epoch)
            return
        if assignment.kind is AssignmentKind.LEVEL:
            if name in self.sessions:
                self.sessions[name].level.ask()
            self._level_changed.set()
            return

        live = self.sessions.get(name)
        if live is None or live.epoch != epoch:
            return

        # A polite move names the successor. Any other withdrawal ends the session here at once.
        if assignment.successor_epoch and assignment.cause in (MoveCause.DRAIN, MoveCause.REQUESTED):
            self.session_drain.hand_over(live, epoch=assignment.successor_epoch, address=assignment.successor_address)
        else:
            self.session_drain.drop(live, "it was withdrawn")

    # -- sessions come ------------------------------------------------------------------------------------------------

    async def _take(self, name: str, epoch: int) -> LiveSession | None:
        """Serve a session, if the record says that it is ours under that epoch. Raises RedisError."""
        live = self.sessions.get(name)
        if live is not None and live.epoch >= epoch:
            return live
        record = await self._claims.record(name)
        if record is None or record.owner != self.offer.identity or record.epoch != epoch or record.finished:
            return None
        return self._start(record)

    def _start(self, record: SessionRecord) -> LiveSession:
        live = self.sessions.get(record.name)
        if live is not None:
            if live.epoch >= record.epoch:
                return live
            self.session_drain.drop(live, "it was claimed anew")

        self.session_drain.came_back(record.name)
        live = LiveSession(record, epoch=record.epoch, services=self._services, on_end=self.session_drain.ended)
        self.sessions[record.name] = live

        # Redis counts the slots when it gives a session. Where it gave too many, this one goes elsewhere.
        used = sum(session.level.cost for session in self.sessions.values())
        if used > self.offer.capacity:
            logger.error("%s: no slot for it (%d of %d thousandths)", record.name, used, self.offer.capacity)
            self.session_drain.pass_by(live)
        else:
            self._errands.start(live.open(), name=f"open {record.name}")

        return live

    async def find(self, session: str, epoch: int) -> LiveSession:
        """For the link server: the session, owned by this worker in that epoch. Raises ChannelRefusal."""
        live = self.sessions.get(session)
        try:
            async with asyncio.timeout(VERIFY_TIMEOUT_S):
                record = await self._claims.record(session)
        except (RedisError, TimeoutError):
            if live is None or live.epoch != epoch:
                known = live.epoch if live is not None else 0
                raise ChannelRefusal(RefusalReason.NOT_OWNER, "Redis is away", epoch=known) from None
            return live

        if record is None or record.owner != self.offer.identity or record.epoch != epoch:
            known = record.epoch if record is not None else 0
            raise ChannelRefusal(RefusalReason.NOT_OWNER, "another worker or epoch has it", epoch=known)
        if live is None and self.session_drain.has_finished(session, epoch):
            raise ChannelRefusal(RefusalReason.NOT_OWNER, "it has just ended here", epoch=epoch)
        if live is None and self.draining:
            raise ChannelRefusal(RefusalReason.DRAINING, "the worker drains", epoch=epoch)

        return self._start(record)

    # -- sessions go --------------------------------------------------------------------------------------------------

    async def drain(self, timeout_s: float) -> bool:
        """Move every session to another worker, politely. True when nobody is left, False at the deadline."""
        self.draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self.session_drain.move_all()
        except TimeoutError:
            logger.error("the drain ran out of time; left: %s", ", ".join(self.sessions) or "none")
            return False
        return True

    async def close(self) -> None:
        """Leave everything as it is in Redis and stop: what is left here is found by its lease."""
        await self.session_drain.close_all("the worker stops")
        await self._errands.end()
