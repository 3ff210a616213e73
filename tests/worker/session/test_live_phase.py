"""When a worker tells that a session is live, and when it is only assigned."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.spec.session import Phase
from genlock_worker.session.live_phase import ABSENT_S, FRUITLESS_S, LivePhase


def test_a_session_is_live_from_its_first_picture_on_until_its_source_has_gone() -> None:
    phase = LivePhase(0.0)
    assert phase.look(present=False, frames_sent=0, now_s=1.0) is None
    assert phase.look(present=True, frames_sent=0, now_s=1.5) is None
    assert phase.look(present=True, frames_sent=1, now_s=1.9) is Phase.LIVE
    assert phase.look(present=True, frames_sent=1, now_s=500.0) is Phase.LIVE, "it stands still, or is paused"
    assert phase.look(present=False, frames_sent=9, now_s=501.0) is None
    assert phase.look(present=False, frames_sent=9, now_s=501.0 + ABSENT_S) is Phase.ASSIGNED


def test_the_pictures_of_one_publication_do_not_make_the_next_one_live() -> None:
    phase = LivePhase(0.0)
    assert phase.look(present=True, frames_sent=5, now_s=1.0) is Phase.LIVE
    assert phase.look(present=False, frames_sent=7, now_s=2.0) is None
    assert phase.look(present=True, frames_sent=7, now_s=3.0) is None
    assert phase.look(present=True, frames_sent=7, now_s=3.0 + FRUITLESS_S) is Phase.ASSIGNED
    assert phase.look(present=True, frames_sent=8, now_s=4.0 + FRUITLESS_S) is Phase.LIVE


def test_a_session_that_moves_while_nobody_publishes_is_assigned() -> None:
    phase = LivePhase(10.0)
    assert phase.look(present=False, frames_sent=0, now_s=11.0) is None
    assert phase.look(present=False, frames_sent=0, now_s=10.0 + ABSENT_S) is Phase.ASSIGNED


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.floats(0, 20)), max_size=30))
def test_without_a_source_nothing_is_ever_live(steps: list[tuple[bool, int, float]]) -> None:
    phase, now_s, frames = LivePhase(0.0), 0.0, 0
    for present, sent, passed_s in steps:
        now_s += passed_s
        frames += sent
        told = phase.look(present=present, frames_sent=frames, now_s=now_s)
        assert told is not Phase.LIVE or present
        assert told is not Phase.PENDING
