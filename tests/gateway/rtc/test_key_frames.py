"""When a key frame is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_gateway.rtc.key_frames import MIN_INTERVAL_S, RETRY_S, KeyFrameRequests


def test_many_wishes_make_one_request_until_it_is_time_to_repeat_it() -> None:
    clock = ManualClock()
    requests = KeyFrameRequests(clock)
    assert requests.due_in_s() is None
    requests.want()
    requests.want()
    assert requests.due_in_s() == 0
    requests.asked()
    requests.want()
    assert requests.due_in_s() == pytest.approx(RETRY_S)
    clock.advance(RETRY_S)
    assert requests.due_in_s() == 0


def test_a_wish_right_after_a_key_frame_waits_but_is_not_forgotten() -> None:
    clock = ManualClock()
    requests = KeyFrameRequests(clock)
    requests.want()
    requests.asked()
    requests.arrived()
    assert requests.due_in_s() is None
    requests.want()
    assert requests.due_in_s() == pytest.approx(MIN_INTERVAL_S)
    clock.advance(MIN_INTERVAL_S * 1.001)
    assert requests.due_in_s() == 0


@given(st.lists(st.tuples(st.sampled_from(["want", "arrived", "wait"]), st.floats(0.001, 0.3)), max_size=60))
def test_requests_are_spaced_and_every_wish_is_granted(steps: list[tuple[str, float]]) -> None:
    clock = ManualClock()
    requests = KeyFrameRequests(clock)
    last_event: float | None = None
    wanted = False
    for name, seconds in steps:
        if name == "want":
            requests.want()
            wanted = True
        elif name == "arrived":
            requests.arrived()
            wanted, last_event = False, clock.monotonic()
        else:
            clock.advance(seconds)
        assert (requests.due_in_s() is not None) is wanted
        if requests.due_in_s() == 0:
            assert last_event is None or clock.monotonic() - last_event >= MIN_INTERVAL_S - 1e-6
            requests.asked()
            last_event = clock.monotonic()
