"""How soon a session may be moved by silence again."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.sessions.upstream.backoff import FIRST_HOLD_S, FORGIVEN_AFTER_S, LONGEST_HOLD_S, MoveBackoff


def holds_s(backoff: MoveBackoff) -> float:
    """For how long it holds, to a tenth of a second."""
    tenths = 0
    while backoff.holds(backoff.moved_s + tenths / 10):
        tenths += 1
    return tenths / 10


def moved(*at_s: float) -> MoveBackoff:
    backoff = MoveBackoff()
    for moment_s in at_s:
        backoff = backoff.moved(moment_s)
    return backoff


def test_the_first_move_waits_for_nothing() -> None:
    assert not MoveBackoff().holds(0.0)


def test_each_move_makes_the_next_one_wait_twice_as_long() -> None:
    assert [holds_s(moved(*range(count))) for count in range(1, 7)] == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]


def test_a_time_without_moves_is_forgiven_step_by_step() -> None:
    often = [0.0, 1.0, 2.0]
    assert holds_s(moved(*often, 2.0 + 1 * FORGIVEN_AFTER_S)) == 8.0
    assert holds_s(moved(*often, 2.0 + 2 * FORGIVEN_AFTER_S)) == 4.0
    assert holds_s(moved(*often, 2.0 + 9 * FORGIVEN_AFTER_S)) == FIRST_HOLD_S


@given(st.lists(st.floats(0.0, 2 * FORGIVEN_AFTER_S), max_size=40))
def test_no_minute_sees_more_than_six_moves(waits_s: list[float]) -> None:
    """Each wait begins where the hold ends: whatever the workers do, no move comes sooner."""
    backoff, now_s, moves = MoveBackoff(), 0.0, []
    for wait_s in waits_s:
        now_s += (holds_s(backoff) if backoff.level else 0.0) + wait_s
        assert not backoff.holds(now_s)
        backoff = backoff.moved(now_s)
        moves.append(now_s)
        assert holds_s(backoff) <= LONGEST_HOLD_S
    for first, last in zip(moves, moves[6:], strict=False):
        assert last - first >= 60.0
