"""A worker's process and those that decode for it: they are there when it is ready, and gone when it is."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.worker.intake.out_of_process.nurseries import children_of, is_gone, wait_until

pytestmark = pytest.mark.process


@pytest.fixture
def worker(redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    arguments = ["--redis", redis_url, "--decode-process", "--instant"]
    with subprocess.Popen(
        [sys.executable, "-m", "genlock_worker.main", *arguments],
        env={**os.environ, "GENLOCK_SECRETS": "k1:a-secret-of-this-test-that-is-long-enough"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready")
        yield process
        process.kill()


def spare_of(nursery: int) -> int:
    """Its only decoder; the one that the worker tried at its start is gone."""

    def alive() -> list[int]:
        return [pid for pid in children_of(nursery) if not is_gone(pid)]

    wait_until(lambda: len(alive()) == 1)
    return alive()[0]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_a_worker_ends_its_decoders(worker: subprocess.Popen[bytes], how: signal.Signals) -> None:
    (nursery,) = children_of(worker.pid)
    spare = spare_of(nursery)
    # As a terminal or a service manager does it: to the whole group.
    for pid in (nursery, spare):
        if how is not signal.SIGKILL:
            os.kill(pid, how)
    assert not is_gone(nursery)
    assert not is_gone(spare)

    worker.send_signal(how)
    status = worker.wait(20)
    assert status == (-signal.SIGKILL if how is signal.SIGKILL else 0)
    wait_until(lambda: is_gone(nursery) and is_gone(spare))


def test_decoders_outlive_neither_a_nursery_that_hangs_nor_its_worker(worker: subprocess.Popen[bytes]) -> None:
    (nursery,) = children_of(worker.pid)
    spare = spare_of(nursery)
    os.kill(nursery, signal.SIGSTOP)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    wait_until(lambda: is_gone(nursery) and is_gone(spare))
