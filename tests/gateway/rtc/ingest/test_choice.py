"""One SSRC of several is the picture, and stays it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.rtc.ingest.choice import MAX_CANDIDATES, SETTLE_S, SILENT_S, SUCCEED_S, SourceChoice

HIGH, LOW, NEW = 1, 2, 3


@pytest.fixture
def choice() -> SourceChoice:
    """Both layers are heard, and the low one's key frame was first."""
    made = SourceChoice()
    assert made.hear(HIGH, 0.0)
    assert made.hear(LOW, 0.0)
    assert made.key_frame(LOW, 100, 0.0)
    return made


def test_a_larger_layer_wins_within_the_time_to_settle(choice: SourceChoice) -> None:
    assert choice.hear(HIGH, SETTLE_S * 0.9)
    assert choice.key_frame(HIGH, 400, SETTLE_S * 0.9)
    assert choice.chosen == HIGH
    assert not choice.key_frame(LOW, 100, SETTLE_S * 0.95)


def test_after_that_nobody_does(choice: SourceChoice) -> None:
    choice.hear(LOW, SETTLE_S)
    assert not choice.hear(HIGH, SETTLE_S)
    assert choice.candidates == {LOW}


def test_a_layer_of_the_same_size_changes_nothing(choice: SourceChoice) -> None:
    assert not choice.key_frame(HIGH, 100, 0.1)
    assert choice.chosen == LOW


def test_a_silent_one_is_given_up_for_one_that_is_heard(choice: SourceChoice) -> None:
    choice.hear(LOW, 5.0)
    assert not choice.hear(HIGH, 5.0 + SILENT_S * 0.9)
    assert choice.hear(HIGH, 5.0 + SILENT_S)
    assert choice.chosen is None
    assert choice.key_frame(HIGH, 400, 7.0)


def test_a_pause_of_the_only_one_costs_nothing(choice: SourceChoice) -> None:
    choice.hear(LOW, 5.0)
    assert choice.hear(LOW, 50.0)
    assert choice.chosen == LOW


def test_a_stream_that_begins_after_the_last_packet_succeeds_soon(choice: SourceChoice) -> None:
    choice.hear(LOW, 5.0)
    assert choice.hear(NEW, 5.03)
    assert not choice.key_frame(NEW, 400, 5.03)
    assert not choice.succeed(NEW, 400, 5.0 + SUCCEED_S * 0.9)
    assert choice.succeed(NEW, 400, 5.0 + SUCCEED_S)
    assert choice.chosen == NEW


def test_a_layer_that_begins_later_does_not(choice: SourceChoice) -> None:
    choice.hear(LOW, 5.0)
    assert choice.hear(NEW, 5.03)
    choice.hear(LOW, 5.06)
    assert not choice.hear(NEW, 5.09)
    assert choice.candidates == {LOW}


def test_a_layer_that_was_there_does_not_succeed_while_the_choice_settles(choice: SourceChoice) -> None:
    choice.hear(LOW, 0.1)
    assert choice.hear(HIGH, 0.9)
    assert not choice.succeed(HIGH, 100, 0.9)
    assert choice.chosen == LOW


def test_one_that_says_goodbye_makes_room_at_once(choice: SourceChoice) -> None:
    choice.hear(LOW, 5.0)
    choice.leave(LOW)
    assert choice.hear(HIGH, 5.0)


def test_what_came_before_the_stream_does_not_keep_it_out() -> None:
    choice = SourceChoice()
    for ssrc in range(MAX_CANDIDATES):
        assert choice.hear(100 + ssrc, 0.0)
    assert not choice.hear(HIGH, 0.5)
    assert choice.hear(HIGH, SILENT_S)
    assert choice.candidates == {HIGH}


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 2), st.booleans(), st.integers(0, 3)), max_size=80))
def test_only_what_is_looked_at_is_chosen_and_never_more_than_a_few(
    steps: list[tuple[int, float, bool, int]],
) -> None:
    choice, now_s = SourceChoice(), 0.0
    for ssrc, elapsed_s, is_key, pixels in steps:
        now_s += elapsed_s
        if choice.hear(ssrc, now_s) and is_key:
            choice.key_frame(ssrc, pixels, now_s)
            if ssrc != choice.chosen:
                choice.succeed(ssrc, pixels, now_s)
        assert len(choice.candidates) <= MAX_CANDIDATES
        assert choice.chosen is None or choice.chosen in choice.candidates
