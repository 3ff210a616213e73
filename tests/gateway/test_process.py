"""`genlock-gateway` as a process: what it prints, how it ends, and what it says when it cannot serve."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process

import httpx
import pytest

from genlock_cli.redis_server import RedisProcess
from genlock_core.tokens import generate_secrets

pytestmark = pytest.mark.process


async def start(redis_url: str, *options: str, secrets: str | None = None) -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GENLOCK_")}
    environment["GENLOCK_SECRETS"] = generate_secrets() if secrets is None else secrets
    common = ("--name", "g0", "--redis", redis_url, "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0")
    command = (sys.executable, "-m", "genlock_gateway.main", *common, *options)
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)


async def test_it_says_ready_serves_drains_and_ends(redis_url: str) -> None:
    process = await start(redis_url, "--log-format", "json", "--log-level", "info")
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()
    assert line[:2] == ["ready", "g0"]
    url = line[2].removeprefix("http=")
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
    process.send_signal(signal.SIGTERM)
    _, logged = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, logged.decode()
    entries = [json.loads(entry) for entry in logged.decode().splitlines()]
    assert any(entry["message"].startswith("draining") for entry in entries)


async def test_it_waits_for_a_redis_that_comes_late_if_it_is_told_to(redis_server: RedisProcess) -> None:
    redis_server.kill()
    process = await start(redis_server.url, "--redis-wait", "60s")
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"Redis does not answer yet" in await asyncio.wait_for(process.stderr.readline(), 30)
    redis_server.start()
    assert (await asyncio.wait_for(process.stdout.readline(), 30)).startswith(b"ready g0")
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0


async def test_it_leaves_when_told_while_it_waits_for_redis(redis_url: str) -> None:
    process = await start(redis_url, "--redis", "redis://127.0.0.1:1", "--redis-wait", "60s")
    assert process.stderr is not None
    await asyncio.wait_for(process.stderr.readline(), 30)
    process.send_signal(signal.SIGTERM)
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"Traceback" not in said


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_without_a_traceback(redis_url: str, sent: signal.Signals) -> None:
    process = await start(redis_url)
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(sent)
    _, logged = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"Traceback" not in logged


async def test_a_taken_port_is_named(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await start(redis_url, "--http", f"127.0.0.1:{port}")
        _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert f"127.0.0.1:{port}" in said.decode()
    assert "Traceback" not in said.decode()


@pytest.mark.parametrize(
    ("options", "secrets", "message", "status"),
    [
        ((), "", "GENLOCK_SECRETS", 1),
        (("--redis", "redis://127.0.0.1:1"), None, "127.0.0.1:1", 1),
        (("--redis", "http://x"), None, "must be the address of a Redis", 2),
    ],
)
async def test_what_is_missing_is_named(
    redis_url: str, options: tuple[str, ...], secrets: str | None, message: str, status: int
) -> None:
    process = await start(redis_url, *options, secrets=secrets)
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == status
    assert message in said.decode()
    assert "Traceback" not in said.decode()
