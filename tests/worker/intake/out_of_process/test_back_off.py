"""A session's first lost decoder is replaced at once, the next ones later and later; a quiet minute is forgiven."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_worker.intake.out_of_process.back_off import FORGIVEN_AFTER_S, MAX_WAIT_S, BackOff


def test_the_first_loss_costs_no_wait_and_the_next_ones_cost_more_and_more() -> None:
    clock = ManualClock()
    backs_off = BackOff(clock)
    waits = []
    for _ in range(9):
        waits.append(backs_off.lost())
        clock.advance(waits[-1])
        assert backs_off.is_over
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_nothing_is_over_before_its_time() -> None:
    clock = ManualClock()
    backs_off = BackOff(clock)
    assert backs_off.is_over
    backs_off.lost()
    backs_off.lost()
    clock.advance(0.99)
    assert not backs_off.is_over


def test_who_has_lost_none_for_a_minute_begins_anew() -> None:
    clock = ManualClock()
    backs_off = BackOff(clock)
    for _ in range(5):
        waited_s = backs_off.lost()
        clock.advance(waited_s)
    clock.advance(FORGIVEN_AFTER_S)
    assert backs_off.lost() == 0.0


@given(st.lists(st.floats(0.0, 90.0), max_size=60))
def test_whoever_breaks_each_decoder_gets_few_of_them(pauses: list[float]) -> None:
    """Whatever the moments at which key frames come."""
    clock = ManualClock()
    backs_off = BackOff(clock)
    began_s = clock.monotonic()
    taken = 0
    for pause_s in pauses:
        clock.advance(pause_s)
        if backs_off.is_over:
            taken += 1
            assert 0.0 <= backs_off.lost() <= MAX_WAIT_S
    # A free one a minute, one for each half minute, and those of the first minute.
    assert taken <= 8 + (clock.monotonic() - began_s) / MAX_WAIT_S * 2
