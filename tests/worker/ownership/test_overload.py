"""A worker says that it can do no more after some seconds of it, and no sooner takes it back than it is well again."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.ownership.overload import ENTER_S, LEAVE_S, Overload

LOOK_S = 0.1


def look_for(overload: Overload, now_s: float, seconds: float, *, exhausted: bool) -> float:
    """Returns when the last look was."""
    for _ in range(round(seconds / LOOK_S)):
        now_s += LOOK_S
        overload.look(now_s, exhausted=exhausted)
    return now_s


def test_some_seconds_at_the_lowest_make_an_overload_and_an_accident_does_not() -> None:
    overload = Overload()
    now_s = look_for(overload, 0.0, ENTER_S - 0.5, exhausted=True)
    assert not overload.is_overloaded
    now_s = look_for(overload, now_s, 0.1, exhausted=False)
    now_s = look_for(overload, now_s, ENTER_S - 0.5, exhausted=True)
    assert not overload.is_overloaded, "without a break"
    look_for(overload, now_s, 1.0, exhausted=True)
    assert overload.is_overloaded


def test_it_is_over_after_some_seconds_that_were_all_well() -> None:
    overload = Overload()
    now_s = look_for(overload, 0.0, ENTER_S + 0.5, exhausted=True)
    now_s = look_for(overload, now_s, LEAVE_S - 0.5, exhausted=False)
    assert overload.is_overloaded
    now_s = look_for(overload, now_s, 0.1, exhausted=True)
    now_s = look_for(overload, now_s, LEAVE_S - 0.5, exhausted=False)
    assert overload.is_overloaded
    look_for(overload, now_s, 1.0, exhausted=False)
    assert not overload.is_overloaded


@given(st.lists(st.tuples(st.floats(0.01, 2.0), st.booleans()), max_size=200))
def test_whatever_happens_it_does_not_tremble(looks: list[tuple[float, bool]]) -> None:
    overload, now_s, changed_s, before = Overload(), 0.0, 0.0, False
    for wait_s, exhausted in looks:
        now_s += wait_s
        overload.look(now_s, exhausted=exhausted)
        if overload.is_overloaded != before:
            assert now_s - changed_s >= (LEAVE_S if before else ENTER_S)
            assert exhausted == overload.is_overloaded
            before, changed_s = overload.is_overloaded, now_s
