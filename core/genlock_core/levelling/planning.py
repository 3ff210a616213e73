"""One plan: from what was read to what has to be done and what is told. Pure, so that a thread may do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genlock_core.approximation.allocate import allocate
from genlock_core.claims.facts import Waiting, WorkerView
from genlock_core.claims.record import SessionRecord
from genlock_core.levelling.book import Page
from genlock_core.levelling.facts import LevelFacts, Reserved, SeatedWorker, level_facts
from genlock_core.levelling.orders import LimitOrder, orders_of
from genlock_core.levelling.telling import pages_of, waiting_sentences


@dataclass(frozen=True, slots=True)
class Reading:
    """What a plan is made from."""

    now_ms: int
    """Proven time."""
    views: Sequence[WorkerView]
    """Of the workers that are planned."""
    records: Mapping[str, SessionRecord]
    """Of their sessions."""
    waiting: Sequence[tuple[Waiting, SessionRecord]]
    reserved: Reserved


@dataclass(frozen=True, slots=True)
class Planned:
    """What came of it."""

    facts: LevelFacts
    orders: tuple[LimitOrder, ...]
    pages: Mapping[str, Page]
    waits: Mapping[str, tuple[str, ...]]
    """By pool, sentences of those who wait for room there."""
    is_whole: bool
    """False: more can be admitted at once, by another plan."""


def plan_of(reading: Reading) -> Planned:
    """The plan of these workers."""
    seated = [
        SeatedWorker(view, tuple(reading.records[name] for name in sorted(view.sessions) if name in reading.records))
        for view in reading.views
    ]
    facts = level_facts(seated, reading.waiting, kept=reading.reserved, now_ms=reading.now_ms)
    plan = allocate(facts.sessions, facts.workers, now_ms=facts.now_ms)
    pools = {choice.pool for _, record in reading.waiting for choice in record.pools}
    return Planned(
        facts=facts,
        orders=orders_of(plan, facts, reading.records),
        pages=pages_of(plan, facts),
        waits={pool: waiting_sentences(plan, facts, pool) for pool in sorted(pools)},
        is_whole=not plan.postponed,
    )
