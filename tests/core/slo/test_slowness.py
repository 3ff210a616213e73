"""A session is told to be too slow, and told otherwise, once: however its figures tremble."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.slo.slowness import ENTER_S, LATE_SHARE, LEAVE_S, Slowness, comes_late


def verdicts(shares: list[float], *, every_s: float = 1.0) -> list[bool]:
    """Whether a session is too slow after each of its reports, which come `every_s` with these late shares."""
    slowness = Slowness()
    said = []
    for number, share in enumerate(shares):
        now_s = number * every_s
        late = comes_late(late_share=share, output_fps=16.0, frame_rate=16, source_moves=True)
        slowness.reported(now_s, late=late, late_share=share)
        said.append(slowness.late_share(now_s) is not None)
    return said


def changes(said: list[bool]) -> int:
    return sum(before != after for before, after in pairwise([False, *said]))


@pytest.mark.parametrize(
    ("late_share", "output_fps", "source_moves", "late"),
    [
        (0.0, 16.0, True, False),
        (LATE_SHARE, 16.0, True, False),
        (LATE_SHARE + 0.01, 16.0, True, True),
        (LATE_SHARE + 0.01, None, False, True),
        (0.01, 12.0, True, True),
        (0.01, 13.0, True, False),
        (0.01, None, True, False),
        # A source that crawls, and one that stands.
        (0.0, 3.0, True, False),
        (0.01, 3.0, False, False),
    ],
)
def test_late_pictures_are_what_people_see(
    late_share: float, output_fps: float | None, source_moves: bool, late: bool
) -> None:
    assert late is comes_late(late_share=late_share, output_fps=output_fps, frame_rate=16, source_moves=source_moves)


def test_some_seconds_of_late_pictures_make_it_too_slow_and_some_more_without_end_that() -> None:
    said = verdicts([0.3] * 6 + [0.0] * 14)
    assert said.index(True) == ENTER_S
    assert said.index(False, 4) == 5 + LEAVE_S
    assert changes(said) == 2


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        # Below and above the bound in turn: never long enough.
        ([0.09, 0.11], 0),
        ([0.11, 0.11, 0.09], 0),
        # Long enough once, and then never long enough without.
        ([0.11, 0.11, 0.11, 0.11, 0.09], 1),
        ([0.3] * 5 + [0.0] * 8, 1),
    ],
)
def test_reports_round_the_bound_change_what_is_told_at_most_once(run: list[float], expected: int) -> None:
    assert changes(verdicts(run * 30)) == expected


@given(st.lists(st.sampled_from([0.0, 0.09, 0.11, 0.5]), max_size=120))
def test_what_is_told_stands_for_some_time(shares: list[float]) -> None:
    said = verdicts(shares)
    entered = [number for number, (before, after) in enumerate(pairwise([False, *said])) if after and not before]
    left = [number for number, (before, after) in enumerate(pairwise([False, *said])) if before and not after]
    for number in entered:
        assert min(shares[number - int(ENTER_S) : number + 1]) > LATE_SHARE
    for number in left:
        assert max(shares[number - int(LEAVE_S) + 1 : number + 1]) <= LATE_SHARE
    assert all(end - begin >= LEAVE_S for begin, end in zip(entered, left, strict=False))


def test_the_worst_of_the_last_seconds_is_told() -> None:
    slowness = Slowness()
    for now_s, share in enumerate([0.9, 0.2, 0.3, 0.2]):
        slowness.reported(now_s, late=True, late_share=share)
    assert slowness.late_share(3.0) == 0.9
    assert slowness.late_share(LEAVE_S) == 0.3
    assert slowness.late_share(3.0 + LEAVE_S) is None, "nothing was reported since"


def test_another_worker_begins_anew() -> None:
    slowness = Slowness()
    for now_s in range(5):
        slowness.reported(now_s, late=True, late_share=0.3)
    slowness.restart()
    slowness.reported(5.0, late=True, late_share=0.3)
    assert slowness.late_share(5.0) is None
