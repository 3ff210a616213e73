"""One session, one gateway and some workers that stand still now and then, by a clock that the test moves.

What decides is the product's own: `mover`, `should_move`, the link's `Liveness`, the workers' `VitalSigns`. What is
simulated is the world round it: the workers' engines, their heartbeats, their leases, and who gets a claim.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from prometheus_client import CollectorRegistry

from genlock_core.claims import liveness
from genlock_core.claims.facts import Claim, MoveCause, WorkerState, WorkerView
from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.liveness import LinkView, should_move
from genlock_core.claims.pulse import EnginePhase, Vitals
from genlock_core.claims.silence import Rhythm, Silence
from genlock_core.clock import ManualClock
from genlock_core.link.liveness import LinkTimings, Liveness
from genlock_core.metrics import WorkerMetrics
from genlock_gateway.sessions.upstream import mover
from genlock_gateway.sessions.upstream.mover import Action, MoveStage, Situation
from genlock_worker.ownership.vital_signs import VitalSigns

SESSION: Final = "default/demo"
TURN_S: Final = 0.125
"""In each turn the gateway looks at the session, and a worker at itself; every second one has a heartbeat on the link,
every fourth one to Redis."""
QUIET_S: Final = 10.0
"""All workers are well for so long before the first stall can be: what is normal there is known."""


@dataclass(frozen=True, slots=True)
class Stall:
    """From `at_s` on nothing of a worker moves for `seconds`: its whole process, or its engine alone."""

    at_s: float
    seconds: float
    whole_process: bool = True


@dataclass(frozen=True, slots=True)
class Habits:
    """How a worker behaves; seconds since the simulation began."""

    stalls: Sequence[Stall] = ()
    restore_s: float = 0.2
    """How long its engine takes to open a session, without a sign of progress."""
    dies_at_s: float = math.inf


@dataclass(slots=True)
class Engine:
    """What a worker's vital signs are told of."""

    progress: int = 0
    phase: EnginePhase = EnginePhase.STEPPING
    exhausted: bool = False


