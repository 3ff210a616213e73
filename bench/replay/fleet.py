"""Workers and the sessions on them, as claims have it; and what is measured while they live.

A claim takes the fullest worker with room, as the script `choosing.lua` does. A worker leaves only when its sessions
have found room on others: they move, and nobody pays for that, whatever the scaler.
"""

from dataclasses import dataclass, field

from bench.replay.ladders import Ladders, quality_of
from genlock_core.claims.identity import CAPACITY


@dataclass(slots=True, eq=False)
class LiveSession:
    """A session that was let in."""

    name: int
    prompt: int
    worker: "FleetWorker"
    place: int
    """Its level, 0 is what it asks for."""
    metered_s: float
    """Up to here its time is in the meter."""
    changed_s: float | None = None
    below_since_s: float | None = None


@dataclass(slots=True, eq=False)
class FleetWorker:
    """A worker: it starts, takes sessions, and is gone."""

    number: int
    sessions: dict[int, LiveSession] = field(default_factory=dict)
    load: int = 0
    """What its sessions pay, in thousandths."""
    gone: bool = False


@dataclass(slots=True)
class Meter:
    """What has come together so far, in counts and seconds."""

    served: int = 0
    blocked: int = 0
    let_in_by_plan: int = 0
    """Of those that were served: for whom others were lowered."""
    level_changes: int = 0
    moves: int = 0
    worker_s: float = 0.0
    session_s: float = 0.0
    degraded_s: float = 0.0
    """Of sessions below what they ask for."""
    harmed_s: float = 0.0
    """Of sessions below the level at which their prompt loses nothing."""
    quality_s: float = 0.0
    excess_s: float = 0.0
    """Of sessions beyond what the workers that are ready hold at what sessions ask for."""


class Fleet:
    """All workers and sessions of one run; `now_s` is set by whoever drives it, through `advance`."""

    def __init__(self, ladders: Ladders) -> None:
        self.ladders = ladders
        self._at_top = ladders.at_top
        self.now_s = 0.0
        self.meter = Meter()
        self.sessions: dict[int, LiveSession] = {}
        self.ready: list[FleetWorker] = []
        self.starting: dict[int, FleetWorker] = {}
        self._numbers = 0
        self._qualities = [[quality_of(prompt, place) for place in range(4)] for prompt in range(4)]

    @property
    def count(self) -> int:
        """Workers that are paid for."""
        return len(self.ready) + len(self.starting)

    def advance(self, now_s: float) -> None:
        passed_s = now_s - self.now_s
        self.meter.worker_s += self.count * passed_s
        excess = len(self.sessions) - self._at_top * len(self.ready)
        if excess > 0:
            self.meter.excess_s += excess * passed_s
        self.now_s = now_s

    # -- workers -------------------------------------------------------------------------------------------------------

    def start(self) -> FleetWorker:
        """One more worker, which takes no session yet."""
        self._numbers += 1
        worker = FleetWorker(self._numbers)
        self.starting[worker.number] = worker
        return worker

    def is_ready(self, worker: FleetWorker) -> None:
        """It takes sessions from now on; nothing, if it was stopped meanwhile."""
        if self.starting.pop(worker.number, None) is not None:
            self.ready.append(worker)

    def shrink_to(self, count: int) -> None:
        """Let workers go until so many are left: the newest that starts, then the emptiest, as far as its sessions fit
        on others."""
        while self.count > count:
            if self.starting:
                self.starting.popitem()[1].gone = True
            elif not self._let_go(min(self.ready, key=lambda worker: worker.load)):
                return

    def _let_go(self, worker: FleetWorker) -> bool:
        if not worker.sessions:
            worker.gone = True
            self.ready.remove(worker)
            return True

        # First it is seen whether all of them find room, then they move.
        free = {other: CAPACITY - other.load for other in self.ready if other is not worker}
        moves = []
        costs = self.ladders.costs
        for session in sorted(worker.sessions.values(), key=lambda one: one.place):
            cost = costs[session.place]
            with_room = [other for other, room in free.items() if room >= cost]
            if not with_room:
                return False
            target = min(with_room, key=free.__getitem__)
            free[target] -= cost
            moves.append((session, target))
        for session, target in moves:
            self.move(session, target)
        return self._let_go(worker)

    # -- sessions ------------------------------------------------------------------------------------------------------

    def fullest(self, cost: int) -> FleetWorker | None:
        """Of the workers with room the one with the least; the oldest among equals."""
        best, least = None, CAPACITY + 1
        for worker in self.ready:
            free = CAPACITY - worker.load
            if cost <= free < least:
                best, least = worker, free
        return best

    def seat(self, name: int, prompt: int, worker: FleetWorker, place: int) -> None:
        """Let a session in, at this level. Raises ValueError for one that is served already, and without room."""
        if name in self.sessions:
            raise ValueError(f"session {name} is served already")
        session = LiveSession(name, prompt, worker, place, self.now_s)
        session.below_since_s = self.now_s if place else None
        self._take(worker, self.ladders.costs[place])
        worker.sessions[name] = self.sessions[name] = session
        self.meter.served += 1

    def leave(self, name: int) -> FleetWorker:
        """A session ends; the worker that it had."""
        session = self.sessions.pop(name)
        self._meter(session)
        del session.worker.sessions[name]
        session.worker.load -= self.ladders.costs[session.place]
        return session.worker

    def change(self, session: LiveSession, place: int) -> None:
        """Another level, for which there must be room; a change to what it has is none."""
        if place == session.place:
            return
        self._meter(session)
        costs = self.ladders.costs
        self._take(session.worker, costs[place] - costs[session.place])
        session.place = place
        session.changed_s = self.now_s
        if place == 0:
            session.below_since_s = None
        elif session.below_since_s is None:
            session.below_since_s = self.now_s
        self.meter.level_changes += 1

    def move(self, session: LiveSession, worker: FleetWorker) -> None:
        """To another worker, at the level that it has."""
        cost = self.ladders.costs[session.place]
        self._take(worker, cost)
        del session.worker.sessions[session.name]
        session.worker.load -= cost
        session.worker = worker
        worker.sessions[session.name] = session
        self.meter.moves += 1

    def rearrange(self, seats: list[tuple[LiveSession, FleetWorker, int]]) -> None:
        """Every session to a worker and a level at once: what has no order in which there is room at every step."""
        costs = self.ladders.costs
        for session, worker, place in seats:
            if session.place != place:
                self._meter(session)
                self.meter.level_changes += 1
                session.changed_s = self.now_s
            if session.worker is not worker:
                self.meter.moves += 1
            del session.worker.sessions[session.name]
            session.worker.load -= costs[session.place]
            session.place = place
            session.worker = worker
            worker.sessions[session.name] = session
            worker.load += costs[place]
        if any(worker.load > CAPACITY for worker in self.ready):
            raise ValueError("a worker has more than it can carry")

    def end(self) -> None:
        """Count the time of those that still run."""
        for session in self.sessions.values():
            self._meter(session)

    @staticmethod
    def _take(worker: FleetWorker, cost: int) -> None:
        if worker.load + cost > CAPACITY:
            raise ValueError(f"worker {worker.number} has {CAPACITY - worker.load} thousandths free, not {cost}")
        worker.load += cost

    def _meter(self, session: LiveSession) -> None:
        passed_s = self.now_s - session.metered_s
        session.metered_s = self.now_s
        meter = self.meter
        meter.session_s += passed_s
        meter.quality_s += passed_s * self._qualities[session.prompt][session.place]
        if session.place > 0:
            meter.degraded_s += passed_s
        if session.place > session.prompt:
            meter.harmed_s += passed_s
