"""The server of probes: what it answers, from threads of its own, and what keeps it from answering."""

import http.client
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from genlock_core.process.probes import ProbeServer


class Part:
    """A part that says of itself what the test wants, and counts how often it was looked at."""

    def __init__(self) -> None:
        self.ill = ""
        self.why_not = ""
        self.looked = threading.Semaphore(0)
        self.registry = CollectorRegistry()
        Gauge("pictures", "How many there are.", registry=self.registry).set(7)

    def ailment(self) -> str:
        return self.ill

    def unready(self) -> str:
        return self.why_not

    def look(self) -> None:
        self.looked.release()


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def server(part: Part) -> Iterator[ProbeServer]:
    made = ProbeServer("127.0.0.1", 0, probed=part, registry=part.registry, look=part.look)
    made.start()
    yield made
    made.stop()


def get(server: ProbeServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_part_that_is_well_and_ready_says_so(server: ProbeServer) -> None:
    assert get(server, "/healthz") == (200, "ok\n")
    assert get(server, "/readyz") == (200, "ready\n")


def test_a_part_that_is_ready_may_say_more_of_it(part: Part) -> None:
    more = ProbeServer("127.0.0.1", 0, probed=part, registry=part.registry, ready=lambda: "ready: warmed up")
    more.start()
    try:
        assert get(more, "/readyz") == (200, "ready: warmed up\n")
        part.why_not = "draining"
        assert get(more, "/readyz") == (503, "draining\n")
    finally:
        more.stop()


def test_a_part_that_is_not_says_why(server: ProbeServer, part: Part) -> None:
    part.ill = "stuck"
    part.why_not = "draining"
    assert get(server, "/healthz") == (503, "stuck\n")
    assert get(server, "/readyz") == (503, "draining\n")


def test_metrics_are_prometheus_text_and_everything_else_is_not_found(server: ProbeServer) -> None:
    status, text = get(server, "/metrics")
    assert status == 200
    assert "# TYPE pictures gauge\npictures 7.0\n" in text
    assert get(server, "/")[0] == 404
    assert get(server, "/healthz?verbose") == (200, "ok\n")


def test_a_client_that_says_nothing_keeps_nobody_waiting(server: ProbeServer) -> None:
    silent = http.client.HTTPConnection("127.0.0.1", server.port)
    silent.connect()
    try:
        assert get(server, "/healthz")[0] == 200
    finally:
        silent.close()


def test_a_part_is_looked_at_though_nobody_asks(server: ProbeServer, part: Part) -> None:
    assert part.looked.acquire(timeout=10)
    assert part.looked.acquire(timeout=10)


def test_a_taken_port_is_an_error_at_once(server: ProbeServer, part: Part) -> None:
    with pytest.raises(OSError, match="in use"):
        ProbeServer("127.0.0.1", server.port, probed=part, registry=part.registry)