class SimulatedWorker:
    """Lives by its habits; `turn` is one step of time."""

    def __init__(self, name: str, habits: Habits, clock: ManualClock) -> None:
        self.identity = WorkerIdentity(name, "1")
        self.habits = habits
        self.engine = Engine()
        self.began_s = clock.monotonic()
        self.rhythm = Rhythm()
        self.link = Liveness(LinkTimings(), now=clock.monotonic(), rhythm=self.rhythm)
        """The gateway's end of the link: it hears the worker's heartbeats."""
        self.view: WorkerView | None = None
        """What Redis knows, but for the heartbeat's age."""
        self.heartbeat_s = clock.monotonic()
        self.lease_until_s = math.inf
        self.asked: list[int] = []
        """Epochs for which it was asked for a channel and has not opened one."""
        self.opened: int | None = None
        """The epoch that it serves in a channel."""
        self._clock = clock
        self._to_come = sorted(habits.stalls, key=lambda stall: -stall.at_s)
        self._stall: Stall | None = None
        self._signs = VitalSigns(self.engine, clock=clock, metrics=WorkerMetrics(CollectorRegistry()))
        self._restored_s = -math.inf
        self._restoring: int | None = None
        self._turns = 0
        self._told_progress = -1

    @property
    def now_s(self) -> float:
        return self._clock.monotonic() - self.began_s

    @property
    def is_dead(self) -> bool:
        return self.now_s >= self.habits.dies_at_s

    @property
    def runs(self) -> bool:
        """Whether its process gets the processor."""
        return not self.is_dead and (self._stall is None or not self._stall.whole_process)

    @property
    def is_stuck(self) -> bool:
        """Whether its engine stands still."""
        return self.is_dead or self._stall is not None

    def turn(self) -> None:
        self._turns += 1
        now_s = self.now_s
        while self._to_come and now_s >= self._to_come[-1].at_s:
            self._stall = self._to_come.pop()
        if self._stall is not None and now_s >= self._stall.at_s + self._stall.seconds:
            self._stall = None
        if not self.runs:
            return

        # It restores one session at a time; while the engine stands still nothing of it gets on.
        if not self.is_stuck:
            if self._restoring is None and self.asked:
                self._restoring = self.asked.pop()
                self.asked.clear()
                self._restored_s = self.now_s + self.habits.restore_s
                self.engine.phase = EnginePhase.RESTORING
            if self._restoring is None:
                self.engine.progress += 1
            elif self.now_s >= self._restored_s:
                self.engine.progress += 1
                self.engine.phase = EnginePhase.STEPPING
                self.opened = self._restoring
                self._restoring = None

        self._signs.look()
        if self._turns % 2 == 0:
            self.link.heard(self._signs.pulse, self._clock.monotonic(), counts=True)
        if self._turns % 4 == 0:
            self._renew(self._signs.vitals)

    def _renew(self, vitals: Vitals) -> None:
        """As `renew.lua` does."""
        progressed = self.engine.progress > self._told_progress
        if progressed:
            self._told_progress = self.engine.progress
            self.heartbeat_s = self._clock.monotonic()
        if progressed or vitals.patient:
            self.lease(vitals)
        self.view = WorkerView(
            identity=self.identity,
            pool="local",
            model="m",
            address="",
            state=WorkerState.READY,
            heartbeat_age_ms=0,
            progress=self.engine.progress,
            links={},
            capacity=1_000,
            free=1_000,
            sessions={},
            formats=FormatRange(1, 1),
            vitals=vitals,
        )

    def lease(self, said: Vitals | None) -> None:
        """Its lease begins anew, as `lease_ms` has it."""
        patience_ms = 0 if said is None else said.patience_ms
        asked_ms = min(patience_ms + liveness.LEASE_BEYOND_PATIENCE_MS, liveness.LONGEST_LEASE_MS)
        self.lease_until_s = self._clock.monotonic() + max(liveness.LEASE_MS, asked_ms) / 1_000

    def seen(self) -> WorkerView | None:
        """What Redis says of it now."""
        if self.view is None:
            return None
        age_ms = round(1_000 * (self._clock.monotonic() - self.heartbeat_s))
        return replace(self.view, heartbeat_age_ms=age_ms)


@dataclass(frozen=True, slots=True)
class Moved:
    """The session has left a worker."""

    at_s: float
    cause: MoveCause


@dataclass(slots=True)
class Watched:
    """What a viewer and an operator saw."""

    moves: list[Moved] = field(default_factory=list)
    pictures_s: list[float] = field(default_factory=list)

    def most_in(self, window_s: float) -> int:
        """The most moves that any window of that length saw."""
        return max(
            (sum(first.at_s <= other.at_s < first.at_s + window_s for other in self.moves) for first in self.moves),
            default=0,
        )

    def longest_gap_s(self, *, until_s: float) -> float:
        moments = [0.0, *self.pictures_s, until_s]
        return max(after - before for before, after in pairwise(moments))


