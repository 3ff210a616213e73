"""Strangers at a worker's port, over real sockets: what they cost, and how gateways get in beside them."""

import asyncio
import contextlib
import errno
import socket
from typing import Any

import pytest

from genlock_core.clock import SystemClock
from genlock_core.link import doorstep
from genlock_core.link import server as link_server
from genlock_core.link.closure import LinkDown
from genlock_core.link.connection import LinkConnection
from genlock_core.link.doorstep import Caller
from genlock_core.link.frames import FrameType, LinkFrame, encode
from genlock_core.link.protocol import LinkProtocol
from tests.core.link.sockets import GATEWAY, QUICK, SECRETS, WORKER, connected, echo, link, worker


async def test_a_stranger_who_says_nothing_is_cut_off() -> None:
    async with worker(echo, timings=QUICK) as server:
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert b"handshake took more than" in await reader.read()
        writer.close()


async def test_strangers_are_bounded_and_the_newest_of_them_have_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_server, "MAX_UNPROVEN", 2)
    async with worker(echo) as server:
        strangers = await connected(server, 3)
        with contextlib.suppress(ConnectionResetError):
            assert await strangers[0][0].read() == b""
        assert [reader.at_eof() for reader, _ in strangers[1:]] == [False, False]
        for _, writer in strangers:
            writer.close()


async def test_a_gateway_gets_in_whatever_silent_connections_there_are() -> None:
    strangers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        async with worker(echo) as server:
            for number in range(1, 4):
                strangers += await connected(server, 2 * link_server.MAX_UNPROVEN)
                assert (await link(server)).is_proven
                async with asyncio.timeout(5):
                    while len(server.connections) < number:
                        await asyncio.sleep(0.01)
            assert server.strangers <= link_server.MAX_UNPROVEN_OF_ADDRESS
    finally:
        for _, writer in strangers:
            writer.transport.abort()


async def test_whoever_says_nothing_costs_no_task_and_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def link_of(*arguments: Any, **named: Any) -> LinkConnection:
        made.append(named["address"])
        return LinkConnection(*arguments, **named)

    monkeypatch.setattr(link_server, "LinkConnection", link_of)
    async with worker(echo) as server:
        before = len(asyncio.all_tasks())
        strangers = await connected(server, 10)
        async with asyncio.timeout(5):
            while server.strangers < 10:
                await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) == before
        for _, writer in strangers:
            writer.close()
        async with asyncio.timeout(5):
            while server.strangers:
                await asyncio.sleep(0.01)
        assert not made


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n" + bytes(100), id="another protocol"),
        pytest.param(b"".join(encode(LinkFrame(FrameType.AUTH, payload=b"{}"))), id="not the first message"),
        pytest.param(b"".join(encode(LinkFrame(FrameType.HELLO, payload=b"{}"))), id="an empty hello"),
        pytest.param((2**31).to_bytes(4, "big"), id="a frame that is too long"),
    ],
)
async def test_whoever_says_what_is_no_hello_is_told_so_and_costs_no_link(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_server, "LinkConnection", None)
    async with worker(echo) as server:
        [(reader, writer)] = await connected(server, 1)
        writer.write(said)
        async with asyncio.timeout(5):
            assert b'"fault":"protocol"' in (await reader.read()).replace(b" ", b"")
        assert server.strangers == 0
        writer.close()


async def test_a_hello_may_come_byte_by_byte() -> None:
    """What was said on the doorstep is said again to the link, in its order."""
    async with worker(echo) as server:
        gateway = LinkProtocol(GATEWAY, SECRETS, clock=SystemClock(), on_drop=lambda _: None, expect=WORKER)
        [(reader, writer)] = await connected(server, 1)
        for byte in b"".join(gateway.data_to_send()):
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.0005)
        while not gateway.receive(await reader.read(10_000)):
            pass
        writer.writelines(gateway.data_to_send())
        async with asyncio.timeout(5):
            while not server.connections:
                await asyncio.sleep(0.01)
        writer.close()


async def test_a_worker_that_stops_shuts_who_waits_on_its_doorstep() -> None:
    async with worker(echo) as server:
        strangers = await connected(server, 3)
        async with asyncio.timeout(5):
            while server.strangers < 3:
                await asyncio.sleep(0.01)
    for reader, writer in strangers:
        assert await reader.read() == b""
        writer.close()


async def test_whoever_is_turned_away_again_and_again_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with worker(echo) as server:
        host, _, port = server.address.rpartition(":")
        for _ in range(50):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"x" * 64)
            await reader.read()
            writer.close()
        refused = [record for record in caplog.records if record.getMessage() == "link refused"]
        assert 1 <= len(refused) < 25


class Faulty:
    """The event loop, whose calls fail as they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str, faults: list[object]) -> None:
        self.failed = 0
        loop = asyncio.get_running_loop()
        right = getattr(loop, call)

        def wrong(*arguments: Any) -> Any:
            if not faults:
                return right(*arguments)
            self.failed += 1
            fault = faults.pop()
            if isinstance(fault, OSError):
                raise fault
            return fault

        monkeypatch.setattr(loop, call, wrong)


async def nobody() -> tuple[socket.socket, None]:
    """A connection that was reset before it was accepted, as macOS tells it."""
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours, None


@pytest.mark.parametrize(
    ("call", "faults"),
    [
        pytest.param("sock_accept", [OSError(errno.EMFILE, "full"), OSError(errno.EMFILE, "full")], id="full"),
        pytest.param("sock_accept", [OSError(errno.ECONNABORTED, "gone")], id="who came has gone"),
        pytest.param("sock_accept", [nobody], id="who came has no address"),
        pytest.param("add_reader", [OSError(errno.ENOSPC, "no watches left")], id="nothing can be watched"),
    ],
)
async def test_gateways_get_in_after_any_fault_of_one_connection(
    call: str, faults: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorstep, "PAUSE_S", 0.01)
    async with worker(echo) as server:
        # It waits for a connection already: this one is taken without a fault.
        (await link(server)).cut()
        made = [fault() if callable(fault) else fault for fault in faults]
        faulty = Faulty(monkeypatch, call, made)
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(LinkDown):
                    if (await link(server, timings=QUICK)).is_proven and faulty.failed == len(faults):
                        break


async def test_who_is_put_out_before_its_link_begins_costs_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has heard a gateway's HELLO can say it as often as he likes, and is put out for it."""
    hello = b"".join(LinkProtocol(GATEWAY, SECRETS, clock=SystemClock(), on_drop=lambda _: None).data_to_send())
    taken: list[Caller] = []
    async with worker(echo) as server:
        right = server._let_in

        def let_in(caller: Caller) -> None:
            right(caller)
            taken.append(caller)
            assert caller.cut is not None
            caller.cut()

        monkeypatch.setattr(server._doorstep, "_greeted", let_in)
        strangers = await connected(server, 3)
        for _, writer in strangers:
            writer.write(hello)
        async with asyncio.timeout(5):
            while len(taken) < 3:
                await asyncio.sleep(0.01)
        assert [caller.socket.fileno() for caller in taken] == [-1, -1, -1]
        for _, writer in strangers:
            writer.transport.abort()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::", "::1"])
def test_a_port_is_listened_at_under_any_kind_of_address(host: str) -> None:
    with link_server.listen(host, 0) as listening:
        assert listening.getsockname()[1] > 0
