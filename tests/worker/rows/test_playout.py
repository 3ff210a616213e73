"""How far behind its source a stream plays, and until when its viewers have something to look at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.output.pacing import MIN_SPACING, Pacer
from genlock_worker.rows.playout import COMFORT, Playout, PlayoutOffset

DEADLINE_S = 0.5
CHUNK_S = 0.25


def test_nothing_was_shown_before_the_first_chunk() -> None:
    assert Playout(deadline_s=DEADLINE_S).until_s is None


def test_a_chunk_that_took_its_time_leaves_a_buffer_for_those_after_it() -> None:
    playout = Playout(deadline_s=DEADLINE_S)
    playout.shown(1.3, complete_s=1.0, length_s=CHUNK_S)
    assert playout.until_s == pytest.approx(1.55)
    playout.shown(1.35, complete_s=1.25, length_s=CHUNK_S)
    assert playout.until_s == pytest.approx(1.25 + 0.3 + CHUNK_S, abs=0.01), "0.2 s sooner than it is needed"


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60))
def test_viewers_always_have_the_chunk_that_came_last(needed: list[float]) -> None:
    playout, offset = Playout(deadline_s=DEADLINE_S), PlayoutOffset(deadline_s=DEADLINE_S)
    now_s = 0.0
    for number, needed_s in enumerate(needed):
        complete_s = number * CHUNK_S
        now_s = max(now_s, complete_s + needed_s)
        playout.shown(now_s, complete_s=complete_s, length_s=CHUNK_S)
        offset.took(now_s, needed_s=now_s - complete_s)
        assert offset.seconds >= now_s - complete_s
        assert playout.until_s is not None
        assert playout.until_s >= now_s + CHUNK_S


@given(st.lists(st.floats(0.05, COMFORT * DEADLINE_S), min_size=3, max_size=20), st.floats(0.0, 60.0))
def test_a_chunk_that_is_there_when_it_is_wanted_is_shown_then(needed: list[float], rest_s: float) -> None:
    """As the output paces: also after a rest of the source, and with a chunk before it that is not there yet."""
    playout, pacer = Playout(deadline_s=DEADLINE_S), Pacer(frame_rate=16, deadline_s=DEADLINE_S)
    complete_s = 0.0
    for needed_s in needed:
        complete_s += CHUNK_S
        playout.shown(complete_s + needed_s, complete_s=complete_s, length_s=CHUNK_S)
        pacer.schedule(complete_s=complete_s, ready_s=complete_s + needed_s, spans=(1, 1, 1, 1))

    before_s, complete_s = complete_s + CHUNK_S + rest_s, complete_s + 2 * CHUNK_S + rest_s
    wanted_s = playout.begins_s(complete_s, after=[(before_s, CHUNK_S)])
    assert wanted_s is not None
    first_s = playout.begins_s(before_s, after=())
    assert first_s is not None
    pacer.schedule(complete_s=before_s, ready_s=first_s, spans=(1, 1, 1, 1))
    (frame,) = pacer.schedule(complete_s=complete_s, ready_s=wanted_s, spans=(1,))
    assert frame.send_s == pytest.approx(wanted_s, abs=(1 - MIN_SPACING) / 16)


@given(st.lists(st.floats(0.05, COMFORT * DEADLINE_S), min_size=1, max_size=60))
def test_it_is_when_the_paced_pictures_end(needed: list[float]) -> None:
    """What the scheduler takes for the end of a chunk is where the output ends it."""
    playout, pacer = Playout(deadline_s=DEADLINE_S), Pacer(frame_rate=16, deadline_s=DEADLINE_S)
    period_s = 1 / 16
    for number, needed_s in enumerate(needed):
        complete_s = number * CHUNK_S
        ready_s = complete_s + needed_s
        playout.shown(ready_s, complete_s=complete_s, length_s=CHUNK_S)
        frames = pacer.schedule(complete_s=complete_s, ready_s=ready_s, spans=(1, 1, 1, 1))
        assert playout.until_s is not None
        assert playout.until_s == pytest.approx(frames[-1].send_s + period_s, abs=(1 - MIN_SPACING) * period_s)
