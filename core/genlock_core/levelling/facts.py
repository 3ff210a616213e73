"""What a plan of levels is made from: records, workers and who waits, as `allocate` sees them. Pure.

Everything is in thousandths of a worker and in milliseconds of Redis' proven time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from genlock_core.approximation.levels import Ladder, Level
from genlock_core.approximation.plan import LevelSession, LevelWorker
from genlock_core.claims.facts import Waiting, WorkerState, WorkerView
from genlock_core.claims.liveness import HEARTBEAT_STALE_MS
from genlock_core.claims.price_list import PoolChoice
from genlock_core.claims.record import SessionRecord
from genlock_core.levelling.ladders import ladder_of


@dataclass(frozen=True, slots=True)
class LevelFacts:
    """The sessions of some workers, these workers, and who waits."""

    now_ms: int
    sessions: tuple[LevelSession, ...]
    workers: tuple[LevelWorker, ...]
    held_back: Mapping[str, int] = field(default_factory=dict)
    """Worker -> what of it is kept for moves."""
    closed: frozenset[str] = frozenset()
    """Pools where nobody comes in, as not even the lowest levels of all make the reserve whole."""


@dataclass(frozen=True, slots=True)
class SeatedWorker:
    """A worker with the records of its sessions: those that could be read."""

    view: WorkerView
    records: tuple[SessionRecord, ...]


@dataclass(frozen=True, slots=True)
class Reserved:
    """What is kept for moves."""

    by_worker: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    """By pool, what moves have taken of it."""


def takes_part(view: WorkerView) -> bool:
    """Whether levels are planned on this worker.

    One that drains, whose heartbeat is old, or that is overloaded takes no new session, and its claims pay for no more.
    So its sessions keep what they have.
    """
    is_fresh = view.heartbeat_age_ms <= HEARTBEAT_STALE_MS
    return view.state is WorkerState.READY and is_fresh and not view.is_overloaded


def level_facts(
    workers: Sequence[SeatedWorker],
    waiting: Iterable[tuple[Waiting, SessionRecord]],
    *,
    kept: Reserved,
    now_ms: int,
) -> LevelFacts:
    """What is planned now, on these workers.

    Workers that take no part are left out, and a waiting session that has ended meanwhile.
    """
    there = [one for one in workers if takes_part(one.view)]
    unhalved = frozenset(one.view.pool for one in there if not one.view.halves)
    newcomers = [session for one in waiting if (session := newcomer(*one, unhalved=unhalved)) is not None]
    leaving = {one.name for one in newcomers}

    sessions: list[LevelSession] = []
    rooms: list[LevelWorker] = []
    for one in there:
        # What waits for another worker leaves its own: it keeps its cost there until then.
        staying = [record for record in one.records if record.name not in leaving and _is_its_own(record, one.view)]
        sessions += [seated(record, one.view, somebody_waits=bool(newcomers)) for record in staying]
        capacity = min(one.view.capacity, one.view.free + sum(record.cost for record in staying))
        # On one that keeps to no limit nobody can be lowered.
        rooms.append(LevelWorker(one.view.identity.name, one.view.pool, capacity, admits=one.view.limits))

    held = dict(kept.by_worker)
    closed: frozenset[str] = frozenset()
    if newcomers:
        held, closed = made_good(held, kept.missing, rooms, sessions)
        newcomers = [_without(one, closed) for one in newcomers]
    usable = tuple(replace(one, capacity=max(0, one.capacity - held.get(one.name, 0))) for one in rooms)
    return LevelFacts(now_ms, (*sessions, *newcomers), usable, held, closed)


def seated(record: SessionRecord, view: WorkerView, *, somebody_waits: bool) -> LevelSession:
    """A session on its worker.

    Its ladder is left out where its level is not for a plan to change: the worker keeps to no limit, nobody says what
    is granted yet, or the claim is about to give back by itself what nobody requests.
    """
    ladder = _ladder_in(record, record.pool)
    if ladder is not None and not view.halves:
        ladder = _every_frame(ladder)
    granted = granted_level(record)
    is_surplus = ladder is not None and granted is not None and granted.at_most(ladder.top.level) != granted
    is_planned = view.limits and granted is not None and (somebody_waits or not is_surplus)
    return LevelSession(
        name=record.name,
        ladders={record.pool: ladder} if ladder is not None and is_planned else {},
        worker=view.identity.name,
        granted=granted,
        cost=_cost_when_settled(record, ladder, granted),
        changed_ms=None if record.granted is None else record.granted.since_ms,
        below_since_ms=record.below_since_ms or None,
    )


def newcomer(
    waiting: Waiting, record: SessionRecord, *, unhalved: Collection[str] = frozenset()
) -> LevelSession | None:
    """A session that waits for a worker; None if it has ended.

    One that has a worker waits for a polite move, which takes away nothing that it has. One that ran before goes on
    with the model that it ran with. `unhalved`: pools with workers that leave out no frame.
    """
    if record.finished:
        return None
    went_on = [one for one in record.pools if one.model == record.stand_in]
    choices = went_on or list(record.pools) if record.epoch else list(record.pools)
    ladders = {one.pool: ladder for one in choices if (ladder := _ladder(record, one)) is not None}
    ladders = {pool: _every_frame(ladder) if pool in unhalved else ladder for pool, ladder in ladders.items()}
    if record.owner is not None:
        ladders = {pool: _no_lower_than(ladder, granted_level(record)) for pool, ladder in ladders.items()}
    return LevelSession(
        name=record.name,
        ladders=ladders,
        waits_since_ms=waiting.since_ms,
        recovers=waiting.recovers,
    )


def granted_level(record: SessionRecord) -> Level | None:
    """What its claim pays for; None where nobody knows."""
    return None if record.granted is None else Level(record.granted.steps, every=record.granted.every)


def reserved_in(views: Iterable[WorkerView], reserves: Mapping[str, int]) -> Reserved:
    """Where each pool's reserve lies: where most is free. `views` are all workers of these pools."""
    there = [view for view in views if takes_part(view)]
    by_worker: dict[str, int] = {}
    missing: dict[str, int] = {}
    for pool, reserve in reserves.items():
        free = {view.identity.name: view.free for view in there if view.pool == pool}
        left = _take(reserve, free, by_worker)
        if left:
            missing[pool] = left
    return Reserved(by_worker, missing)


