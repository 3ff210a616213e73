"""What a worker measures of itself, by a clock that the test moves."""

import asyncio
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.claims.pulse import EnginePhase, Pulse
from genlock_core.clock import ManualClock
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.tasks import end_tasks
from genlock_worker.ownership.overload import ENTER_S, LEAVE_S
from genlock_worker.ownership.vital_signs import LATE_REMEMBERED_S, LOOK_EVERY_S, VitalSigns


@dataclass
class Engine:
    progress: int = 0
    phase: EnginePhase = EnginePhase.STEPPING
    exhausted: bool = False


class Room:
    """A worker whose engine and event loop do as the test says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.engine = Engine()
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.signs = VitalSigns(self.engine, clock=self.clock, metrics=self.metrics)

    def run(self, seconds: float, *, progress: int = 1) -> None:
        """The event loop comes round in time; the engine moves on by `progress` with each turn."""
        for _ in range(round(seconds / LOOK_EVERY_S)):
            self.clock.advance(LOOK_EVERY_S)
            self.engine.progress += progress
            self.signs.look()

    def stand_still(self, seconds: float) -> None:
        """The process does not get the processor."""
        self.clock.advance(seconds)
        self.engine.progress += 1
        self.signs.look()


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_worker_that_is_well_is_not_late_and_says_how_far_it_is(room: Room) -> None:
    room.run(30.0)
    assert room.signs.late_s < 2 * LOOK_EVERY_S
    assert room.signs.pulse == Pulse(300, 300, EnginePhase.STEPPING)
    assert room.signs.vitals.patient


def test_a_process_that_did_not_run_says_afterwards_how_late_it_was_and_forgets_it(room: Room) -> None:
    room.run(5.0)
    room.stand_still(1.6)
    room.run(LATE_REMEMBERED_S)
    assert room.signs.vitals.late_ms == 1600
    assert room.metrics.registry.get_sample_value("genlock_worker_late_seconds") == pytest.approx(1.6)
    room.run(2 * LATE_REMEMBERED_S)
    assert room.signs.vitals.late_ms < 300


def test_an_engine_that_hangs_leaves_the_process_alive_and_late_and_its_leases_run_out(room: Room) -> None:
    room.run(5.0)
    alive = room.signs.pulse.alive or 0
    patient = []
    for seconds in (0.9, 0.2):
        room.run(seconds, progress=0)
        patient.append(room.signs.vitals.patient)
    assert patient == [True, False]
    assert room.signs.pulse == Pulse(50, alive + 11, EnginePhase.STEPPING)
    assert room.signs.vitals.late_ms == 1100


def test_an_engine_that_restores_keeps_the_leases_for_as_long_as_it_took_before(room: Room) -> None:
    for _ in range(2):
        room.run(1.0)
        room.engine.phase = EnginePhase.RESTORING
        room.run(1.9, progress=0)
        assert room.signs.vitals.patient
        room.run(2.0, progress=0)
        room.engine.phase = EnginePhase.STEPPING
    room.run(1.0)
    room.engine.phase = EnginePhase.RESTORING
    room.run(5.0, progress=0)
    assert room.signs.vitals.patient, "it took 3.9 s twice"
    assert room.signs.vitals.phase == "restoring"


async def test_the_time_that_a_worker_takes_to_start_is_no_lateness(room: Room) -> None:
    room.clock.advance(5.0)
    looking = asyncio.create_task(room.signs.run())
    await asyncio.sleep(2 * LOOK_EVERY_S)
    assert (room.signs.pulse.alive or 0) >= 1
    assert room.signs.late_s < LOOK_EVERY_S
    await end_tasks([looking])


def test_a_worker_whose_sessions_can_give_way_no_further_says_so_after_some_seconds(room: Room) -> None:
    said = []
    for exhausted, seconds in ((False, 5.0), (True, ENTER_S - 1.0), (True, 2.0), (False, LEAVE_S + 1.0)):
        room.engine.exhausted = exhausted
        room.run(seconds)
        said.append(room.signs.vitals.overloaded)
        assert room.metrics.registry.get_sample_value("genlock_worker_overloaded") == said[-1]
    assert said == [False, False, True, False]
