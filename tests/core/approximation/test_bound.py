from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.bound import Point, fractional_bound, upper_hull
from genlock_core.approximation.levels import Level
from genlock_core.approximation.plan import Seat
from tests.core.approximation.level_worlds import POOL, ladder


def test_a_point_below_the_line_between_its_neighbours_is_no_part_of_the_hull() -> None:
    points = [Point(100, 0.2), Point(200, 0.3), Point(300, 0.8), Point(400, 0.9), Point(500, 0.85)]
    assert upper_hull(points) == [Point(100, 0.2), Point(300, 0.8), Point(400, 0.9)]


def test_the_best_rises_come_first_and_the_last_one_in_part() -> None:
    rungs = {"a": ladder((300, 1.0), (100, 0.2)), "b": ladder((300, 1.0), (100, 0.6))}
    seats = [Seat(name, "w", POOL, Level(3), 100, quality) for name, quality in (("a", 0.2), ("b", 0.6))]

    # 200 thousandths for a, which gains 0.8 by them, and half of what b would gain.
    assert fractional_bound(seats, rungs, {POOL: 500}) == pytest.approx(0.2 + 0.6 + 0.8 + 0.2)
    assert fractional_bound(seats, rungs, {POOL: 300}) == pytest.approx(0.2 + 0.6 + 0.4)
    assert fractional_bound(seats, rungs, {POOL: 900}) == pytest.approx(2.0)


@given(st.lists(st.builds(Point, st.integers(1, 50), st.integers(0, 100).map(lambda part: part / 100)), min_size=1))
def test_a_hull_rises_ever_more_slowly_and_holds_every_point_under_it(points: list[Point]) -> None:
    hull = upper_hull(points)
    assert hull[0].cost == min(points).cost
    slopes = [(b.quality - a.quality) / (b.cost - a.cost) for a, b in pairwise(hull)]
    assert all(slope > 0 for slope in slopes)
    assert slopes == sorted(slopes, reverse=True)
    for point in points:
        assert point.quality <= height_at(hull, point.cost) + 1e-9


def height_at(hull: list[Point], cost: int) -> float:
    for before, after in pairwise(hull):
        if before.cost <= cost <= after.cost:
            share = (cost - before.cost) / (after.cost - before.cost)
            return before.quality + share * (after.quality - before.quality)
    return hull[-1].quality
