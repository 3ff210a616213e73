"""A budget of misses is judged over two windows: one reading breaks nothing, and a budget does not tremble."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.slo.burn import (
    HOLDS_BELOW,
    LONG_S,
    SHORT_S,
    MissShares,
    MissWindows,
    burn_rate,
    is_broken,
)

FPS = 16
BUDGET = 0.01


class Stream:
    """A stream of 16 fps that is reported once a second, and judged each time."""

    def __init__(self) -> None:
        self.windows = MissWindows()
        self.now_s = 1_000.0
        self.frames = 0
        self.misses = 0
        self.broken = False
        self.verdicts: list[bool] = []
        self.windows.counted(self.now_s, frames=0, misses=0)

    def run(self, seconds: int, *, late_share: float) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.frames += FPS
            self.misses = min(self.frames, self.misses + round(FPS * late_share))
            self.windows.counted(self.now_s, frames=self.frames, misses=self.misses)
            shares = self.windows.shares(self.now_s)
            if shares is not None:
                self.broken = is_broken(shares, budget=BUDGET, before=self.broken)
                self.verdicts.append(self.broken)


def test_a_burn_rate_is_the_share_over_the_budget() -> None:
    assert burn_rate(0.02, 0.01) == 2
    assert (burn_rate(0.0, 0.0), burn_rate(0.1, 0.0)) == (0.0, float("inf"))


def test_nothing_is_said_before_the_short_window_was_seen() -> None:
    stream = Stream()
    stream.run(int(SHORT_S) - 1, late_share=1.0)
    assert stream.verdicts == []
    stream.run(1, late_share=1.0)
    assert stream.verdicts == [True]


def test_one_late_second_in_six_minutes_breaks_no_budget() -> None:
    stream = Stream()
    stream.run(300, late_share=0.0)
    stream.run(1, late_share=1.0)
    stream.run(120, late_share=0.0)
    assert not any(stream.verdicts)


def test_a_budget_is_broken_soon_where_it_burns_fast() -> None:
    stream = Stream()
    stream.run(360, late_share=0.0)
    stream.verdicts.clear()
    stream.run(30, late_share=0.5)
    assert stream.verdicts.index(True) < 15


def test_a_broken_budget_holds_again_only_when_both_windows_have_forgotten() -> None:
    stream = Stream()
    stream.run(60, late_share=0.5)
    assert stream.broken
    stream.run(int(SHORT_S) + 5, late_share=0.0)
    assert stream.broken, "the long window remembers"
    stream.run(int(LONG_S) + 5, late_share=0.0)
    assert not stream.broken


def test_spells_of_late_frames_do_not_make_the_verdict_tremble() -> None:
    """The newest half minute is over the budget and under it by turns: the verdict changes once."""
    stream = Stream()
    for _ in range(12):
        stream.run(40, late_share=0.0)
        stream.run(20, late_share=0.13)
    changes = sum(before != after for before, after in pairwise(stream.verdicts))
    assert changes == 1


def test_nothing_is_said_of_a_stream_that_stands_still() -> None:
    stream = Stream()
    stream.run(60, late_share=0.0)
    assert stream.windows.shares(stream.now_s + SHORT_S + 5) is None


@pytest.mark.parametrize("reports", [True, False])
def test_a_stream_that_goes_on_after_a_rest_is_judged_no_sooner_than_a_new_one(*, reports: bool) -> None:
    """Its first chunk is late, and there is nothing else in either window."""
    stream = Stream()
    stream.run(60, late_share=0.0)
    for _ in range(600):
        stream.now_s += 1
        if reports:
            stream.windows.counted(stream.now_s, frames=stream.frames, misses=stream.misses)
    stream.verdicts.clear()

    stream.run(1, late_share=1.0)
    stream.run(26, late_share=0.0)
    assert stream.verdicts == []
    stream.run(400, late_share=0.0)
    assert not stream.verdicts[-1]


def test_counters_of_another_process_are_no_misses() -> None:
    """A worker that has served for an hour is heard for the first time, and one begins anew at nothing."""
    windows = MissWindows()
    windows.counted(0.0, frames=50_000, misses=40_000)
    windows.counted(16.0, frames=50_050, misses=40_000)
    windows.counted(31.0, frames=50_100, misses=40_000)
    assert windows.shares(31.0) == MissShares(0.0, 0.0)

    windows.counted(32.0, frames=10, misses=10)
    shares = windows.shares(32.0)
    assert shares is not None
    assert shares.short == pytest.approx(10 / 110)

    windows.pause()
    windows.counted(33.0, frames=90_000, misses=90_000)
    assert windows.shares(33.0) == shares


readings = st.lists(
    st.tuples(st.floats(0, 60), st.integers(0, 10_000), st.integers(0, 10_000), st.booleans()), max_size=40
)


@given(readings)
def test_shares_are_shares_whatever_is_counted(told: list[tuple[float, int, int, bool]]) -> None:
    windows = MissWindows()
    now_s = 0.0
    for elapsed_s, frames, misses, paused in told:
        now_s += elapsed_s
        if paused:
            windows.pause()
        windows.counted(now_s, frames=frames, misses=misses)
        shares = windows.shares(now_s)
        assert shares is None or (0 <= shares.short <= 1 and 0 <= shares.long <= 1)


shares_of_time = st.floats(0, 1)


@given(shares_of_time, shares_of_time, st.floats(0.001, 1))
def test_between_the_bounds_what_was_said_before_stands(short: float, long: float, budget: float) -> None:
    shares = MissShares(short, long)
    rates = (short / budget, long / budget)
    verdicts = {before: is_broken(shares, budget=budget, before=before) for before in (False, True)}
    if min(rates) > 1:
        assert set(verdicts.values()) == {True}
    elif max(rates) < HOLDS_BELOW:
        assert set(verdicts.values()) == {False}
    else:
        assert verdicts == {False: False, True: True}
