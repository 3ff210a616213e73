"""On a machine that is too slow pictures are plainer; what they are painted from stays the same to the bit."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import EngineState
from genlock_worker.engines.mock import EffortPolicy, MockEngine, StepTiming
from genlock_worker.engines.mock.effort import CALM_S, OVERRUN, PLAIN_SHARE, TOO_MANY, WATCHED, PaintEffort
from tests.worker.engines.driven import Driven
from tests.worker.engines.mock.streams import difference, play, settings

AVAILABLE_S = 0.1
SLOW_S = AVAILABLE_S
QUICK_S = AVAILABLE_S * OVERRUN * PLAIN_SHARE * 0.9
"""So quick that full work would fit too."""


def effort_of(policy: EffortPolicy) -> PaintEffort:
    return policy.effort


def strained_policy() -> EffortPolicy:
    policy = EffortPolicy()
    for number in range(TOO_MANY):
        policy.painted(now_s=number, painted_s=SLOW_S, available_s=AVAILABLE_S)
    assert effort_of(policy) is PaintEffort.PLAIN
    return policy


def test_one_slow_picture_is_an_accident() -> None:
    policy = EffortPolicy()
    for number in range(100):
        slow = number % WATCHED == 0
        policy.painted(now_s=number, painted_s=SLOW_S if slow else QUICK_S, available_s=AVAILABLE_S)
        assert effort_of(policy) is PaintEffort.FULL


def test_several_are_not() -> None:
    policy = EffortPolicy()
    policy.painted(now_s=0, painted_s=SLOW_S, available_s=AVAILABLE_S)
    assert effort_of(policy) is PaintEffort.FULL
    for number in range(WATCHED - 2):
        policy.painted(now_s=1 + number, painted_s=QUICK_S, available_s=AVAILABLE_S)
    policy.painted(now_s=WATCHED, painted_s=SLOW_S, available_s=AVAILABLE_S)
    assert effort_of(policy) is PaintEffort.PLAIN


def test_it_gives_way_before_the_time_is_used_up() -> None:
    policy = EffortPolicy()
    for number in range(TOO_MANY):
        policy.painted(now_s=number, painted_s=AVAILABLE_S * OVERRUN * 1.01, available_s=AVAILABLE_S)
    assert effort_of(policy) is PaintEffort.PLAIN


def test_full_work_comes_back_once_it_would_have_fitted_long_enough() -> None:
    policy = strained_policy()
    policy.painted(now_s=100.0, painted_s=QUICK_S, available_s=AVAILABLE_S)
    policy.painted(now_s=100.0 + CALM_S - 0.1, painted_s=QUICK_S, available_s=AVAILABLE_S)
    before = effort_of(policy)
    policy.painted(now_s=100.0 + CALM_S, painted_s=QUICK_S, available_s=AVAILABLE_S)
    assert (before, effort_of(policy)) == (PaintEffort.PLAIN, PaintEffort.FULL)


def test_a_picture_that_full_work_would_have_delayed_starts_the_wait_anew() -> None:
    policy = strained_policy()
    policy.painted(now_s=100.0, painted_s=QUICK_S, available_s=AVAILABLE_S)
    # It fits plain, and would not fit in full.
    policy.painted(now_s=105.0, painted_s=AVAILABLE_S * OVERRUN * 0.9, available_s=AVAILABLE_S)
    policy.painted(now_s=100.0 + CALM_S, painted_s=QUICK_S, available_s=AVAILABLE_S)
    assert effort_of(policy) is PaintEffort.PLAIN
    policy.painted(now_s=100.0 + 2 * CALM_S, painted_s=QUICK_S, available_s=AVAILABLE_S)
    assert effort_of(policy) is PaintEffort.FULL


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), max_size=200))
def test_effort_does_not_swing_to_and_fro(batches: list[tuple[float, float]]) -> None:
    policy, now_s, back_s = EffortPolicy(), 0.0, []
    for gap_s, painted_s in batches:
        before = effort_of(policy)
        now_s += gap_s
        policy.painted(now_s=now_s, painted_s=painted_s, available_s=AVAILABLE_S)
        if (before, effort_of(policy)) == (PaintEffort.PLAIN, PaintEffort.FULL):
            back_s.append(now_s)
    assert all(later - earlier >= CALM_S for earlier, later in pairwise(back_s))


def test_an_engine_that_is_as_fast_as_it_paints_has_no_time_to_keep() -> None:
    policy = EffortPolicy()
    for number in range(TOO_MANY):
        policy.painted(now_s=number, painted_s=1.0, available_s=0.0)
    assert effort_of(policy) is PaintEffort.FULL


class SlowMachine(ManualClock):
    """Each look at the clock takes long: every batch seems to be painted for `step_s`."""

    step_s = 0.0

    def monotonic(self) -> float:
        self.advance(self.step_s)
        return super().monotonic()


def played(*, slow: bool) -> tuple[MockEngine, list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], EngineState]:
    clock = SlowMachine()
    clock.step_s = 0.2 if slow else 0.0
    timing = StepTiming(StepTime(base_s=0.1, row_s=0.0))
    bare = MockEngine("m", timing, clock, lambda _s: None, effort=EffortPolicy())
    mock = Driven(bare)
    mock.open("s", settings())
    pictures = play(mock, "s", range(4))
    return bare, pictures, mock.snapshot("s")


def test_a_strained_engine_paints_plainer_and_says_so_and_its_state_is_the_same() -> None:
    calm, full, state = played(slow=False)
    busy, plain, other = played(slow=True)
    assert not calm.strained
    assert busy.strained

    # It takes `TOO_MANY` chunks to see that the machine is slow.
    for number, (one, two) in enumerate(zip(full, plain, strict=True)):
        assert np.array_equal(one, two) == (number < TOO_MANY)
        assert two.shape == one.shape
    assert difference(full[-1], plain[-1]) < 40, "it is another picture"

    assert other.sink_digests == state.sink_digests
    assert other.attributes == state.attributes
    assert all(np.array_equal(other.head[name], array) for name, array in state.head.items())


def test_without_a_policy_every_picture_is_worked_in_full() -> None:
    clock = SlowMachine()
    clock.step_s = 0.2
    bare = MockEngine("m", StepTiming(StepTime(base_s=0.1, row_s=0.0)), clock, lambda _s: None)
    mock = Driven(bare)
    mock.open("s", settings())
    _, full, _ = played(slow=False)
    assert all(np.array_equal(one, two) for one, two in zip(play(mock, "s", range(4)), full, strict=True))
    assert not bare.strained