def made_good(
    held: Mapping[str, int],
    missing: Mapping[str, int],
    workers: Sequence[LevelWorker],
    sessions: Iterable[LevelSession],
) -> tuple[dict[str, int], frozenset[str]]:
    """What is held back while somebody waits: also what is missing of a reserve, where levels can fall most.

    No claim gets room before the reserve is whole. So to lower others by less would help nobody. With it the pools
    where nobody comes in, as not even the lowest levels of all make it whole.
    """
    pools = {one.name: one.pool for one in workers}
    slack = {one.name: one.capacity - held.get(one.name, 0) for one in workers}
    for session in sessions:
        if session.worker is not None:
            ladder = session.ladders.get(pools[session.worker])
            slack[session.worker] -= session.cost if ladder is None else min(session.cost, ladder.lowest.cost)

    whole = dict(held)
    closed: set[str] = set()
    for pool, amount in missing.items():
        there = {name: most for name, most in slack.items() if pools[name] == pool}
        if sum(max(0, most) for most in there.values()) < amount:
            closed.add(pool)
        else:
            _take(amount, there, whole)
    return whole, frozenset(closed)


def _take(wanted: int, there: Mapping[str, int], held: dict[str, int]) -> int:
    """Hold back so much, from where most is; what is missing of it."""
    for name, amount in sorted(there.items(), key=lambda one: (-one[1], one[0])):
        taken = max(0, min(wanted, amount))
        if taken:
            held[name] = held.get(name, 0) + taken
            wanted -= taken
    return wanted


def _ladder_in(record: SessionRecord, pool: str) -> Ladder | None:
    """None where its pool is none of the record's any more, or where it costs the same at any steps."""
    choice = next((one for one in record.pools if one.pool == pool), None)
    return None if choice is None or not choice.levels else _ladder(record, choice)


def _ladder(record: SessionRecord, choice: PoolChoice) -> Ladder | None:
    """None for a price list that makes none: one of another release must not end the plan of all others."""
    try:
        return ladder_of(record, choice)
    except ValueError:
        return None


def _every_frame(ladder: Ladder) -> Ladder:
    """The rungs that leave out no frame."""
    return Ladder(tuple(one for one in ladder.rungs if one.level.every == 1))


def _without(session: LevelSession, pools: Collection[str]) -> LevelSession:
    return replace(session, ladders={pool: ladder for pool, ladder in session.ladders.items() if pool not in pools})


def _no_lower_than(ladder: Ladder, level: Level | None) -> Ladder:
    """The rungs that hold all of the level; the top where none does."""
    rungs = tuple(one for one in ladder.rungs if level is not None and level.at_most(one.level) == level)
    return Ladder(rungs or (ladder.top,))


def _cost_when_settled(record: SessionRecord, ladder: Ladder | None, granted: Level | None) -> int:
    """A level that was lowered is paid for until its worker has settled it. The plan counts on that: else it would
    lower the next session for the same hole."""
    due = ladder.cost_of(granted) if ladder is not None and granted is not None else None
    return record.cost if due is None else min(record.cost, due)


def _is_its_own(record: SessionRecord, view: WorkerView) -> bool:
    return record.owner == view.identity and not record.finished