class World:
    """The session begins at the first worker."""

    def __init__(self, *habits: Habits) -> None:
        self.clock = ManualClock()
        self.workers = [SimulatedWorker(f"w{number}", one, self.clock) for number, one in enumerate(habits)]
        self.seen = Watched()
        self._began_s = self.clock.monotonic()
        self._situation = Situation()
        self._epoch = 1
        self._owner = self.workers[0]
        self._is_owned = True
        self._has_channel = False
        self._claimed_again_s = math.inf
        self._answers: list[mover.Event] = [mover.SessionWanted(self._claim)]
        """What Redis and the links have answered, to be heard at the next look."""

    def run(self, seconds: float) -> Watched:
        """Let time pass; what was seen since the beginning."""
        for _ in range(round(seconds / TURN_S)):
            self.clock.advance(TURN_S)
            for worker in self.workers:
                worker.turn()
            self._sweep()
            self._look()
        return self.seen

    @property
    def _now_s(self) -> float:
        return self.clock.monotonic() - self._began_s

    @property
    def _claim(self) -> Claim:
        return Claim(SESSION, self._epoch, self._owner.identity, "", "local", 500)

    def _look(self) -> None:
        """The gateway hears what has come, and then looks whether the worker is silent."""
        owner = self._owner
        answers = self._answers
        self._answers = []
        for event in answers:
            self._decide(event)

        if owner is self._owner and owner.runs:
            self._hear(owner)
        if owner is self._owner and owner.is_dead:
            self._decide(mover.LinkLost(self._epoch, gone=True))

        self._decide(mover.Tick(self._silence if self._has_channel else Silence(math.inf)))
        shows = self._owner.opened == self._epoch and not self._owner.is_stuck
        if shows and self._situation.opened:
            self.seen.pictures_s.append(self._now_s)

    def _sweep(self) -> None:
        """As `maintenance` does: a lease that is over ends, and after a moment the session is claimed again."""
        now_s = self.clock.monotonic()
        if self._is_owned and now_s > self._owner.lease_until_s:
            self._is_owned = False
            self._claimed_again_s = now_s + 0.5
        elif not self._is_owned and now_s >= self._claimed_again_s:
            answer = self._give(self.workers, MoveCause.EXPIRED)
            if isinstance(answer, mover.Claimed):
                self._answers.append(answer)

    def _hear(self, owner: SimulatedWorker) -> None:
        """The owner's process runs: it says what it has to say of the channel."""
        if not self._is_owned:
            # Its heartbeat has told it that the session is not its own any more; Redis says so whenever it is asked.
            owner.opened = None
            owner.asked.clear()
            self._has_channel = False
            self._decide(mover.WorkerRefused(self._epoch, "not-owner"))
        elif owner.opened == self._epoch and self._situation.stage is MoveStage.OPENING:
            self._decide(mover.WorkerAccepted(self._epoch))

    @property
    def _silence(self) -> Silence:
        """As an examination sees it: without a channel, since it was asked for."""
        now_s = self.clock.monotonic()
        if self._has_channel:
            return self._owner.link.silence(now_s)
        return Silence(now_s - self._situation.since_s, self._owner.rhythm.alive_patience_s)

    def _decide(self, event: mover.Event) -> None:
        self._situation, action = mover.decide(self._situation, event, self.clock.monotonic())
        match action:
            case Action.OPEN:
                self._owner.asked.append(self._epoch)
                self._has_channel = True
            case Action.EXAMINE:
                self._answers.append(mover.Examined(self._epoch, self._cause()))
            case Action.MOVE | Action.CLAIM:
                self._answers.append(self._give(self._others(), self._situation.cause or MoveCause.EXPIRED))
            case _:
                pass

    def _cause(self) -> MoveCause | None:
        silence = self._silence
        link = LinkView(
            gateway="g0",
            refused=False,
            silent_ms=round(1_000 * silence.quiet_s),
            patience_ms=round(1_000 * silence.patience_s),
        )
        return should_move(
            SESSION, link, self._owner.seen(), candidates=self._views_of_others(), lease_expired=not self._is_owned
        )

    def _others(self) -> list[SimulatedWorker]:
        return [worker for worker in self.workers if worker is not self._owner]

    def _views_of_others(self) -> list[WorkerView]:
        return [view for worker in self._others() if (view := worker.seen()) is not None]

    def _give(self, among: Sequence[SimulatedWorker], cause: MoveCause) -> mover.Event:
        """As the scripts do: to one whose heartbeat is fresh, and that was not late if there is such a one."""
        seen = [(worker, worker.seen()) for worker in among]
        fresh = [
            (worker, view)
            for worker, view in seen
            if view is not None and view.heartbeat_age_ms <= liveness.HEARTBEAT_STALE_MS
        ]
        well = [one for one in fresh if one[1].vitals is None or one[1].vitals.late_ms < liveness.LATE_MS]
        if not fresh:
            return mover.Unclaimed()

        self._owner, view = (well or fresh)[0]
        self._owner.lease(view.vitals)
        self._is_owned = True
        self._has_channel = False
        self._epoch += 1
        self.seen.moves.append(Moved(self._now_s, cause))
        return mover.Claimed(self._claim)
