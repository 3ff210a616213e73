"""A gateway with few descriptors, and a stranger who would like to have them all."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE
from contextlib import ExitStack

import httpx
import pytest

from genlock_core.tokens import generate_secrets

pytestmark = pytest.mark.process

DESCRIPTORS = 256
STRANGERS = 400
PATIENCE_S = 60.0


async def test_it_answers_while_hundreds_of_requests_never_end_and_logs_next_to_nothing(redis_url: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GENLOCK_")}
    environment["GENLOCK_SECRETS"] = generate_secrets()
    gateway = (sys.executable, "-m", "genlock_gateway.main", "--name", "g0", "--redis", redis_url)
    where = ("--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--health", "127.0.0.1:0", "--request-timeout", "2s")
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", *gateway, *where),
        stdout=PIPE,
        stderr=PIPE,
        env=environment,
    )
    assert process.stdout is not None
    ready = dict(part.split("=") for part in (await process.stdout.readline()).decode().split()[2:])
    public = socket.create_connection(("127.0.0.1", int(ready["http"].rpartition(":")[2])))
    with ExitStack() as held:
        address = held.enter_context(public).getpeername()
        for _ in range(STRANGERS):
            stranger = await asyncio.to_thread(socket.create_connection, address, PATIENCE_S)
            held.enter_context(stranger).send(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")

        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
            # Not one of those connections has had its two seconds for certain.
            assert (await http.get(f"{ready['http']}/healthz")).status_code == 200
            assert (await http.get(f"http://{ready['health']}/readyz")).status_code == 200
            metrics = f"http://{ready['health']}/metrics"
            async with asyncio.timeout(PATIENCE_S):
                while "genlock_gateway_connections 0.0" not in (await http.get(metrics)).text:
                    await asyncio.sleep(0.1)
            text = (await http.get(metrics)).text
            assert (await http.get(f"{ready['http']}/metrics")).status_code == 404

    ended = sum(float(line.split()[1]) for line in text.splitlines() if "connections_ended_total{" in line)
    assert ended >= STRANGERS
    process.terminate()
    _, logged = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0
    assert len(logged.splitlines()) < 10, logged.decode()
