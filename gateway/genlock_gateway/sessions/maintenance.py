"""What a gateway does all the time: sweep expired sessions, follow events, keep its publishers' slots, write back.

Each gateway does this for all sessions. Two that do the same at once only repeat each other. Each task is a loop that
outlives its errors and tells when it last came round, so that `/healthz` finds a stuck one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from redis.exceptions import RedisError

from genlock_core.claims.claims import EVENTS_AT_ONCE, Claims
from genlock_core.claims.facts import Event, EventKind
from genlock_core.claims.figure_board import POST_EVERY_S, FigureBoard
from genlock_core.claims.publisher import Gateways, Publishers
from genlock_core.claims.record import FINISHED
from genlock_core.errors import NoCapacity, UnknownSession
from genlock_core.levelling.keeper import LevelKeeper
from genlock_core.process.tasks import end_tasks
from genlock_core.spec.session import Phase
from genlock_gateway.sessions.hub import Hub
from genlock_gateway.sessions.publisher_slot import PublisherSlots
from genlock_gateway.sessions.record_cache import RecordCache
from genlock_gateway.sessions.session_data import SessionDataCleaner
from genlock_gateway.sessions.stats import posted_figures
from genlock_gateway.sessions.stream import LiveStream
from genlock_gateway.sessions.surroundings import look_around
from genlock_gateway.sessions.upstream.mover import backoff_s
from genlock_gateway.sessions.waiting_offers import WaitingOffers

logger = logging.getLogger(__name__)

SWEEP_EVERY_S: Final = 0.5
ANNOUNCE_EVERY_S: Final = 1.0
ANNOUNCE_TTL_S: Final = 5.0
TOUCH_EVERY_S: Final = 5.0
TICK_EVERY_S: Final = 0.1
COUNT_EVERY_S: Final = 5.0
RECLAIM_JITTER_S: Final = 0.2
RECLAIMED_AT_ONCE: Final = 64
"""Sessions without a worker that are claimed again because some room was made, those that have waited longest."""
BLOCK_MS: Final = 500
STUCK_S: Final = 15.0
MISSING_S: Final = 2.0
"""A live session's record that is not there for this long, though nobody said that it was deleted, is lost."""
MAX_ORPHANS: Final = 10_000


