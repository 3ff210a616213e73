"""What is normal for a worker, and how long it may be silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.pulse import EnginePhase
from genlock_core.claims.silence import (
    FIRST_PATIENCE_S,
    GAPS_REMEMBERED,
    LONGEST_PATIENCE_S,
    MARGIN,
    SHORTEST_PATIENCE_S,
    Rhythm,
)

phases = st.sampled_from(EnginePhase)
gaps = st.floats(0.0, 60.0)


def told(*gaps_s: float, phase: EnginePhase = EnginePhase.STEPPING) -> Rhythm:
    rhythm = Rhythm()
    for gap_s in gaps_s:
        rhythm.progressed(phase, gap_s)
    return rhythm


@pytest.mark.parametrize("phase", EnginePhase)
def test_of_a_worker_that_nobody_has_heard_yet_the_first_patience_holds(phase: EnginePhase) -> None:
    assert Rhythm().patience_s(phase) == FIRST_PATIENCE_S[phase]
    assert Rhythm().alive_patience_s == SHORTEST_PATIENCE_S


def test_a_worker_on_a_quiet_machine_is_waited_for_no_longer_than_it_was_before_anybody_learned() -> None:
    assert told(*[0.25, 0.3, 0.5] * 500).patience_s(EnginePhase.STEPPING) == SHORTEST_PATIENCE_S


def test_one_long_gap_while_it_steps_is_a_fault_and_two_are_a_habit() -> None:
    assert told(0.25, 4.0, 0.25).patience_s(EnginePhase.STEPPING) == SHORTEST_PATIENCE_S
    assert told(0.25, 4.0, 0.25, 2.0).patience_s(EnginePhase.STEPPING) == MARGIN * 2.0


def test_who_decides_on_its_own_leases_trusts_one_gap() -> None:
    rhythm = Rhythm(habit=1)
    rhythm.progressed(EnginePhase.STEPPING, 4.0)
    rhythm.was_alive(2.0)
    assert rhythm.patience_s(EnginePhase.STEPPING) == MARGIN * 4.0
    assert rhythm.alive_patience_s == MARGIN * 2.0


def test_one_long_restoration_is_how_long_it_takes_there_and_nowhere_else() -> None:
    rhythm = told(4.0, phase=EnginePhase.RESTORING)
    assert rhythm.patience_s(EnginePhase.RESTORING) == MARGIN * 4.0
    assert rhythm.patience_s(EnginePhase.STEPPING) == SHORTEST_PATIENCE_S
    assert rhythm.patience_s(EnginePhase.OPENING) == FIRST_PATIENCE_S[EnginePhase.OPENING]


def test_a_worker_that_is_quick_again_is_taken_at_its_new_word() -> None:
    slow = told(2.0, 2.0)
    for _ in range(GAPS_REMEMBERED - 2):
        slow.progressed(EnginePhase.STEPPING, 0.25)
    assert slow.patience_s(EnginePhase.STEPPING) == MARGIN * 2.0
    for _ in range(GAPS_REMEMBERED + 1):
        slow.progressed(EnginePhase.STEPPING, 0.25)
    assert slow.patience_s(EnginePhase.STEPPING) == SHORTEST_PATIENCE_S


def test_a_process_that_stands_still_now_and_then_is_known_for_it() -> None:
    rhythm = Rhythm()
    rhythm.was_alive(1.6)
    assert rhythm.alive_patience_s == SHORTEST_PATIENCE_S
    rhythm.was_alive(1.6)
    assert rhythm.alive_patience_s == MARGIN * 1.6
    assert rhythm.patience_s(EnginePhase.STEPPING) == SHORTEST_PATIENCE_S


@given(st.lists(st.tuples(phases, gaps)))
def test_patience_stays_within_its_bounds_whatever_was_seen(seen: list[tuple[EnginePhase, float]]) -> None:
    rhythm = Rhythm()
    for phase, gap_s in seen:
        rhythm.progressed(phase, gap_s)
        rhythm.was_alive(gap_s)
    for phase in EnginePhase:
        assert FIRST_PATIENCE_S[phase] <= rhythm.patience_s(phase) <= LONGEST_PATIENCE_S
    assert SHORTEST_PATIENCE_S <= rhythm.alive_patience_s <= LONGEST_PATIENCE_S


@given(st.lists(st.floats(0.0, 6.0), min_size=2, max_size=GAPS_REMEMBERED), st.integers(0, 10))
def test_a_gap_no_longer_than_two_that_were_seen_lately_is_normal(seen: list[float], since: int) -> None:
    rhythm = told(*seen, *[0.0] * since)
    second_s = sorted(seen)[-2]
    assert rhythm.patience_s(EnginePhase.STEPPING) >= min(second_s, LONGEST_PATIENCE_S)
