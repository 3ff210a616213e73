"""What a worker answers to probes, before it serves and while it hangs."""

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from genlock_cli.redis_server import RedisProcess
from genlock_core.clock import ManualClock
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.probes import ProbeServer
from genlock_core.tokens import generate_secrets
from genlock_worker.probes.health import STUCK_S, Serving, WorkerHealth
from genlock_worker.probes.start_up import StartPhase, StartUp
from tests.worker.gateway import until
from tests.worker.house import house


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> WorkerHealth:
    return WorkerHealth(StartUp(clock, WorkerMetrics(CollectorRegistry()), import_s=0.0), clock)


@pytest.fixture
def server(health: WorkerHealth) -> Iterator[ProbeServer]:
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    made = ProbeServer("127.0.0.1", 0, probed=health, registry=registry, look=health.look)
    made.start()
    yield made
    made.stop()


def test_a_start_is_alive_and_not_ready(server: ProbeServer) -> None:
    assert get(server.port, "/healthz") == (200, "ok\n")
    assert get(server.port, "/readyz") == (503, "waiting for Redis\n")


def test_a_worker_that_serves_is_ready_and_one_that_is_stuck_says_of_what(
    server: ProbeServer, health: WorkerHealth, clock: ManualClock
) -> None:
    for phase in (StartPhase.REDIS, StartPhase.ENGINE, StartPhase.REGISTERED):
        health.start_up.reached(phase)
    health.serves(Serving(lambda: 7, {"heartbeat": clock.monotonic()}, lambda: ""))
    assert get(server.port, "/readyz") == (200, "ready\n")
    clock.advance(STUCK_S + 1)
    assert get(server.port, "/healthz") == (
        503,
        "stuck for more than 15 s: the engine loop, the agent's heartbeat\n",
    )


async def test_it_answers_while_the_event_loop_does_not_turn(redis_url: str) -> None:
    async with house(redis_url) as home:
        worker = await home.start_worker("w0")
        server = ProbeServer("127.0.0.1", 0, probed=worker.health, registry=worker.registry)
        server.start()
        try:
            assert get(server.port, "/readyz") == (200, "ready\n")  # this very call keeps the loop from turning
            assert get(server.port, "/healthz") == (200, "ok\n")
        finally:
            server.stop()


async def test_a_worker_that_was_closed_is_not_ready_and_reasserts_itself_closed(redis_url: str) -> None:
    async with house(redis_url) as home:
        worker = await home.start_worker("w0")
        assert worker.health.unready() == ""
        await home.claims.close(worker.identity)
        await until(lambda: worker.health.unready() == "draining", "the worker to learn that it was closed")
        await home.store.flushall()
        view = None
        while view is None:
            await asyncio.sleep(0.05)
            view = await home.claims.worker("w0")
        assert view.state == "draining"


async def test_a_worker_stays_ready_without_redis(redis_server: RedisProcess) -> None:
    async with house(redis_server.url) as home:
        worker = await home.start_worker("w0")
        redis_server.kill()
        await until(
            lambda: worker.registry.get_sample_value("genlock_worker_heartbeats_total", {"result": "failed"}),
            "a heartbeat that fails",
        )
        assert (worker.health.unready(), worker.health.ailment()) == ("", "")


@pytest.mark.process
def test_the_process_waits_for_redis_says_so_and_leaves_when_told(unused_tcp_port: int, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    environ = {**os.environ, "GENLOCK_SECRETS": generate_secrets(), "HOME": str(nowhere)}
    command = [
        *(sys.executable, "-m", "genlock_worker.main", "--redis", "redis://127.0.0.1:1"),
        *("--metrics-port", str(unused_tcp_port)),
    ]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as worker:
        try:
            deadline_s = time.monotonic() + 60
            answer = (0, "")
            while not answer[0] and time.monotonic() < deadline_s:
                try:
                    answer = get(unused_tcp_port, "/readyz")
                except ConnectionError:
                    time.sleep(0.1)
            assert answer == (503, "waiting for Redis\n")
            assert get(unused_tcp_port, "/healthz") == (200, "ok\n")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
            assert worker.stderr is not None
            assert "Traceback" not in worker.stderr.read()
        finally:
            worker.kill()
    assert not nowhere.exists()
