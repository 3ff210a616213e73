"""The process while its model loads: it answers probes, it leaves when it is told to, it says what is wrong."""

import asyncio
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from genlock_core.clock import Clock, ManualClock
from genlock_core.errors import GenlockError
from genlock_core.process import logs
from genlock_worker import main, worker
from genlock_worker.engines.contract import Engine
from genlock_worker.engines.mock import MockEngine, StepTiming
from genlock_worker.settings import WorkerSettings, parse_settings
from tests.worker.gateway import until

ENVIRON = {"GENLOCK_SECRETS": "k1:a-secret-that-must-never-be-logged"}


class Loading:
    """A model that loads until it is let go, and then turns out to be damaged."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, settings: WorkerSettings, clock: Clock) -> Engine:
        self.begun.set()
        self.go.wait(60)
        raise GenlockError("model.pt: damaged")


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loading]:
    made = Loading()
    monkeypatch.setattr(main, "make_engine", made)
    yield made
    made.go.set()


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_probes_are_answered_and_a_signal_is_obeyed_while_a_model_loads(
    redis_url: str, unused_tcp_port: int, loading: Loading
) -> None:
    settings = parse_settings(["--redis", redis_url, "--metrics-port", str(unused_tcp_port)], {})
    running = asyncio.create_task(main.run(settings, ENVIRON))
    await until(loading.begun.is_set, "the loading")
    assert await asyncio.to_thread(ask, unused_tcp_port, "/readyz") == (503, "the engine warms up\n")
    assert (await asyncio.to_thread(ask, unused_tcp_port, "/healthz"))[0] == 200
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, 30) == 0


async def test_what_is_wrong_with_a_model_ends_the_start(redis_url: str, loading: Loading) -> None:
    running = asyncio.create_task(main.run(parse_settings(["--redis", redis_url], {}), ENVIRON))
    loading.go.set()
    with pytest.raises(GenlockError, match=r"model.pt: damaged"):
        await running


@pytest.mark.parametrize("told", [["--gpus", "4"], ["--gpus", "2", "--device", "cpu"]])
def test_more_gpus_than_the_engine_computes_on_end_the_start_with_one_line(
    told: list[str], redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setenv("GENLOCK_SECRETS", ENVIRON["GENLOCK_SECRETS"])
    assert main.main(["--redis", redis_url, "--engine", "diffusion", "--model", "tiny", *told]) == 2
    [line] = capsys.readouterr().err.splitlines()
    gpus = told[1]
    assert line == f"genlock-worker: the diffusion engine computes on 1 GPU, not on {gpus}: start it with --gpus 1"


def test_an_engine_that_says_less_than_it_was_told_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    small = MockEngine("wan2.1-1.3b", StepTiming.instant(), clock, clock.advance, devices=2)
    monkeypatch.setattr(worker, "create_engine", lambda *_, **__: small)
    with pytest.raises(GenlockError, match="the engine computes on 2 GPUs, not on 4"):
        worker.make_engine(parse_settings(["--gpus", "4"], {}), clock)
    assert worker.make_engine(parse_settings(["--gpus", "2"], {}), clock) is small
