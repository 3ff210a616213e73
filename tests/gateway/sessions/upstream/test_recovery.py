"""How often a session moves, and what viewers see, where workers stand still: over a minute of a simulated clock."""

import math
from itertools import cycle

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from genlock_core.claims.facts import MoveCause
from tests.gateway.sessions.upstream.slow_workers import QUIET_S, Habits, Stall, World

MINUTE_S = 60.0
WELL = Habits()
SEARCH = settings(deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
"""A smaller example of a minute of stalls says no more, and takes minutes to find."""
PICTURE_WITHIN_S = 25.0
"""Where a worker stands still for 4 s, pauses for a third of a second and restores for 3 s, one that stays there shows
pictures as rarely."""


def hangs(at_s: float, *, whole_process: bool = True) -> Habits:
    return Habits(stalls=[Stall(at_s, math.inf, whole_process)])


def stalling(every_s: float, seconds: float, *, first_s: float = QUIET_S, restore_s: float = 0.2) -> Habits:
    """It stands still for so long, again and again."""
    count = int(2 * MINUTE_S / every_s)
    return Habits(stalls=[Stall(first_s + every_s * i, seconds) for i in range(count)], restore_s=restore_s)


def stalls_of(lengths: list[tuple[float, float, bool]]) -> list[Stall]:
    """Pauses and stalls in turn, over and over until the minute is full."""
    stalls: list[Stall] = []
    at_s = QUIET_S
    for pause_s, seconds, whole_process in cycle(lengths):
        at_s += pause_s
        if at_s > QUIET_S + MINUTE_S:
            return stalls
        stalls.append(Stall(at_s, seconds, whole_process))
        at_s += seconds
    return stalls


slow = st.builds(
    Habits,
    stalls=st.lists(st.tuples(st.floats(0.3, 12.0), st.floats(0.5, 4.0), st.booleans()), min_size=1, max_size=6).map(
        stalls_of
    ),
    restore_s=st.floats(0.1, 3.0),
)
"""It stands still for half a second to four, with a pause between; and its restorations take their time."""


@given(st.floats(0.0, 0.2), st.integers(2, 3))
@settings(SEARCH, max_examples=10)
def test_where_nobody_is_slow_nothing_moves(restore_s: float, workers: int) -> None:
    seen = World(*[Habits(restore_s=restore_s)] * workers).run(MINUTE_S)
    assert seen.moves == []
    assert seen.longest_gap_s(until_s=MINUTE_S) < 1.0


@given(st.floats(QUIET_S, 20.0), st.booleans(), st.integers(1, 2))
@settings(SEARCH, max_examples=20)
def test_a_worker_that_hangs_on_a_quiet_machine_is_left_within_two_seconds(
    at_s: float, whole_process: bool, others: int
) -> None:
    seen = World(hangs(at_s, whole_process=whole_process), *[WELL] * others).run(at_s + 20.0)
    (move,) = seen.moves
    assert move.cause is MoveCause.SILENT
    assert 0.75 <= move.at_s - at_s <= 1.6
    assert seen.longest_gap_s(until_s=at_s + 20.0) <= 2.0


@given(st.floats(QUIET_S, 20.0), slow)
@settings(SEARCH, max_examples=20)
def test_a_dead_process_is_left_at_once_whatever_the_others_do(at_s: float, other: Habits) -> None:
    seen = World(Habits(dies_at_s=at_s), WELL, other).run(at_s + 5.0)
    assert seen.moves
    assert seen.moves[0].cause is MoveCause.REFUSED
    assert seen.moves[0].at_s - at_s <= 0.3


@given(st.floats(1.5, 4.0), st.floats(5.0, 15.0))
@settings(SEARCH, max_examples=20)
def test_a_slow_worker_is_left_at_once_where_another_is_well_and_the_session_stays_there(
    seconds: float, every_s: float
) -> None:
    seen = World(stalling(every_s, seconds), WELL).run(QUIET_S + MINUTE_S)
    (move,) = seen.moves
    assert move.at_s - QUIET_S <= 2.0


@given(slow, slow)
@settings(SEARCH, max_examples=60)
@example(Habits(restore_s=1.3), Habits(restore_s=1.3))
@example(stalling(5.0, 1.3, restore_s=1.3), stalling(5.0, 1.3, restore_s=1.3))
@example(stalling(6.0, 2.5), stalling(6.0, 2.5, first_s=QUIET_S + 3.0))
def test_two_slow_workers_do_not_hand_a_session_to_and_fro_and_pictures_go_on(first: Habits, second: Habits) -> None:
    until_s = QUIET_S + MINUTE_S
    seen = World(first, second).run(until_s)
    assert seen.most_in(60.0) <= 6
    assert seen.longest_gap_s(until_s=until_s) <= PICTURE_WITHIN_S


@given(slow, slow, slow)
@settings(SEARCH, max_examples=20)
def test_nor_do_three(first: Habits, second: Habits, third: Habits) -> None:
    until_s = QUIET_S + MINUTE_S
    seen = World(first, second, third).run(until_s)
    assert seen.most_in(60.0) <= 6
    assert seen.longest_gap_s(until_s=until_s) <= PICTURE_WITHIN_S
