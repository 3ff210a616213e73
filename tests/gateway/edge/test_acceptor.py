"""Connections over real sockets: what keeps others waiting ends, and whoever asks is let in."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from genlock_cli.up.certificate import own_certificate
from genlock_core.clock import SystemClock
from genlock_core.process.address import Address
from genlock_gateway.edge.connections import Connection, Why
from genlock_gateway.edge.descriptors import connections_within
from genlock_gateway.edge.watch import VOUCH, vouch
from genlock_gateway.settings import TlsSettings
from genlock_gateway.web.serving import HttpServers, Port, listen, tls_context
from tests.gateway.edge.raw import LONG_S, PATIENCE_S, ROOMY, ask, served, watch

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """`/` reads the body; `/stream` never ends; `/flood` sends for ever; `/mine` shows a valid token and never ends."""
    request = Request(scope, receive)
    response: Response
    if scope["path"] == "/mine":
        vouch(request)
    if scope["path"] in ("/stream", "/mine"):
        response = StreamingResponse(_stream())
    elif scope["path"] == "/flood":
        response = StreamingResponse(_flood())
    else:
        response = PlainTextResponse(str(len(await request.body())))
    await response(scope, receive, send)


async def _stream() -> AsyncIterator[bytes]:
    yield b"begun"
    await asyncio.Event().wait()


async def _flood() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65_536
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def sent(address: Address, *parts: bytes) -> AsyncIterator[Streams]:
    """A connection on which that was sent."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def until_closed(streams: Streams) -> bytes:
    """What comes until the other side ends the connection, which it has to."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await streams[0].read()
        except ConnectionError:
            return b""


async def answered(address: Address) -> bool:
    return (await ask(address, "GET / HTTP/1.1", "Host: localhost")) == (200, b"0")


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"POST"],
        [HEAD, b"X-A: "],
        [HEAD, b"Content-Length: 10\r\n\r\n", b"half"],
        [HEAD, b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhel"],
        # The second request of a connection, as well.
        [GET % b"", HEAD],
        [GET % b"", HEAD, b"Content-Length: 10\r\n\r\n", b"half"],
    ],
)
async def test_a_request_that_does_not_come_to_its_end_is_ended(parts: list[bytes]) -> None:
    ended: list[Why] = []
    async with (
        served(application, watch(replace(ROOMY, request_s=0.2), ended=ended)) as address,
        sent(address, *parts) as streams,
    ):
        await until_closed(streams)
    assert ended == [Why.LATE]


async def test_an_answer_is_sent_without_waiting_for_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    one = watch(ROOMY)
    admitted: list[socket.socket] = []
    admit = one.admit

    def noted(accepted: socket.socket, address: str) -> Connection | None:
        admitted.append(accepted)
        return admit(accepted, address)

    monkeypatch.setattr(one, "admit", noted)
    async with served(application, one) as address, sent(address, GET % b"stream") as (reader, _):
        await reader.readuntil(b"begun")
        (accepted,) = admitted
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_a_byte_now_and_then_is_no_request() -> None:
    ended: list[Why] = []
    async with (
        served(application, watch(replace(ROOMY, request_s=0.3), ended=ended)) as address,
        sent(address, HEAD, b"X-A: ") as streams,
    ):
        closed = asyncio.create_task(until_closed(streams))
        while not closed.done():
            with contextlib.suppress(ConnectionError):
                streams[1].write(b"x")
                await streams[1].drain()
            await asyncio.sleep(0.02)
    assert ended == [Why.LATE]


async def test_an_idle_connection_is_closed_and_one_that_asks_again_is_not() -> None:
    ended: list[Why] = []
    async with (
        served(application, watch(replace(ROOMY, idle_s=0.3), ended=ended)) as address,
        sent(address, GET % b"") as streams,
    ):
        assert (await until_closed(streams)).endswith(b"\r\n\r\n0")
    assert ended == [Why.IDLE]


async def test_a_client_that_takes_nothing_is_ended_and_a_quiet_stream_is_not() -> None:
    ended: list[Why] = []
    bounds = replace(ROOMY, request_s=0.2, idle_s=0.2, stalled_s=0.2)
    async with (
        served(application, watch(bounds, ended=ended)) as address,
        sent(address, GET % b"stream") as quiet,
        sent(address, GET % b"flood") as stalled,
    ):
        async with asyncio.timeout(PATIENCE_S):
            while not ended:
                await asyncio.sleep(0.02)
            assert (await quiet[0].readuntil(b"begun\r\n")).startswith(b"HTTP/1.1 200")
        assert await until_closed(stalled)
        assert not quiet[0].at_eof()
    assert ended == [Why.STALLED]


async def test_many_that_ask_nothing_keep_nobody_of_their_own_address_out() -> None:
    """Their time is not over, but there are enough of them."""
    ended: list[Why] = []
    bounds = replace(ROOMY, connections=20, new_per_address=8)
    async with served(application, watch(bounds, ended=ended)) as address, contextlib.AsyncExitStack() as held:
        for _ in range(60):
            await held.enter_async_context(sent(address, HEAD, b"X-A: "))
        assert await answered(address)
    assert set(ended) == {Why.GAVE_WAY}
    assert len(ended) >= 60 - 8


async def test_many_pages_of_one_address_open_at_once() -> None:
    """Hundreds of connections whose first request is under way are no attack, and none of them is refused."""
    ended: list[Why] = []
    bounds = replace(ROOMY, new_per_address=8, grace_s=LONG_S)
    async with served(application, watch(bounds, ended=ended)) as address:
        assert all(await asyncio.gather(*(answered(address) for _ in range(300))))
    assert ended == []


async def test_streams_with_a_token_stay_and_strangers_go_for_them() -> None:
    bounds = replace(ROOMY, connections=4)
    over = watch(bounds)
    async with served(application, over) as address, contextlib.AsyncExitStack() as held:
        strangers = [await held.enter_async_context(sent(address, GET % b"stream")) for _ in range(2)]
        for stranger in strangers:
            await stranger[0].readuntil(b"begun\r\n")
        mine = []
        for number in range(4):
            one = await held.enter_async_context(sent(address, GET % b"mine"))
            if number < 2:
                await one[0].readuntil(b"begun\r\n")
                mine.append(one)
        # There was room for two more only: nobody that is being answered went for the others.
        assert len(over) == 4
        assert not any(one[0].at_eof() for one in (*strangers, *mine))


async def test_whoever_never_shakes_hands_is_ended(tmp_path: Path) -> None:
    files = own_certificate(tmp_path, ["127.0.0.1"])
    context = tls_context(TlsSettings(listen=(Address("127.0.0.1", 0),), certificate=files.certificate, key=files.key))
    over = watch(replace(ROOMY, request_s=0.2))
    with contextlib.closing(listen(Address("127.0.0.1", 0))) as https:
        servers = HttpServers(
            [Port(app=application, sockets=[https], watch=over, context=context)], clock=SystemClock()
        )
        running = asyncio.create_task(servers.run())
        async with sent(Address(*https.getsockname()), b"\x16\x03\x01") as silent:
            await until_closed(silent)
        async with sent(Address(*https.getsockname()), b"GET / HTTP/1.1\r\n\r\n") as plain:
            await until_closed(plain)
        async with asyncio.timeout(PATIENCE_S):
            while len(over):
                await asyncio.sleep(0.02)
        servers.end()
        await running


async def test_a_connection_that_came_and_went_leaves_nothing() -> None:
    over = watch()
    async with served(application, over) as address:
        for parts in ([], [HEAD], [GET % b""], [GET % b"flood"], [b"nonsense\r\n\r\n"]):
            async with sent(address, *parts):
                pass
        async with asyncio.timeout(PATIENCE_S):
            while len(over):
                await asyncio.sleep(0.02)
        assert not over._endings


def test_some_descriptors_are_kept_for_everything_else() -> None:
    assert [connections_within(number) for number in (1, 256, 1_024, 65_536)] == [1, 128, 512, 65_024]


def test_a_request_outside_the_edge_vouches_for_nothing() -> None:
    vouch(Request({"type": "http", "headers": []}))
    told: list[bool] = []
    vouch(Request({"type": "http", "headers": [], "state": {VOUCH: lambda: told.append(True)}}))
    assert told == [True]


FEW = """
import asyncio, contextlib, logging, resource, socket, sys
from dataclasses import replace
from tests.gateway.edge.raw import ROOMY, ask, served, watch
from tests.gateway.edge.test_acceptor import application, answered

async def main():
    logging.basicConfig(stream=sys.stderr, level="INFO")
    async with served(application, watch(ROOMY)) as address:
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
        print(address.port, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


async def test_a_listener_without_descriptors_says_so_once_and_goes_on() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FEW, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S * 2):
        address = Address("127.0.0.1", int(await process.stdout.readline()))
        async with contextlib.AsyncExitStack() as held:
            for _ in range(80):
                await held.enter_async_context(sent(address, HEAD, b"X-A: "))
            # It gives up one for another until it is this one's turn.
            assert await answered(address)
        assert await answered(address)
        _, logged = await process.communicate(b"\n")
    said = [line for line in logged.decode().splitlines() if "no new connections" in line]
    assert len(said) == 1, logged.decode()
    assert len(logged.splitlines()) < 5, logged.decode()
