"""Pools of sessions whose levels are planned, drawn by a seed, and the exact programme that plans are held against.

They belong to the benchmark of plans and to the tests of them; the product solves no integer programme.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from genlock_core.approximation.levels import Ladder, Level, Rung
from genlock_core.approximation.plan import LevelSession, LevelWorker

POOL = "p"
CAPACITY = 1_000
SMALLEST_SHARE = 0.35
"""What the lowest level costs of the top one, as four steps and one at every second frame have it."""


def lowered_pool(
    count: int, *, seed: int, per_worker: int = 20, levels: int = 5
) -> tuple[list[LevelSession], list[LevelWorker]]:
    """So many sessions that ask for about 1.8 times of what there is; all are at their lowest."""
    dice = random.Random(seed)
    sessions: list[LevelSession] = []
    workers: list[LevelWorker] = []
    for number in range(count):
        worker = f"w{number // per_worker:04}"
        if number % per_worker == 0:
            workers.append(LevelWorker(worker, POOL, CAPACITY))
        ladder = _ladder(dice, top=dice.randrange(60, 121) * 20 // per_worker, levels=levels)
        sessions.append(
            LevelSession(
                f"s{number:05}",
                {POOL: ladder},
                worker,
                granted=ladder.lowest.level,
                cost=ladder.lowest.cost,
                below_since_ms=dice.randrange(1_000_000),
            )
        )
    return sessions, workers


def _ladder(dice: random.Random, *, top: int, levels: int) -> Ladder:
    shares = [SMALLEST_SHARE + (1 - SMALLEST_SHARE) * step / (levels - 1) for step in range(levels)]
    costs = sorted({max(1, round(top * share)) for share in shares}, reverse=True)
    qualities = sorted((dice.uniform(0.2, 1.0) for _ in costs), reverse=True)
    names = [Level(steps, every=every) for every in (1, 2, 3, 4) for steps in (4, 3, 2, 1)]
    return Ladder(tuple(Rung(*given) for given in zip(names, costs, qualities, strict=False)))


class Group(NamedTuple):
    """One session: the bins that it may be in, and what it may have there."""

    bins: Sequence[str]
    options: Sequence[tuple[int, float]]
    """Cost and value."""


def exact(groups: Sequence[Group], capacities: Mapping[str, int]) -> float:
    """The most value of one option in one bin for each group: a mixed-integer programme, workers as bins (HiGHS).

    Raises ValueError where there is none.
    """
    rows = {name: len(groups) + number for number, name in enumerate(capacities)}
    values: list[float] = []
    cells: list[tuple[int, int, float]] = []
    for number, group in enumerate(groups):
        for name in group.bins:
            for cost, value in group.options:
                cells += [(number, len(values), 1.0), (rows[name], len(values), float(cost))]
                values.append(-value)

    at_row, at_column, entries = zip(*cells, strict=True)
    shape = len(groups) + len(capacities), len(values)
    most = np.array([1.0] * len(groups) + [float(capacity) for capacity in capacities.values()])
    least = np.array([1.0] * len(groups) + [-np.inf] * len(capacities))
    found = milp(
        np.array(values),
        constraints=LinearConstraint(csr_array((entries, (at_row, at_column)), shape=shape), least, most),
        integrality=np.ones(len(values)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 1e-6},
    )
    if found.status != 0:
        raise ValueError(found.message)
    return -float(found.fun)
