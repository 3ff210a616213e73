"""The command line and the environment of the worker, and the process that they start."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from genlock_core.process.address import Address
from genlock_core.process.options import options_of
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import Positions, StreamOptions
from genlock_worker.settings import PROGRAM, WorkerSettings, parse_settings
from genlock_worker.worker import advertised
from tests.option_mistakes import assert_is_one_line
from tests.worker.house import SESSION, house


def test_the_options_of_the_contract_are_all_there() -> None:
    line = (
        "--name w0 --pool local --redis redis://r --listen 127.0.0.1:0 --engine mock --model wan2.1-1.3b "
        "--gpu-product NVIDIA-H100 --gpus 4 --capacity 1000 --media-root media --metrics-port 9 --drain-timeout 20s"
    )
    settings = parse_settings(line.split(), {})
    assert (settings.name, settings.pool, settings.redis) == ("w0", "local", "redis://r")
    assert settings.listen == Address("127.0.0.1", 0)
    assert (settings.engine, settings.model, settings.gpu_product, settings.gpus) == (
        "mock",
        "wan2.1-1.3b",
        "NVIDIA-H100",
        4,
    )
    assert (settings.capacity, settings.media_root, settings.metrics_port) == (1_000, Path("media"), 9)
    assert settings.drain_timeout_s == 20.0


def test_the_diffusion_engine_has_options_of_its_own() -> None:
    line = (
        "--weights models --device cuda:1 --dtype bfloat16 --decoder tiny --memory-limit 20Gi --ring-frames 5 "
        "--sink-frames 2 --positions absolute --sink-threshold off --compile yes --threads 3 "
        "--primed-chunks 8 --overlap no"
    )
    given = parse_settings(line.split(), {"GENLOCK_WORKER_RANDOM_WEIGHTS": "yes"}).diffusion
    assert (given.weights, given.device, given.dtype) == (Path("models"), "cuda:1", "bfloat16")
    assert (given.memory_limit_bytes, given.threads, given.overlap) == (20 * 2**30, 3, False)
    assert (given.load.decoder, given.load.random_weights, given.load.fp8) == ("tiny", True, False)
    assert given.forward.compile
    assert given.stream.ring == RingLayout(slots=5, sinks=2)
    assert (given.stream.positions, given.stream.sink_threshold) == (Positions.ABSOLUTE, None)
    assert given.stream.primed_chunks == 8


def test_without_options_the_diffusion_engine_follows_the_published_stream() -> None:
    published = StreamOptions()
    assert parse_settings([], {}).diffusion.stream == published
    assert (published.ring.slots, published.ring.sinks, published.sink_threshold) == (6, 3, 0.2)
    assert (published.positions, published.primed_chunks) == (Positions.RELATIVE, 4)


def test_an_option_wins_over_the_environment_and_that_over_the_default() -> None:
    environ = {"GENLOCK_WORKER_NAME": "env", "GENLOCK_WORKER_GPUS": "2", "GENLOCK_WORKER_DRAIN_TIMEOUT": "1m"}
    settings = parse_settings(["--name", "line"], environ)
    assert (settings.name, settings.gpus, settings.drain_timeout_s) == ("line", 2, 60.0)
    assert settings.media_root is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("listen", "nowhere", "must be an address"),
        ("listen", "localhost:99999", "must be an address"),
        ("advertise", ":7000", "that others can connect to"),
        ("engine", "steam", "must be one of mock, diffusion"),
        ("gpus", "many", "must be a whole number from 1"),
        ("gpus", "0", "must be a whole number from 1"),
        ("capacity", "0", "must be a whole number from 1 to 1000000"),
        ("metrics-port", "99999", "must be a whole number from 0 to 65535"),
        ("drain-timeout", "soon", "must be a duration"),
        ("instant", "maybe", "must be yes or no"),
        ("log-level", "VERBOSE", "must be one of debug, info"),
        ("device", "tpu", "must be auto, cpu, cuda or cuda:N"),
        ("text-device", "gpu", "must be auto, cpu, cuda or cuda:N"),
        ("decoder", "huge", "must be one of vae, tiny"),
        ("threads", "0", "must be a whole number from 1"),
        ("memory-limit", "much", "must be an amount of memory"),
        ("ring-frames", "0", "must be a whole number from 1"),
        ("sink-threshold", "high", "must be a number from 0, or off"),
        ("positions", "here", "must be one of absolute, refreshed, relative"),
        ("redis", "http://user:hunter2@x", "must be the address of a Redis"),
        ("measured-fps", "fast", "must be frames per second by size and steps"),
        ("measured-fps", '{"832x480": {"1": -3}}', "832x480.1: Input should be greater than 0"),
        ("measured-step-time", "fast", "must be seconds of a forward's parts by size"),
        ("measured-step-time", '{"832x480": {"base": 0, "row": 0}}', "832x480: Value error, no forward takes no time"),
    ],
)
def test_a_mistake_is_one_line_from_either_source(
    name: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_is_one_line(PROGRAM, parse_settings, option=(name, text), message=message, capsys=capsys)


def test_a_ring_has_more_frames_than_sinks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_settings(["--ring-frames", "3"], {"GENLOCK_WORKER_SINK_FRAMES": "3"})
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--ring-frames (GENLOCK_WORKER_RING_FRAMES) and --sink-frames (GENLOCK_WORKER_SINK_FRAMES): " in line
    assert line.endswith("a ring of 3 slots cannot have 3 sinks")


def test_plain_numbers_are_read_for_one_release(capsys: pytest.CaptureFixture[str]) -> None:
    settings = parse_settings(["--drain-timeout", "20"], {"GENLOCK_WORKER_MEMORY_LIMIT": "1000"})
    assert (settings.drain_timeout_s, settings.diffusion.memory_limit_bytes) == (20.0, 1_000)
    told = capsys.readouterr().err
    assert "write --drain-timeout 20s" in told
    assert "write GENLOCK_WORKER_MEMORY_LIMIT=1000B" in told


@pytest.mark.parametrize("text", ["yes", "true", "1", "on"])
def test_switches_and_levels_are_written_as_in_every_part(text: str) -> None:
    settings = parse_settings(["--instant", text, "--log-level", "INFO"], {"GENLOCK_WORKER_FP8": text})
    assert settings.instant
    assert settings.diffusion.load.fp8
    assert settings.log.level == "info"


def test_help_names_every_option_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"], {})
    told = " ".join(capsys.readouterr().out.split())
    for one in options_of(WorkerSettings):
        assert one.flag in told
        assert f"[{PROGRAM.variable(one.name)}]" in told


def test_an_advertised_port_of_zero_is_the_one_listened_on() -> None:
    assert advertised("127.0.0.1:7001", None) == "127.0.0.1:7001"
    assert advertised("0.0.0.0:7001", Address("10.1.2.3", 0)) == "10.1.2.3:7001"
    assert advertised("0.0.0.0:7001", Address("::1", 9)) == "[::1]:9"


@pytest.mark.process
def test_the_process_says_when_it_is_ready_and_leaves_on_sigterm(
    redis_url: str, unused_tcp_port: int, tmp_path: Path
) -> None:
    secret, log = "k1:a-secret-that-must-never-be-logged", tmp_path / "log"
    command = [
        *(sys.executable, "-m", "genlock_worker.main", "--name", "w7", "--redis", redis_url),
        *("--log-format", "json", "--metrics-port", str(unused_tcp_port)),
    ]
    environ = {**os.environ, "GENLOCK_SECRETS": secret, "PYTHONFAULTHANDLER": "1"}
    with (
        log.open("w") as errors,
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True) as worker,
    ):
        stuck = threading.Timer(30, worker.send_signal, [signal.SIGABRT])  # writes every thread's stack to the log
        stuck.start()
        try:
            assert worker.stdout is not None
            ready = worker.stdout.readline().split()
            assert ready[:2] == ["ready", "name=w7"], log.read_text()
            assert ready[2].startswith("address=127.0.0.1:")
            with urllib.request.urlopen(f"http://127.0.0.1:{unused_tcp_port}/metrics", timeout=10) as answer:
                assert "genlock_engine_progress" in answer.read().decode()
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0, log.read_text()
        finally:
            stuck.cancel()
            worker.kill()
    assert secret.partition(":")[2] not in log.read_text()
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["worker"] for entry in entries} == {"w7"}
    assert {entry["level"] for entry in entries} <= {"info", "warning"}


@pytest.mark.process
def test_the_process_leaves_at_once_on_sigint_even_with_a_session_that_cannot_move(
    redis_url: str, tmp_path: Path
) -> None:
    secrets = {"GENLOCK_SECRETS": "k1:a-secret-that-must-never-be-logged", "PYTHONFAULTHANDLER": "1"}
    environ = {**os.environ, **secrets}
    command = [sys.executable, "-m", "genlock_worker.main", "--name", "w8", "--redis", redis_url]
    with (
        (tmp_path / "log").open("w") as errors,
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True) as worker,
    ):
        stuck = threading.Timer(30, worker.send_signal, [signal.SIGABRT])  # writes every thread's stack to the log
        stuck.start()
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline().startswith("ready ")
            asyncio.run(claim_a_session(redis_url))
            worker.send_signal(signal.SIGINT)
            assert worker.wait(60) == 0, (tmp_path / "log").read_text()
        finally:
            stuck.cancel()
            worker.kill()
    assert "draining" not in (tmp_path / "log").read_text()


async def claim_a_session(redis_url: str) -> None:
    async with house(redis_url) as home:
        await home.session()
        await home.claims.claim(SESSION)


@pytest.mark.process
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--engine diffusion --model warp --gpu-product CPU --gpus 1", "warp"),
        ("--engine diffusion --model wan2.1-1.3b --weights nowhere", "nowhere"),
        ("--engine mock --model tiny --gpu-product steam-engine", "no profile of tiny"),
    ],
)
def test_the_process_says_in_words_which_model_it_cannot_run(redis_url: str, line: str, words: str) -> None:
    environ = {**os.environ, "GENLOCK_SECRETS": "k1:a-secret-that-must-never-be-logged"}
    command = [sys.executable, "-m", "genlock_worker.main", "--redis", redis_url, *line.split()]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1] or words in done.stderr.partition("genlock-worker: ")[2]


@pytest.mark.process
def test_the_process_names_what_it_misses() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GENLOCK_")}
    done = subprocess.run(
        [sys.executable, "-m", "genlock_worker.main"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "GENLOCK_SECRETS" in done.stderr


def test_a_worker_that_is_not_told_computes_on_what_fits_its_engine() -> None:
    assert parse_settings([], {}).devices == 4
    assert parse_settings(["--engine", "diffusion"], {}).devices == 1
    assert parse_settings(["--gpus", "2"], {}).devices == 2
    assert parse_settings([], {"GENLOCK_WORKER_GPUS": "8"}).devices == 8
