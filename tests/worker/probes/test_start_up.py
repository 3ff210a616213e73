"""The phases of a worker's start: each measured from the end of the one before it, shown, logged once."""

import logging
import subprocess
import sys
import time

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.metrics import WorkerMetrics
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


def test_the_age_of_a_process_counts_from_its_birth_not_from_its_first_own_line() -> None:
    code = (
        "import time; began = time.monotonic(); from genlock_worker.probes.start_up import process_age_s; "
        "print(process_age_s(), time.monotonic() - began)"
    )
    began_s = time.monotonic()
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    age_s, own_s = (float(word) for word in output.split())
    assert own_s - 0.02 <= age_s <= time.monotonic() - began_s + 0.02  # the kernel counts births in hundredths
