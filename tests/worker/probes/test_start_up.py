"""The phases of a worker's start: each measured from the end of the one before it, shown, logged once."""

import logging
import subprocess
import sys
import time

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.probes.health import WorkerHealth
from genlock_worker.probes.start_up import StartPhase, StartUp


def test_each_phase_has_its_own_seconds_and_says_what_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    clock, metrics = ManualClock(), WorkerMetrics(CollectorRegistry())
    start_up = StartUp(clock, metrics, import_s=0.5)
    waited = []
    with caplog.at_level(logging.INFO):
        for phase, seconds in ((StartPhase.REDIS, 1.0), (StartPhase.ENGINE, 30.0), (StartPhase.REGISTERED, 0.25)):
            waited.append(start_up.awaits)
            clock.advance(seconds)
            start_up.reached(phase)
    assert waited == ["waiting for Redis", "the engine warms up", "registering"]
    assert start_up.awaits == ""
    shown = {
        phase.value: metrics.registry.get_sample_value("genlock_worker_startup_seconds", {"phase": phase.value})
        for phase in StartPhase
    }
    assert shown == {"import": 0.5, "redis": 1.0, "engine": 30.0, "registered": 0.25}
    assert caplog.messages == ["started in 31.75 s: import 0.50, redis 1.00, engine 30.00, registered 0.25"]


def test_what_is_being_done_is_told_while_it_is_done_and_what_came_of_it_afterwards() -> None:
    clock = ManualClock()
    start_up = StartUp(clock, WorkerMetrics(CollectorRegistry()), import_s=0.5)
    health = WorkerHealth(start_up, clock)
    clock.advance(1)
    start_up.reached(StartPhase.REDIS)
    assert health.unready() == "the engine warms up"
    start_up.doing("a session of 832x480")
    clock.advance(12)
    assert health.unready() == "the engine warms up: a session of 832x480 (12 s so far)"
    start_up.reached(StartPhase.ENGINE, "warmed up in 12.0 s for 832x480")
    assert health.unready() == "registering"
    start_up.reached(StartPhase.REGISTERED)
    assert health.ready() == "ready: warmed up in 12.0 s for 832x480"


def test_an_engine_that_needs_no_warm_up_is_ready_without_a_word_of_it() -> None:
    clock = ManualClock()
    assert WorkerHealth(StartUp(clock, WorkerMetrics(CollectorRegistry()), import_s=0.5), clock).ready() == "ready"


def test_the_age_of_a_process_counts_from_its_birth_not_from_its_first_own_line() -> None:
    code = (
        "import time; began = time.monotonic(); from genlock_worker.probes.start_up import process_age_s; "
        "print(process_age_s(), time.monotonic() - began)"
    )
    began_s = time.monotonic()
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    age_s, own_s = (float(word) for word in output.split())
    assert own_s - 0.02 <= age_s <= time.monotonic() - began_s + 0.02  # the kernel counts births in hundredths
