"""Which level each session runs at: for every worker the exact best of what its sessions may have, by one knapsack.

Where a session sits is given, so workers do not depend on each other: who plans after a change gives that worker and
its sessions, and gets what a plan of the whole pool says of them. A plan over the sum of a pool would free fragments on
many workers, and admit nobody.

The rules: a level changes once in `SETTLE_MS`; a change must be worth more than `stickiness`, but for a raise into free
room of a session that has kept its level for `RIPE_MS`; among equals the session that was lowered longest ago is raised
first. A session without a worker comes in where the others lose least, and for it (and on a worker that is too full)
levels may fall at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final

from genlock_core.approximation.bound import fractional_bound
from genlock_core.approximation.knapsack import Knapsack, Weighed
from genlock_core.approximation.levels import Ladder, Level
from genlock_core.approximation.options import (
    STICKINESS,
    LevelOption,
    ages_of,
    is_settling,
    options_of,
    options_of_newcomer,
    weighed,
)
from genlock_core.approximation.plan import LevelCause, LevelChange, LevelPlan, LevelSession, LevelWorker, Seat

MOST_ADMISSIONS: Final = 64
"""In one plan, which bounds its work; the others come into the next one."""

MOST_SESSIONS: Final = 1_000
"""On one worker. One of 1,000 thousandths holds no more."""

MOST_PARTS: Final = 20_000
"""That a worker's capacity is counted in: thousandths up to here. A larger one has coarser parts, and costs are rounded
up to whole ones."""


def allocate(
    sessions: Iterable[LevelSession],
    workers: Iterable[LevelWorker],
    *,
    now_ms: int,
    stickiness: float = STICKINESS,
) -> LevelPlan:
    """The plan for these workers and their sessions, and for the sessions that wait for a worker.

    The same sessions in another order give the same plan. A session whose worker is not given is left alone. Raises
    ValueError for two sessions of one name, and for more than `MOST_SESSIONS` on one worker.
    """
    ordered = sorted(sessions, key=lambda one: one.name)
    for one, other in pairwise(ordered):
        if one.name == other.name:
            raise ValueError(f"{one.name} is given twice")

    rooms = _rooms(ordered, workers, now_ms=now_ms, stickiness=stickiness)
    waiting, postponed = _admit([one for one in ordered if one.worker is None], rooms)
    return _plan_of(rooms, waiting, postponed)


@dataclass
class _Room:
    """One worker while a plan is made: its sessions, and who comes to them. Nobody leaves it."""

    worker: LevelWorker
    sessions: Sequence[LevelSession]
    """Those that it has, by name."""
    now_ms: int
    stickiness: float
    newcomers: list[LevelSession] = field(default_factory=list)
    solved: int = 0
    """How many knapsacks were packed."""

    @property
    def part(self) -> int:
        """In thousandths, what the knapsack counts in."""
        return max(1, -(-self.worker.capacity // MOST_PARTS))

    def ladder(self, session: LevelSession) -> Ladder | None:
        return session.ladders.get(self.worker.pool)

    @cached_property
    def at_once(self) -> Knapsack:
        """The knapsack in which levels may fall at once; newcomers are put in as they are admitted."""
        return self._pack(self._groups(at_once=True))

    def gain_with(self, newcomer: LevelSession) -> int | None:
        """What the newcomer is worth here, less what the others lose by it; None where no hole is large enough."""
        ladder = self.ladder(newcomer)
        if ladder is None or self.at_once.value is None:
            return None
        with_it = self.at_once.value_with(self._weigh_newcomer(newcomer, ladder))
        return None if with_it is None else with_it - self.at_once.value

    def admit(self, newcomer: LevelSession) -> None:
        self.at_once.put(self._weigh_newcomer(newcomer, newcomer.ladders[self.worker.pool]))
        self.newcomers.append(newcomer)

    def choose(self) -> list[tuple[LevelSession, LevelOption]]:
        """One option for each session and each newcomer."""
        if self.newcomers:
            newcomers = [(one, options_of_newcomer(one.ladders[self.worker.pool])) for one in self.newcomers]
            return self._picked([*self._groups(at_once=True), *newcomers], self.at_once)

        # Everybody has what it asks for, and there is that much: most workers, most of the time.
        groups = self._groups(at_once=False)
        stay = [(one, options[0]) for one, options in groups]
        fits = _cost_of(stay) <= self.worker.capacity
        if fits and all(_has_its_top(one, self.ladder(one)) for one in self.sessions):
            return stay

        # Where no level has just changed both knapsacks are the same, and a newcomer may have asked for one already.
        settles = any(is_settling(one, self.now_ms) for one in self.sessions)
        knapsack = self._pack(groups) if settles else self.at_once
        if knapsack.value is not None:
            return self._picked(groups, knapsack)
        if fits:
            return stay

        # It is too full: levels may fall at once, and where even that is not enough, each falls as low as it may.
        groups = self._groups(at_once=True)
        if self.at_once.value is not None:
            return self._picked(groups, self.at_once)
        return [(one, min(options, key=lambda option: option.cost)) for one, options in groups]

    def _groups(self, *, at_once: bool) -> list[tuple[LevelSession, list[LevelOption]]]:
        return [(one, options_of(one, self.ladder(one), self.now_ms, at_once=at_once)) for one in self.sessions]

    def _pack(self, groups: Iterable[tuple[LevelSession, list[LevelOption]]]) -> Knapsack:
        self.solved += 1
        ages = ages_of(self.sessions)
        knapsack = Knapsack(self.worker.capacity // self.part)
        for session, options in groups:
            knapsack.put([self._weigh(option, session, ages[session.name]) for option in options])
        return knapsack

    def _weigh_newcomer(self, newcomer: LevelSession, ladder: Ladder) -> list[Weighed]:
        return [self._weigh(option, newcomer, 0) for option in options_of_newcomer(ladder)]

    def _weigh(self, option: LevelOption, session: LevelSession, age: int) -> Weighed:
        cost, value = weighed(option, session, age=age, now_ms=self.now_ms, stickiness=self.stickiness)
        return Weighed(-(-cost // self.part), value)

    @staticmethod
    def _picked(
        groups: Sequence[tuple[LevelSession, list[LevelOption]]], knapsack: Knapsack
    ) -> list[tuple[LevelSession, LevelOption]]:
        return [(one, options[pick]) for (one, options), pick in zip(groups, knapsack.picks(), strict=True)]


def _cost_of(chosen: Iterable[tuple[LevelSession, LevelOption]]) -> int:
    return sum(option.cost for _, option in chosen)


def _has_its_top(session: LevelSession, ladder: Ladder | None) -> bool:
    return ladder is None or session.granted == ladder.top.level


def _rooms(
    sessions: Iterable[LevelSession], workers: Iterable[LevelWorker], *, now_ms: int, stickiness: float
) -> list[_Room]:
    by_worker: dict[str, list[LevelSession]] = {}
    for session in sessions:
        if session.worker is not None:
            by_worker.setdefault(session.worker, []).append(session)

    rooms = []
    for worker in sorted(workers, key=lambda one: one.name):
        here = by_worker.get(worker.name, [])
        if len(here) > MOST_SESSIONS:
            raise ValueError(f"{worker.name} has {len(here)} sessions; a plan takes {MOST_SESSIONS} at most")
        rooms.append(_Room(worker, here, now_ms, stickiness))
    return rooms


def _admit(waiting: Iterable[LevelSession], rooms: Sequence[_Room]) -> tuple[list[str], list[str]]:
    """Lets in whom there is a hole for, the ones that had a worker first.

    The names of those for whom there is none, and of those that nobody looked for one for: the plan is large enough.
    """
    queue = sorted(waiting, key=lambda one: (not one.recovers, one.waits_since_ms, one.name))
    still: list[str] = []
    hopeless: set[object] = set()
    admitted = 0
    for place, newcomer in enumerate(queue):
        if admitted == MOST_ADMISSIONS:
            return still, [one.name for one in queue[place:]]

        # Holes only get smaller: where there was none for one, there is none for another like it.
        shape = _shape_of(newcomer)
        room = None if shape in hopeless else _best_room(newcomer, rooms)
        if room is None:
            hopeless.add(shape)
            still.append(newcomer.name)
        else:
            room.admit(newcomer)
            admitted += 1
    return still, []


def _best_room(newcomer: LevelSession, rooms: Iterable[_Room]) -> _Room | None:
    """The one where the others lose least by it; of equal ones the first by name."""
    best: _Room | None = None
    most: int | None = None
    for room in rooms:
        gain = room.gain_with(newcomer) if room.worker.admits else None
        if gain is not None and (most is None or gain > most):
            best, most = room, gain
    return best


def _shape_of(session: LevelSession) -> object:
    """All that decides where a newcomer fits."""
    return tuple(sorted((pool, ladder.lowest.cost) for pool, ladder in session.ladders.items()))


# -- what it comes to ------------------------------------------------------------------------------------------------


def _plan_of(rooms: Sequence[_Room], waiting: Sequence[str], postponed: Sequence[str]) -> LevelPlan:
    seats: list[Seat] = []
    changes: list[LevelChange] = []
    overfull: list[str] = []
    ladders: dict[str, Ladder | None] = {}
    for room in rooms:
        chosen = room.choose()
        if _cost_of(chosen) > room.worker.capacity:
            overfull.append(room.worker.name)
        for session, option in chosen:
            worker = room.worker
            ladders[session.name] = room.ladder(session)
            seats.append(Seat(session.name, worker.name, worker.pool, option.level, option.cost, option.quality))
            if not option.stays:
                changes.append(_change(session, room.ladder(session), worker.name, option))

    seats.sort(key=lambda one: one.session)
    quality = sum(seat.quality for seat in seats)
    return LevelPlan(
        seats=tuple(seats),
        changes=tuple(sorted(changes, key=_order)),
        waiting=tuple(waiting),
        postponed=tuple(postponed),
        overfull=tuple(overfull),
        quality=quality,
        bound=max(quality, fractional_bound(seats, ladders, _capacities(rooms))),
        solved=sum(room.solved for room in rooms),
    )


def _change(session: LevelSession, ladder: Ladder | None, worker: str, option: LevelOption) -> LevelChange:
    if option.level is None or ladder is None:
        raise ValueError(f"{session.name} cannot change to a level that is not known")
    return LevelChange(
        session=session.name,
        worker=worker,
        before=session.granted,
        after=option.level,
        cause=_cause(session, ladder.top.level, option.level),
        cost_before=session.cost if session.worker is not None else 0,
        cost=option.cost,
    )


def _cause(session: LevelSession, top: Level, after: Level) -> LevelCause:
    before = session.granted
    if session.worker is None:
        return LevelCause.ADMITTED
    if before is not None and before.at_most(top) != before:
        return LevelCause.GIVEN_BACK
    is_lower = before is not None and after.at_most(before) == after
    return LevelCause.LOWERED if is_lower else LevelCause.RAISED


def _order(change: LevelChange) -> tuple[int, str]:
    """Room is freed before it is taken, and who waits takes it first."""
    frees = change.cost <= change.cost_before
    return (0 if frees else 1 if change.cause is LevelCause.ADMITTED else 2), change.session


def _capacities(rooms: Iterable[_Room]) -> Mapping[str, int]:
    """Of each pool together."""
    found: dict[str, int] = {}
    for room in rooms:
        found[room.worker.pool] = found.get(room.worker.pool, 0) + room.worker.capacity
    return found
