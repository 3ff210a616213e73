"""Scale-in goes to the most that was wanted lately."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_operator.autoscale.stabilise import (
    LONGEST_S,
    SMALL_LASTS,
    WantedLately,
    WantedWorkers,
    least_to_keep,
    most_wanted,
)

WINDOW_S = 300.0


def noted(*wanted: tuple[float, int]) -> tuple[WantedWorkers, ...]:
    lately = WantedLately()
    for at_s, workers in wanted:
        lately.note(at_s, workers)
    return lately.all


def test_what_was_wanted_at_the_beginning_of_the_window_counts() -> None:
    wanted = noted((0, 9), (100, 4), (500, 2))
    assert most_wanted(wanted, 600, WINDOW_S) == 4, "4 were wanted from 100 to 500"
    assert most_wanted(wanted, 399, WINDOW_S) == 9
    assert most_wanted(wanted, 401, WINDOW_S) == 4
    assert most_wanted(wanted, 801, WINDOW_S) == 2


def test_nothing_noted_keeps_nobody() -> None:
    assert most_wanted((), 0, WINDOW_S) == 0
    assert least_to_keep((), 0, WINDOW_S, staying=8, desired=3) == 3


def test_a_dip_within_the_window_takes_no_more_away_than_what_was_too_many_all_the_while() -> None:
    wanted = noted((0, 8), (100, 6), (390, 1))
    assert least_to_keep(wanted, 401, WINDOW_S, staying=12, desired=1) == 6


def test_a_small_surplus_goes_after_a_longer_while() -> None:
    wanted = noted((0, 20), (100, 19))
    assert least_to_keep(wanted, 401, WINDOW_S, staying=20, desired=19) == 20
    assert least_to_keep(wanted, 101 + SMALL_LASTS * WINDOW_S, WINDOW_S, staying=20, desired=19) == 19


def test_in_a_small_pool_one_is_no_small_surplus() -> None:
    wanted = noted((0, 2), (100, 1))
    assert least_to_keep(wanted, 401, WINDOW_S, staying=2, desired=1) == 1


def test_a_clock_that_goes_back_forgets_nothing() -> None:
    assert most_wanted(noted((1_000, 7), (400, 3), (401, 2)), 402, WINDOW_S) == 7


times = st.lists(st.tuples(st.floats(0, 2 * LONGEST_S), st.integers(0, 50)), min_size=1, max_size=60)


@given(times, st.floats(0, 600), st.integers(0, 3_600))
def test_it_is_the_most_of_all_moments_of_the_window(
    changes: list[tuple[float, int]], after_s: float, window_s: int
) -> None:
    changes = sorted((float(round(at_s)), workers) for at_s, workers in changes)
    now_s = changes[-1][0] + after_s
    last = dict(changes)
    expected = max(
        (
            workers
            for (at_s, workers), until_s in zip(changes, [*(at_s for at_s, _ in changes[1:]), now_s], strict=True)
            if until_s >= now_s - window_s
        ),
        default=0,
    )
    found = most_wanted(noted(*changes), now_s, window_s)
    assert found >= last[changes[-1][0]], "what is wanted now counts"
    assert found == expected


@given(times)
def test_what_is_kept_is_bounded(changes: list[tuple[float, int]]) -> None:
    lately = WantedLately()
    for at_s, workers in sorted(changes):
        for _ in range(20):
            lately.note(at_s, workers)
    assert len(lately.all) <= len(changes)


def test_an_hour_of_changes_every_second_is_kept_and_no_more() -> None:
    lately = WantedLately()
    for second in range(3 * int(LONGEST_S)):
        lately.note(float(second), second % 2)
    assert len(lately.all) <= LONGEST_S + 2