class MaintenanceLoops:
    """The loops of one gateway. `start`, then `stop`."""

    def __init__(
        self,
        *,
        name: str,
        claims: Claims,
        publishers: Publishers,
        slots: PublisherSlots,
        gateways: Gateways,
        board: FigureBoard,
        session_data: SessionDataCleaner,
        hub: Hub,
        offers: WaitingOffers,
        records: RecordCache,
        address: Callable[[], str],
        levels: LevelKeeper,
    ) -> None:
        self._name = name
        self._claims = claims
        self._publishers = publishers
        self._slots = slots
        self._gateways = gateways
        self._board = board
        self._session_data = session_data
        self._hub = hub
        self._offers = offers
        self._records = records
        self._address = address
        self._levels = levels
        self._clock = hub.shared.clock
        self._metrics = hub.shared.metrics
        self._jitter = hub.shared.jitter
        self._tasks: list[asyncio.Task[None]] = []
        self._last_round_s: dict[str, float] = {}
        # Sessions whose worker's lease ran out: when to claim each again, and how often that was tried.
        self._orphans: dict[str, tuple[float, int]] = {}
        # The newest event that was read.
        self._after = "0-0"
        self._following = False
        self._redis_was_gone = False
        self._touch_due_s = 0.0
        self._count_due_s = 0.0

    def start(self) -> None:
        """Begin all loops."""
        for name, every_s, work in (
            ("tick", TICK_EVERY_S, self._tick),
            ("sweep", SWEEP_EVERY_S, self._sweep),
            ("presence", ANNOUNCE_EVERY_S, self._presence),
            ("figures", POST_EVERY_S, self.post_figures),
            ("events", 0.0, self._follow),
        ):
            self._tasks.append(asyncio.create_task(self._loop(name, every_s, work), name=f"maintenance {name}"))
        self._tasks.append(asyncio.create_task(self._levels.run(), name="maintenance levels"))

    @property
    def started(self) -> bool:
        """Whether the loops were begun, so that others may know of this gateway."""
        return bool(self._tasks)

    async def stop(self) -> None:
        """End all loops."""
        await end_tasks(self._tasks)

    def stuck(self) -> tuple[str, ...]:
        """The loops that have ended, or have not come round for `STUCK_S`."""
        now_s = self._clock.monotonic()
        ended = {task.get_name().removeprefix("maintenance ") for task in self._tasks if task.done()}
        late = {name for name, at_s in self._last_round_s.items() if now_s - at_s > STUCK_S}
        return tuple(sorted(ended | late))

    async def _loop(self, name: str, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            self._last_round_s[name] = self._clock.monotonic()
            try:
                async with asyncio.timeout(STUCK_S - 1):
                    await work()
                failures = 0
            except (RedisError, OSError) as error:  # TimeoutError is an OSError
                if failures == 0:
                    logger.warning("maintenance loop %s: Redis does not answer (%s)", name, type(error).__name__)
                failures += 1
                self._redis_gone()
            except Exception:
                logger.exception("maintenance loop %s failed", name)
                failures += 1
            self._last_round_s[name] = self._clock.monotonic()
            await asyncio.sleep(max(every_s, backoff_s(failures)) if failures else every_s)

    async def _tick(self) -> None:
        self._hub.tick()

    # -- Redis came and went ----------------------------------------------------------------------------------------

    def _redis_gone(self) -> None:
        self._redis_was_gone = True
        self._records.lost_track()
        self._metrics.redis_up.set(0)

    async def _redis_answers(self) -> None:
        """Redis answers. If it may have lost its data, write back the records of the sessions that live here.

        Without its record a session's worker could not reassert that it serves it.
        """
        self._metrics.redis_up.set(1)

        newest = await self._claims.last_event()
        if _position(newest) < _position(self._after):
            # Redis came back empty before anybody noticed that it was away.
            self._redis_was_gone = True
            self._records.lost_track()
            self._after = newest

        # A record that is missing for a moment only may be between a deletion and its event.
        lost = [stream for stream in self._hub.streams if stream.missing_since_s is not None]
        patient_s = self._clock.monotonic() - MISSING_S
        if not self._redis_was_gone and all((stream.missing_since_s or 0.0) > patient_s for stream in lost):
            return

        for stream in self._hub.streams:
            if not stream.end_reason and await self._claims.record(stream.session) is None:
                await self._claims.create(stream.record)
                logger.warning("%s: Redis had lost its record; written back", stream.session)
        self._redis_was_gone = False

    # -- sweeping ---------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        expired = await self._claims.expire()
        await self._redis_answers()

        # A worker's death makes many orphans at once: the jitter spreads their claims.
        now_s = self._clock.monotonic()
        for session in expired[: MAX_ORPHANS - len(self._orphans)]:
            logger.warning("%s: the lease of its worker ran out", session)
            self._orphans[session] = now_s + self._jitter.uniform(0, RECLAIM_JITTER_S), 0

        for session, (due_s, tries) in list(self._orphans.items()):
            if now_s >= due_s:
                await self._claim_again(session, tries)

        if now_s >= self._count_due_s:
            self._count_due_s = now_s + COUNT_EVERY_S
            await self._count_phases()

    async def _claim_again(self, session: str, tries: int) -> None:
        stream = self._hub.find(session)
        seen_epoch = 0 if stream is None else max(stream.record.epoch, stream.upstream.epochs.current)
        try:
            await self._claims.claim(session, seen_epoch=seen_epoch)
        except NoCapacity:
            wait_s = backoff_s(tries) * self._jitter.uniform(0.75, 1.25)
            self._orphans[session] = self._clock.monotonic() + wait_s, tries + 1
        except UnknownSession:
            del self._orphans[session]
        else:
            del self._orphans[session]

    def _room_made(self, pool: str, *, first: str) -> None:
        """Whoever waits for room asks for it now, not when the wait after the last try is over.

        The event names who has waited longest of all, and that may be somebody who waits no more.
        """
        self._offers.room_made(pool)
        self._hub.room_made(pool, first=first)
        now_s = self._clock.monotonic()
        for session in [*self._orphans.keys() & {first}, *list(self._orphans)[:RECLAIMED_AT_ONCE]]:
            due_s, tries = self._orphans[session]
            self._orphans[session] = min(due_s, now_s), tries

    async def _count_phases(self) -> None:
        phases = [record.phase for record in await self._claims.records()]
        for phase in Phase:
            self._metrics.sessions.labels(phase=phase.value).set(phases.count(phase))

    # -- presence ---------------------------------------------------------------------------------------------------

    async def _presence(self) -> None:
        await self._gateways.announce(self._name, self._address(), ANNOUNCE_TTL_S)
        for stream in self._hub.streams:
            await self._slots.keep(stream)
        await self._look_around()
        now_s = self._clock.monotonic()
        if now_s < self._touch_due_s:
            return
        self._touch_due_s = now_s + TOUCH_EVERY_S
        for stream in self._hub.streams:
            if stream.wanted:
                await self._claims.touch(stream.session)
                stream.refresh()  # should an event ever be missed

    async def _look_around(self) -> None:
        """Clients are told who publishes at other gateways, and whether there is room for what waits."""
        streams = {stream.session: stream for stream in self._hub.streams}
        records = [stream.record for stream in streams.values()]
        for session, surroundings in (await look_around(self._claims, self._publishers, records)).items():
            stream = streams[session]
            if surroundings != stream.surroundings:
                stream.surroundings = surroundings
                stream.audience.state_changed = True

    async def post_figures(self) -> None:
        """Replace what the board says of the sessions here: what has left is gone from it, too."""
        await self._board.post(
            self._name,
            {
                stream.session: posted_figures(
                    stream.report(),
                    publisher=stream.audience.publisher is not None,
                    trouble=stream.source.trouble,
                    late_share=stream.stats.late_share,
                    miss_shares=stream.stats.miss_shares,
                )
                for stream in self._hub.streams
                if stream.wanted
            },
        )

    # -- events -----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        if not self._following:
            self._after = await self._claims.last_event()
            self._following = True
        events = await self._claims.events(self._after, BLOCK_MS)
        # What is kept is dropped before anything takes time.
        for event in events:
            self._records.happened(event)
        if len(events) < EVENTS_AT_ONCE:
            self._records.followed()
        for event in events:
            await self._heard(event)
            self._after = event.id  # only now: what Redis could not answer is asked again

    async def _heard(self, event: Event) -> None:
        at_ms, _ = _position(event.id)
        self._metrics.event_lag.set(max(0, self._clock.wall_ms() - at_ms) / 1000)
        stream = self._hub.find(event.session)
        match event.kind:
            case EventKind.ROOM:
                self._room_made(event.detail, first=event.session)
            case EventKind.FORGOTTEN:
                if stream is not None and await self._is_deleted(stream):
                    stream.end_reason = "the session was deleted"
                await self._session_data.clear(event.session)
            case EventKind.PHASE if event.detail in FINISHED:
                if stream is not None:
                    stream.refresh()
                await self._session_data.ended(event.session)
            case EventKind.CONTROL if stream is not None:
                stream.nudge()
                stream.refresh()
            case _ if stream is not None:
                stream.refresh()

    async def _is_deleted(self, stream: LiveStream) -> bool:
        """Whether the record is gone, or is that of another session of the name. No clock tells: each may step."""
        record = await self._claims.record(stream.session)
        return record is None or record.created_ms != stream.record.created_ms


def _position(event: str) -> tuple[int, int]:
    """An event's id as numbers, in the order of the stream."""
    ms, _, sequence = event.partition("-")
    return int(ms), int(sequence or 0)
