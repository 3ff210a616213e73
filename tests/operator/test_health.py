"""When an operator's process is to be started again, and when it may take over, on a clock that the test sets."""

import httpx
import pytest
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.process.probes import ProbeServer
from genlock_operator.health import STUCK_AFTER_S, WATCH_DEAF_AFTER_S, OperatorHealth


class Process:
    """What health asks of the rest of it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.age_s: float | None = 0.0
        self.synced = True
        self.waiting = 0
        self.health = OperatorHealth(
            self.clock, watch_age_s=lambda: self.age_s, synced=lambda: self.synced, waiting=lambda: self.waiting
        )


@pytest.fixture
def process() -> Process:
    return Process()


def test_a_process_whose_loops_go_round_is_well(process: Process) -> None:
    for _ in range(10):
        process.health.beat("workers")
        process.clock.advance(STUCK_AFTER_S / 2)
        assert process.health.problems() == []


def test_a_loop_that_stands_still_is_a_problem_until_it_goes_round_again(process: Process) -> None:
    process.health.beat("workers")
    process.health.beat("events")
    process.clock.advance(STUCK_AFTER_S + 1)
    process.health.beat("events")
    (problem,) = process.health.problems()
    assert "the loop workers" in problem
    process.health.beat("workers")
    assert process.health.problems() == []


@pytest.mark.parametrize(("waiting", "problems"), [(0, 0), (3, 1)])
def test_that_nothing_is_worked_on_is_a_problem_only_while_something_waits(
    process: Process, waiting: int, problems: int
) -> None:
    process.health.beat("reconcile")
    process.waiting = waiting
    process.clock.advance(STUCK_AFTER_S + 1)
    assert len(process.health.problems()) == problems


def test_watches_that_went_deaf_are_a_problem(process: Process) -> None:
    process.age_s = WATCH_DEAF_AFTER_S + 1
    assert "told nothing" in process.health.problems()[0]


def test_watches_that_never_told_anything_are_a_problem_after_a_while(process: Process) -> None:
    process.age_s = None
    assert process.health.problems() == []
    process.clock.advance(WATCH_DEAF_AFTER_S + 1)
    assert "told nothing" in process.health.problems()[0]


def test_who_has_not_listed_everything_is_not_ready(process: Process) -> None:
    process.synced = False
    assert process.health.unready() == "not everything is listed yet"
    process.synced = True
    assert process.health.unready() == ""


async def test_it_is_told_over_http(process: Process) -> None:
    process.synced = False
    process.age_s = WATCH_DEAF_AFTER_S + 1
    server = ProbeServer("127.0.0.1", 0, probed=process.health, registry=CollectorRegistry())
    server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http:
            answers = {path: await http.get(path) for path in ("/healthz", "/readyz")}
    finally:
        server.stop()
    assert {path: answer.status_code for path, answer in answers.items()} == {"/healthz": 503, "/readyz": 503}
    assert answers["/healthz"].text == "the watches have told nothing for 151 s\n"
    assert answers["/readyz"].text == "not everything is listed yet\n"
