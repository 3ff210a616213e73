"""What no plan can exceed: the fractional optimum over a pool, as if its workers were one and levels could be mixed.

On the upper convex hull of each session's rungs the greedy by quality per cost is optimal (Sinha and Zoltners, The
Multiple-Choice Knapsack Problem, 1979). It costs one sort, and it says how much a plan can have missed.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from genlock_core.approximation.levels import Ladder
from genlock_core.approximation.plan import Seat


class Point(NamedTuple):
    """One thing that a session may have."""

    cost: int
    quality: float


class Rise(NamedTuple):
    """From one point of a hull to the next."""

    slope: float
    """Quality for each thousandth."""
    cost: int
    quality: float


def fractional_bound(
    seats: Iterable[Seat], ladders: Mapping[str, Ladder | None], capacities: Mapping[str, int]
) -> float:
    """The most quality that these seats could have together. `ladders` by session, `capacities` by pool."""
    by_pool: dict[str, list[Sequence[Point]]] = {}
    for seat in seats:
        ladder = ladders[seat.session]
        points = {Point(seat.cost, seat.quality)}
        if ladder is not None:
            points |= {Point(rung.cost, rung.quality) for rung in ladder.rungs}
        by_pool.setdefault(seat.pool, []).append(upper_hull(points))
    return sum(_bound_of(hulls, capacities[pool]) for pool, hulls in sorted(by_pool.items()))


def upper_hull(points: Iterable[Point]) -> list[Point]:
    """The points that a mix of others never beats, by cost; quality grows from each to the next, ever more slowly."""
    hull: list[Point] = []
    for point in sorted(points):
        if hull and point.quality <= hull[-1].quality:
            continue
        # Of one cost the best is left, as the points come by quality.
        if hull and point.cost == hull[-1].cost:
            hull.pop()
        while len(hull) > 1 and _slope(hull[-2], point) >= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    return hull


def _bound_of(hulls: Sequence[Sequence[Point]], capacity: int) -> float:
    room = capacity - sum(hull[0].cost for hull in hulls)
    quality = sum(hull[0].quality for hull in hulls)
    rises = [
        Rise(_slope(before, after), after.cost - before.cost, after.quality - before.quality)
        for hull in hulls
        for before, after in pairwise(hull)
    ]
    for rise in sorted(rises, reverse=True):
        if room <= 0:
            break
        quality += rise.quality * min(1.0, room / rise.cost)
        room -= rise.cost
    return quality


def _slope(before: Point, after: Point) -> float:
    return (after.quality - before.quality) / (after.cost - before.cost)
