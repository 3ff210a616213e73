"""The keeper of levels: plans the pools that this process leads, and has the claims go by the plan.

Anybody may run one; who leads a pool is settled by a lease in Redis, and the operator takes it from gateways. Two
that lead for a moment do no harm: each order names the grant that it knew, and is void where another one came first.
All that a plan has led to stands in the records. So whoever leads next goes on where the last one ended, also in the
middle.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import EventKind, LimitOutcome, Waiting, WorkerView
from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock
from genlock_core.levelling.book import PlanBook
from genlock_core.levelling.facts import reserved_in
from genlock_core.levelling.leads import Leads
from genlock_core.levelling.meter import LevelMeter
from genlock_core.levelling.orders import Direction, LimitOrder
from genlock_core.levelling.planning import Planned, Reading, plan_of
from genlock_core.levelling.shelf import RecordShelf, matter_of
from genlock_core.levelling.telling import kept_sentences, left_alone, tell
from genlock_core.levelling.told import ToldPools
from genlock_core.metrics.levelling import LevellingMetrics
from genlock_core.process.tasks import end_tasks, wait_first
from genlock_core.store import StoreBusy

logger = logging.getLogger(__name__)

RANK_OF_OPERATOR: Final = 0
RANK_OF_GATEWAY: Final = 1
"""It decides where no operator does: on one machine, and while the operator is away."""
HOLD_EVERY_S: Final = 1.0
BEAT_S: Final = 2.0
"""Without any event the workers are looked at so often."""
BREATH_S: Final = 0.05
"""So much lies between two plans at least,"""
REST: Final = 3.0
"""and so many times what the last one took: at most a quarter of the time goes into plans."""
LONGEST_REST_S: Final = 3.0
BLOCK_MS: Final = 500
TELL_EVERY_S: Final = 1.0
TELL_REST: Final = 20.0
"""So many times what telling took passes before a pool is told of anew; for counting its sessions the same holds."""
TELL_AGAIN_S: Final = 10.0
"""What has not changed is told again so often, before it runs out."""
MOST_WAITING: Final = 256
"""Of those who wait, so many are planned at once: the ones that had a worker first, then who waits longest."""
FIRST_RETRY_S: Final = 0.25
LONGEST_RETRY_S: Final = 5.0
ROUND_S: Final = 20.0
"""No round of a loop takes longer, whatever Redis does."""
MOST_HOLDS: Final = 30
"""Whoever holds its leases so often, longer than a round and its rest take, and gets no plan done, leaves the pools to
others,"""
FIRST_AWAY_S: Final = 10.0
"""for so long; each time that comes of it for twice as long,"""
LONGEST_AWAY_S: Final = 300.0
"""up to this."""

MATTER: Final = frozenset(EventKind) - {EventKind.CREATED, EventKind.FORGOTTEN}
"""Events after which a plan may be another one."""


class LevelKeeper:
    """`run` for ever, as a task. Its three loops are one method each, so that a test goes through them by hand."""

    def __init__(
        self,
        claims: Claims,
        told: ToldPools,
        *,
        holder: str,
        rank: int,
        clock: Clock,
        metrics: LevellingMetrics,
        covers: Callable[[str], bool] = lambda _pool: True,
    ) -> None:
        """`rank`: the lower one takes the lease from the higher one; `covers`: the pools that this process may lead."""
        self._claims = claims
        self._told = told
        self._holder = holder
        self._clock = clock
        self._metrics = metrics
        self._leads = Leads(claims, holder=holder, rank=rank, clock=clock, covers=covers)
        self._book = PlanBook()
        self._shelf = RecordShelf(claims)
        self._meter = LevelMeter(metrics, clock)

        self._led: frozenset[str] = frozenset()
        """The pools that were led when the leases were held last."""
        self._holds = 0
        """How often leases were held since a plan was done last. While Redis is away none is held."""
        self._away_until_s = 0.0
        """Until then others decide."""
        self._away_s = FIRST_AWAY_S
        self._leading = asyncio.Event()
        self._work = asyncio.Event()
        """Set when a plan may be another one than the last."""
        self._refused: dict[str, LimitOrder] = {}
        """By session, orders of the last plan that Redis did not take."""
        self._after: str | None = None
        """The newest event that was read; None: they are not followed."""
        self._begins_anew = True
        """Events may have been missed: what is known may be old, all of it."""
        self._now_ms = 0
        """Proven time when it was read last."""
        self._looked_s = 0.0
        """When all was looked at last, without an event."""

        # What is told.
        self._views: tuple[WorkerView, ...] = ()
        self._waiting: tuple[tuple[Waiting, SessionRecord], ...] = ()
        self._waits: dict[str, tuple[str, ...]] = {}
        self._untold: set[str] = set()
        self._told_s: dict[str, float] = {}
        self._telling_s = 0.0
        """How long it took last."""
        self._counted_s = 0.0
        self._counting_s = 0.0

    async def run(self) -> None:
        """Until cancelled. Whatever Redis does, it goes on."""
        loops = {"lease": self._hold, "events": self._follow, "plan": self._plan_and_rest}
        tasks = [asyncio.create_task(self._persist(name, work), name=f"levels {name}") for name, work in loops.items()]
        try:
            await asyncio.wait(tasks)
        finally:
            await end_tasks(tasks)

    async def _persist(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                await work()
                failures = 0
            except (RedisError, OSError, StoreBusy) as error:  # TimeoutError is an OSError
                # Once for each time that it goes away: nobody reads the same line twice a second.
                if not failures:
                    logger.warning("levels are not planned (%s): %s", name, str(error) or type(error).__name__)
                failures += 1
            except Exception:
                if not failures:
                    logger.exception("levels are not planned (%s)", name)
                failures += 1
            if failures:
                await asyncio.sleep(min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures - 1, 8)))

    # -- who decides ------------------------------------------------------------------------------------------------

    async def _hold(self) -> None:
        async with asyncio.timeout(ROUND_S):
            await self.hold()
        await asyncio.sleep(HOLD_EVERY_S)

    async def hold(self) -> None:
        """Ask for the lease of each pool. Raises RedisError."""
        before = self._led
        if self._stands_back():
            self._leads.let_go()
        else:
            await self._leads.hold()
        self._led = led = frozenset(self._leads.pools())
        self._holds = self._holds + 1 if led else 0

        for pool in before - led:
            logger.info("decides no more on the levels of pool %s", pool)
            self._told_s.pop(pool, None)
            self._meter.forget(pool)
            self._metrics.drop_pool(pool)
        for pool in led - before:
            logger.info("decides on the levels of pool %s", pool)
            self._untold.add(pool)
            self._work.set()
        if led:
            self._leading.set()
        else:
            self._leading.clear()

    def _stands_back(self) -> bool:
        """Whether others are to decide: a lease that is held by somebody who plans nothing keeps all others from it."""
        now_s = self._clock.monotonic()
        if self._holds >= MOST_HOLDS:
            logger.error("no plan of levels comes about here; others decide for %g s", self._away_s)
            self._holds = 0
            self._away_until_s = now_s + self._away_s
            self._away_s = min(LONGEST_AWAY_S, 2 * self._away_s)
        return now_s < self._away_until_s

    def leads(self, pool: str) -> bool:
        """Whether this process decides on the pool now."""
        return self._leads.leads(pool)

    # -- what happens -----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        if not self._led:
            self._after = None
            await self._leading.wait()
        async with asyncio.timeout(ROUND_S):
            await self.follow()

    async def follow(self, block_ms: int = BLOCK_MS) -> None:
        """Read the next events; waits for one for at most `block_ms`. Raises RedisError."""
        after = self._after
        self._after = None  # also where this fails: what happens meanwhile is found by looking at everything
        if after is None:
            after = await self._claims.last_event()
            self._begins_anew = True
            self._work.set()

        events = await self._claims.events(after, block_ms)
        for event in events:
            after = event.id
            self._shelf.heard(event.session)
            if event.kind in MATTER:
                self._work.set()
        is_lost = not events and _position(await self._claims.last_event()) < _position(after)
        self._after = None if is_lost else after

    # -- plans ------------------------------------------------------------------------------------------------------

    async def _plan_and_rest(self) -> None:
        await self._leading.wait()
        await wait_first(self._work, timeout_s=self._idle_s())
        began_s = self._clock.monotonic()
        async with asyncio.timeout(ROUND_S):
            await self.plan()
        took_s = self._clock.monotonic() - began_s
        await asyncio.sleep(min(LONGEST_REST_S, max(BREATH_S, REST * took_s)))

    def _idle_s(self) -> float:
        """For how long there is nothing to do unless something happens."""
        due_ms = self._book.next_due_ms()
        if due_ms is None:
            return BEAT_S
        return min(BEAT_S, max(0.0, (due_ms - self._now_ms) / 1_000))

    async def plan(self) -> None:
        """Plan what changed, carry it out, and tell of it. Raises RedisError."""
        self._work.clear()
        if self._begins_anew:
            self._begins_anew = False
            self._shelf.clear()
            self._book.clear()

        try:
            await self._plan_what_changed()
        except BaseException:
            self._work.set()
            raise
        self._holds = 0
        self._away_s = FIRST_AWAY_S

        self._count()
        await self._tell()

    async def _plan_what_changed(self) -> None:
        reading = await self._read(self._leads.pools())
        if not reading.views:
            return
        began_s = self._clock.monotonic()
        planned = await asyncio.to_thread(plan_of, reading)
        self._metrics.plan_seconds.observe(self._clock.monotonic() - began_s)
        self._note(reading, planned)
        try:
            await self._carry_out(planned.orders)
        except BaseException:
            # The book says that these workers are planned, and nothing may happen there that would say otherwise.
            for order in planned.orders:
                self._book.touch(order.worker)
            raise

    def _count(self) -> None:
        """Measure how all sessions stand; more rarely where that takes long."""
        began_s = self._clock.monotonic()
        if began_s - self._counted_s < TELL_REST * self._counting_s:
            return
        self._meter.count({pool: self._shelf.known(self._sessions_of(pool)) for pool in self._leads.pools()})
        self._counted_s = began_s
        self._counting_s = self._clock.monotonic() - began_s

    def _sessions_of(self, pool: str) -> list[str]:
        return [session for view in self._views if view.pool == pool for session in view.sessions]

    async def _read(self, pools: Sequence[str]) -> Reading:
        """What the next plan is made from; without workers if nothing has changed. Raises RedisError."""
        everything = await self._claims.workers()
        self._leads.note({view.pool for view in everything})
        self._views = tuple(view for view in everything if view.pool in pools)
        owner = {session: view.identity.name for view in self._views for session in view.sessions}
        waiting = await self._who_waits(pools)
        self._book.forget_others([view.identity.name for view in self._views])
        self._shelf.keep({*owner, *waiting})

        # Events are hints: now and then some records are read without one.
        now_s = self._clock.monotonic()
        is_beat = now_s - self._looked_s >= BEAT_S
        self._looked_s = now_s if is_beat else self._looked_s
        for session in await self._shelf.renew(also_longest_ago=is_beat):
            if session in owner:
                self._book.touch(owner[session])

        found = await self._shelf.of(waiting)
        self._waiting = tuple((one, found[name]) for name, one in waiting.items() if name in found)
        kept = reserved_in(self._views, await self._claims.reserves(pools))
        self._now_ms = await self._claims.proven_ms()
        # Nobody comes in before a reserve is whole, so what is missing of it decides as well.
        wants = frozenset((one.session, one.kept_at, matter_of(record)) for one, record in self._waiting)
        names = self._book.to_plan(
            self._views,
            wants | frozenset(kept.missing.items()) if wants else wants,
            kept.by_worker,
            self._now_ms,
        )
        views = [view for view in self._views if view.identity.name in names]
        records = await self._shelf.of(session for view in views for session in view.sessions)
        return Reading(self._now_ms, views, records, self._waiting, kept)

    async def _who_waits(self, pools: Sequence[str]) -> dict[str, Waiting]:
        asked = [one for pool in pools for one in await self._claims.waiting(pool)]
        # One that waits in several pools counts once: as it waits where room is kept for it.
        found = {one.session: one for one in sorted(asked, key=lambda one: one.kept_at is not None)}
        first = sorted(found.values(), key=lambda one: (not one.recovers, one.since_ms, one.session))
        return {one.session: one for one in first[:MOST_WAITING]}

    def _note(self, reading: Reading, planned: Planned) -> None:
        self._book.write(
            reading.views, planned.pages, planned.facts.sessions, reading.reserved.by_worker, reading.now_ms
        )
        self._waits = dict(planned.waits)
        self._untold |= {view.pool for view in reading.views} | planned.waits.keys()
        if not planned.is_whole or self._book.has_more or self._shelf.has_old:
            self._work.set()

    async def _carry_out(self, orders: Sequence[LimitOrder]) -> None:
        """In their order: what frees room comes first. An order that comes too late is planned anew."""
        refused, self._refused = self._refused, {}
        for order in orders:
            # It was refused, and nothing has changed since: to plan it again and again would help nobody.
            if refused.get(order.session) == order:
                self._refused[order.session] = order
                continue

            level = order.level
            outcome = await self._claims.limit(
                order.session,
                epoch=order.epoch,
                number=order.number,
                steps=None if level is None else level.steps,
                every=1 if level is None else level.every,
            )
            # Its own doing is an event as well; but those may be missed.
            self._shelf.heard(order.session)
            if outcome is LimitOutcome.STALE:
                self._refused[order.session] = order
                self._book.touch(order.worker)
                self._work.set()
            elif outcome is LimitOutcome.DONE and order.direction is not Direction.NONE:
                self._metrics.changes.labels(order.direction.value, order.cause.value).inc()

    # -- telling ----------------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Say how the pools stand that changed, and now and then how the others stand. Raises RedisError."""
        for pool in self._leads.pools():
            now_s = self._clock.monotonic()
            rest_s = max(TELL_EVERY_S, TELL_REST * self._telling_s) if pool in self._untold else TELL_AGAIN_S
            if now_s - self._told_s.get(pool, 0.0) < rest_s:
                continue
            told = await asyncio.to_thread(
                tell,
                pool,
                dict(self._book.pages),
                self._sentences_of_who_waits(pool),
                alone=left_alone(view for view in self._views if view.pool == pool),
                waiting=sum(any(choice.pool == pool for choice in record.pools) for _, record in self._waiting),
                by=self._holder,
                at_ms=self._clock.wall_ms(),
            )
            self._telling_s = self._clock.monotonic() - now_s
            await self._told.tell_levels(pool, told)
            self._metrics.gap.labels(pool).set(told.gap)
            self._told_s[pool] = now_s
            self._untold.discard(pool)

    def _sentences_of_who_waits(self, pool: str) -> tuple[str, ...]:
        kept = kept_sentences((one for one, _ in self._waiting), (view for view in self._views if view.pool == pool))
        return (*kept, *(self._waits.get(pool, ()) if self._waiting else ()))


def _position(event: str) -> tuple[int, int]:
    """An event's id as numbers, in the order of the stream."""
    ms, _, sequence = event.partition("-")
    return int(ms), int(sequence or 0)
