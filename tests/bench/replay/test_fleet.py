"""Claims, workers that leave, and what is measured."""

import pytest

from bench.replay.fleet import Fleet, FleetWorker
from bench.replay.ladders import SIX


def fleet_of(*counts: int, place: int = 0) -> Fleet:
    """A worker with so many sessions for each number."""
    fleet = Fleet(SIX)
    name = 0
    for count in counts:
        worker = ready_worker(fleet)
        for _ in range(count):
            fleet.seat(name, 0, worker, place)
            name += 1
    return fleet


def ready_worker(fleet: Fleet) -> FleetWorker:
    worker = fleet.start()
    fleet.is_ready(worker)
    return worker


def test_a_claim_takes_the_fullest_worker_with_room_and_the_oldest_among_equals() -> None:
    fleet = fleet_of(1, 3, 4, 3)
    assert fleet.fullest(250) is fleet.ready[1]
    assert fleet.fullest(500) is fleet.ready[0]
    assert fleet.fullest(751) is None


def test_a_worker_that_starts_takes_no_session() -> None:
    fleet = Fleet(SIX)
    worker = fleet.start()
    assert fleet.fullest(250) is None
    fleet.is_ready(worker)
    assert fleet.fullest(250) is worker


def test_nothing_is_served_twice_and_nothing_beyond_what_a_worker_has() -> None:
    fleet = fleet_of(4)
    other = ready_worker(fleet)
    with pytest.raises(ValueError, match="session 0 is served already"):
        fleet.seat(0, 0, other, 0)
    with pytest.raises(ValueError, match="has 0 thousandths free, not 166"):
        fleet.seat(9, 0, fleet.ready[0], 3)


def test_who_starts_goes_first_then_the_emptiest_whose_sessions_move_to_the_fullest() -> None:
    fleet = fleet_of(3, 2, 1)
    fleet.start()
    first, second, emptiest = fleet.ready
    fleet.shrink_to(2)
    assert (fleet.ready, len(fleet.starting), emptiest.gone) == ([first, second], 0, True)
    assert (first.load, second.load, fleet.meter.moves) == (1_000, 500, 1)


def test_a_worker_stays_whose_sessions_find_no_room() -> None:
    fleet = fleet_of(4, 4, 1)
    fleet.shrink_to(1)
    assert [len(worker.sessions) for worker in fleet.ready] == [4, 4, 1]
    assert fleet.meter.moves == 0


def test_time_is_counted_by_level_and_by_what_a_prompt_needs() -> None:
    fleet = Fleet(SIX)
    worker = ready_worker(fleet)
    fleet.seat(1, 1, worker, 0)

    fleet.advance(10)
    fleet.change(fleet.sessions[1], 1)  # what its prompt needs
    fleet.advance(30)
    fleet.change(fleet.sessions[1], 2)
    fleet.advance(70)
    assert fleet.leave(1) is worker

    meter = fleet.meter
    assert (meter.session_s, meter.degraded_s, meter.harmed_s, meter.worker_s) == (70, 60, 40, 70)
    assert meter.quality_s == pytest.approx(10 * 1.0 + 20 * 0.9705 + 40 * (0.9581 - 0.02))
    assert (meter.level_changes, worker.load) == (2, 0)


def test_excess_is_what_workers_would_not_hold_without_levels() -> None:
    fleet = fleet_of(6, place=3)
    fleet.advance(5)
    assert fleet.meter.excess_s == 10
