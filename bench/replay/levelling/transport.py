"""Argus as published: a programme gives each worker a level, then prompts are brought to levels by exact transport.

Every 15 s, for 1.15 times the sessions that there are. The programme knows no prompts, the transport moves each as
little as it can from the level that it needs. Sessions are routed to the worker of their level, so they move; nobody
pays for that here, though a live session cannot be routed without a gap.
"""

import math
from collections import Counter
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from bench.replay.fleet import Fleet, FleetWorker, LiveSession
from bench.replay.ladders import MEAN_QUALITY
from bench.replay.levelling.policy import NeverLooksAgain
from genlock_core.claims.identity import CAPACITY

PERIOD_S: Final = 15.0
ESTIMATE: Final = 1.15
"""The load is taken to be so much more than it is."""


class Transport(NeverLooksAgain):
    """Levels of workers by a programme, of sessions by transport."""

    name = "programme + transport"

    def __init__(self) -> None:
        self._levels: dict[int, int] = {}
        """By worker."""
        self._planned_s = -math.inf

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        self._plan_if_due(fleet)

        # The nearest to what the prompt needs; of those the fullest.
        found, best = None, (math.inf, 0, 0)
        for worker in fleet.ready:
            place = self._levels.get(worker.number, 0)
            if worker.load + fleet.ladders.costs[place] <= CAPACITY:
                rank = (float(abs(place - prompt)), -worker.load, worker.number)
                if rank < best:
                    found, best = worker, rank
        if found is not None:
            fleet.seat(name, prompt, found, self._levels.get(found.number, 0))
        return found

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:  # noqa: ARG002
        self._plan_if_due(fleet)

    def _plan_if_due(self, fleet: Fleet) -> None:
        if fleet.now_s - self._planned_s < PERIOD_S or not fleet.ready:
            return
        self._planned_s = fleet.now_s
        costs = fleet.ladders.costs
        present = len(fleet.sessions)
        counts = worker_levels(costs, len(fleet.ready), max(present, math.ceil(ESTIMATE * present)))

        # Who has a level keeps it, as far as so many are to have it.
        left = Counter(dict(enumerate(counts)))
        levels: dict[int, int] = {}
        for worker in sorted(fleet.ready, key=lambda one: -one.load):
            had = self._levels.get(worker.number, 0)
            level = had if left[had] > 0 else next(place for place, count in left.items() if count > 0)
            left[level] -= 1
            levels[worker.number] = level
        self._levels = levels
        fleet.rearrange(self._seats(fleet))

    def _seats(self, fleet: Fleet) -> list[tuple[LiveSession, FleetWorker, int]]:
        """Each session at the level that transport brings it to, where it is if that has this level."""
        rooms = {worker: CAPACITY // fleet.ladders.costs[self._levels[worker.number]] for worker in fleet.ready}
        room_at = Counter[int]()
        for worker, room in rooms.items():
            room_at[self._levels[worker.number]] += room

        targets = transported(list(fleet.sessions.values()), room_at)
        seats: list[tuple[LiveSession, FleetWorker, int]] = []
        displaced: list[tuple[LiveSession, int]] = []
        for session, place in targets:
            here = session.worker
            if self._levels[here.number] == place and rooms[here] > 0:
                rooms[here] -= 1
                seats.append((session, here, place))
            else:
                displaced.append((session, place))
        for session, place in displaced:
            fitting = [worker for worker, room in rooms.items() if room > 0 and self._levels[worker.number] == place]
            target = min(fitting, key=lambda worker: (rooms[worker], worker.number))
            rooms[target] -= 1
            seats.append((session, target, place))
        return seats


def transported(sessions: list[LiveSession], room_at: Counter[int]) -> list[tuple[LiveSession, int]]:
    """The exact transport in one dimension: both sides in order, the first to the first.

    Sessions in the order of the level that their prompt needs; levels from the top, filled in turn.
    """
    ordered = sorted(sessions, key=lambda one: (one.prompt, one.place, one.name))
    filled = [place for place in sorted(room_at) for _ in range(room_at[place])]
    return list(zip(ordered, filled, strict=False))


@lru_cache(maxsize=100_000)
def worker_levels(costs: tuple[int, ...], workers: int, sessions: int) -> tuple[int, ...]:
    """How many workers have each level: the most quality for so many sessions, whatever their prompts.

    Where they do not fit at all, every worker is at the lowest level.
    """
    levels = len(costs)
    held = [CAPACITY // cost for cost in costs]
    if sessions >= workers * held[-1]:
        return (*[0] * (levels - 1), workers)
    if sessions <= workers * held[0]:
        return (workers, *[0] * (levels - 1))

    # Columns: workers at each level, then sessions at each level.
    fits = np.hstack([-np.diag(np.array(held, dtype=float)), np.eye(levels)])
    totals = np.kron(np.eye(2), np.ones(levels))
    found = milp(
        np.concatenate([np.zeros(levels), -np.array(MEAN_QUALITY)]),
        constraints=[
            LinearConstraint(fits, -np.inf, 0),
            LinearConstraint(totals, [workers, sessions], [workers, sessions]),
        ],
        integrality=np.ones(2 * levels),
        bounds=Bounds(0, np.inf),
    )
    if found.status != 0:
        raise ValueError(found.message)
    return tuple(round(count) for count in found.x[:levels])
