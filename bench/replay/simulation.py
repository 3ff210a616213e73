"""One run of a workload against a scaler and a policy of levels, from event to event.

A session that finds no room is lost. Whoever is there at the beginning finds workers that are ready; those that
are there all day are ready from the beginning.
"""

import heapq
import math
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from bench.replay.fleet import Fleet, FleetWorker
from bench.replay.ladders import Ladders
from bench.replay.levelling.policy import LevelPolicy
from bench.replay.outcome import Outcome
from bench.replay.scaling.scaler import START_UP_P50_S, START_UP_P95_S, Scaler, Seen
from bench.replay.scaling.static import Static
from bench.replay.workload import Workload

_Z95: Final = 1.645
_LOG_MEAN: Final = math.log(START_UP_P50_S)
_LOG_DEVIATION: Final = math.log(START_UP_P95_S / START_UP_P50_S) / _Z95


def replay(workload: Workload, ladders: Ladders, scaler: Scaler, levels: LevelPolicy, *, seed: int) -> Outcome:
    """What comes of it. The same arguments give the same outcome; `scaler` begins anew with each run.

    Sessions are numbered as they come, so a scaler changes nothing of who comes next, or for how long.
    """
    return _Run(workload, ladders, scaler, levels, np.random.default_rng(seed)).outcome()


class _Run:
    """Events in the order of time; of one moment in the order in which they were foreseen."""

    def __init__(
        self, workload: Workload, ladders: Ladders, scaler: Scaler, levels: LevelPolicy, dice: np.random.Generator
    ) -> None:
        self._workload = workload
        self._scaler = scaler
        self._levels = levels
        self._dice = dice
        self._fleet = Fleet(ladders)
        self._seen = Seen(self._fleet)
        self._foreseen = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._looked_at: set[int] = set()
        """Workers that are looked at again."""
        self._last_turn = 0
        self._turns = 0

    def outcome(self) -> Outcome:
        self._begin()
        for name, (at_s, length_s, prompt) in enumerate(self._workload.arrivals):
            self._until(at_s)
            self._arrive(name, length_s, prompt)
        self._until(self._workload.span_s)
        self._fleet.end()
        return Outcome.of(self._fleet.meter, self._seen, self._turns, self._workload.span_s)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _foresee(self, in_s: float, event: Callable[[], None]) -> None:
        at_s = self._fleet.now_s + in_s
        if at_s <= self._workload.span_s:
            self._foreseen += 1
            heapq.heappush(self._events, (at_s, self._foreseen, event))

    def _until(self, at_s: float) -> None:
        """All that happens before."""
        while self._events and self._events[0][0] <= at_s:
            when_s, _, event = heapq.heappop(self._events)
            self._fleet.advance(when_s)
            event()
        self._fleet.advance(at_s)

    # -- what happens --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        at_once = sum(arrival.at_s == 0 for arrival in self._workload.arrivals)
        count = math.ceil(at_once / self._fleet.ladders.at_top) + 1
        if isinstance(self._scaler, Static):
            count = self._scaler.count
        for _ in range(count):
            self._fleet.is_ready(self._fleet.start())
        self._foresee(self._scaler.period_s, self._ask_scaler)

    def _arrive(self, name: int, length_s: float, prompt: int) -> None:
        self._seen.arrivals += 1
        worker = self._levels.admit(self._fleet, name, prompt)
        if worker is not None:
            self._foresee(length_s, partial(self._leave, name))
            self._look_again_at(worker)
            return
        self._fleet.meter.blocked += 1
        self._seen.blocked_s.append(self._fleet.now_s)
        if self._scaler.hears_blocked:
            self._scale()

    def _leave(self, name: int) -> None:
        self._seen.departures += 1
        worker = self._fleet.leave(name)
        self._levels.replan(self._fleet, worker)
        self._look_again_at(worker)

    def _look_again_at(self, worker: FleetWorker) -> None:
        if worker.number in self._looked_at or worker.gone:
            return
        in_s = self._levels.looks_again_in(self._fleet, worker)
        if in_s is not None:
            self._looked_at.add(worker.number)
            self._foresee(in_s, partial(self._look_at, worker))

    def _look_at(self, worker: FleetWorker) -> None:
        self._looked_at.discard(worker.number)
        if not worker.gone:
            self._levels.replan(self._fleet, worker)
            self._look_again_at(worker)

    def _ask_scaler(self) -> None:
        self._scale()
        self._foresee(self._scaler.period_s, self._ask_scaler)

    def _scale(self) -> None:
        before = self._fleet.count
        wanted = self._scaler.workers(self._seen)
        for _ in range(wanted - before):
            start_up_s = float(self._dice.lognormal(_LOG_MEAN, _LOG_DEVIATION))
            self._foresee(start_up_s, partial(self._fleet.is_ready, self._fleet.start()))
        self._fleet.shrink_to(wanted)
        self._note_turn(self._fleet.count - before)

    def _note_turn(self, change: int) -> None:
        """Once up after down, or down after up, is a turn."""
        direction = (change > 0) - (change < 0)
        if direction and direction == -self._last_turn:
            self._turns += 1
        self._last_turn = direction or self._last_turn
