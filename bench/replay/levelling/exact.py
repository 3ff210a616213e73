"""The exact best of each worker's sessions by a mixed-integer programme, at once and without a rule of time.

It knows no stickiness and no 15 s between changes: what these rules of ours cost is seen beside it.
"""

from functools import lru_cache

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from bench.replay.fleet import Fleet, FleetWorker
from bench.replay.ladders import quality_of
from bench.replay.levelling.policy import NeverLooksAgain, highest_that_fits
from genlock_core.claims.identity import CAPACITY

TIME_LIMIT_S = 60.0


class Exact(NeverLooksAgain):
    """HiGHS decides, worker by worker; a newcomer goes where the others lose least."""

    name = "exact programme"

    def admit(self, fleet: Fleet, name: int, prompt: int) -> FleetWorker | None:
        worker = highest_that_fits(fleet, name, prompt)
        if worker is None:
            worker = with_least_loss(fleet, prompt)
            if worker is None:
                return None
            places = self._places(fleet, worker, prompt)
            newcomer = places.pop(sorted([*(one.prompt for one in worker.sessions.values()), prompt]).index(prompt))
            self._apply(fleet, worker, places)
            fleet.seat(name, prompt, worker, newcomer)
        self.replan(fleet, worker)
        return worker

    def replan(self, fleet: Fleet, worker: FleetWorker) -> None:
        if any(session.place for session in worker.sessions.values()):
            self._apply(fleet, worker, self._places(fleet, worker))

    @staticmethod
    def _places(fleet: Fleet, worker: FleetWorker, *newcomers: int) -> list[int]:
        prompts = sorted([*(one.prompt for one in worker.sessions.values()), *newcomers])
        found = best_levels(fleet.ladders.costs, tuple(prompts))
        if found is None:
            raise ValueError(f"worker {worker.number} cannot hold what it has")
        return list(found[1])

    @staticmethod
    def _apply(fleet: Fleet, worker: FleetWorker, places: list[int]) -> None:
        """Levels in the order of prompts; among alike the ones that have a level keep it, as far as can be."""
        sessions = sorted(worker.sessions.values(), key=lambda one: (one.prompt, one.place))
        changes = list(zip(sessions, places, strict=True))
        for session, place in sorted(changes, key=lambda change: change[0].place - change[1]):
            fleet.change(session, place)


def with_least_loss(fleet: Fleet, prompt: int) -> FleetWorker | None:
    """The worker whose sessions lose least by the newcomer, the oldest among equals.

    It is an exact count that knows no rule of time. None: with everybody at the lowest level each worker is full.
    """
    found: FleetWorker | None = None
    least = 0.0
    for worker in fleet.ready:
        if len(worker.sessions) < fleet.ladders.at_lowest:
            prompts = tuple(sorted([session.prompt for session in worker.sessions.values()]))
            loss = _quality(fleet, prompts) - _quality(fleet, tuple(sorted((*prompts, prompt))))
            if found is None or loss < least:
                found, least = worker, loss
    return found


def _quality(fleet: Fleet, prompts: tuple[int, ...]) -> float:
    best = best_levels(fleet.ladders.costs, prompts)
    return best[0] if best is not None else 0.0


@lru_cache(maxsize=100_000)
def best_levels(costs: tuple[int, ...], prompts: tuple[int, ...]) -> tuple[float, tuple[int, ...]] | None:
    """The quality and the levels of these sessions, which share a worker; None where they do not fit."""
    if len(prompts) * costs[-1] > CAPACITY:
        return None
    if not prompts:
        return 0.0, ()
    count, levels = len(prompts), len(costs)
    qualities = np.array([[quality_of(prompt, place) for place in range(levels)] for prompt in prompts])
    one_each = np.kron(np.eye(count), np.ones(levels))
    found = milp(
        -qualities.ravel(),
        constraints=[
            LinearConstraint(one_each, np.ones(count), np.ones(count)),
            LinearConstraint(np.tile(np.array(costs, dtype=float), count)[np.newaxis], 0, CAPACITY),
        ],
        integrality=np.ones(count * levels),
        bounds=Bounds(0, 1),
        options={"time_limit": TIME_LIMIT_S, "mip_rel_gap": 1e-9},
    )
    if found.status != 0:
        raise ValueError(found.message)
    taken = np.asarray(found.x).reshape(count, levels).argmax(axis=1)

    # Of prompts of one kind the higher level comes first: which of them has it is the same to the programme.
    places = tuple(place for _, place in sorted(zip(prompts, taken.tolist(), strict=True)))
    return -float(found.fun), places
