"""Links to workers: shared by all that ask the same process, and closed when nobody uses them."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from genlock_core.claims.facts import Claim
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.pulse import EnginePhase
from genlock_core.link.closure import CloseCause, Closure, LinkDown
from genlock_core.link.events import ChannelOpened, LinkIdentity, MediaReceived
from genlock_core.link.messages import LinkRole, Open, Subscribe
from genlock_core.subscriptions.preview import preview_of
from genlock_gateway.sessions.upstream import links as module
from genlock_gateway.sessions.upstream.links import ChannelEvent, Links, WorkerChannel
from tests.gateway.fake_worker import FakeWorker
from tests.gateway.installation import until
from tests.gateway.sessions.gateway_room import SESSION, GatewayRoom

SECRET = b"a secret of the tests of links"


class Told:
    """A listener and a receiver of frames that keeps what comes."""

    def __init__(self) -> None:
        self.events: list[ChannelEvent] = []

    def __call__(self, channel: WorkerChannel, event: ChannelEvent) -> None:
        self.events.append(event)

    def receive(self, channel: WorkerChannel, media: MediaReceived) -> None: ...


@pytest.fixture
async def worker(room: GatewayRoom) -> AsyncIterator[FakeWorker]:
    made = FakeWorker("w0", room.claims, secret=SECRET, clock=room.clock)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def links(room: GatewayRoom) -> AsyncIterator[Links]:
    made = Links(
        identity=LinkIdentity(LinkRole.GATEWAY, "g0", "g0-1"),
        secrets=[SECRET],
        clock=room.clock,
        metrics=room.hub.shared.metrics,
    )
    yield made
    await made.close("the test is over")


async def claimed(room: GatewayRoom) -> Claim:
    await room.record()
    return await room.claims.claim(SESSION)


def request(claim: Claim) -> Open:
    return Open(session=claim.session, epoch=claim.epoch, gateway="g0")


def preview(claim: Claim) -> Subscribe:
    return Subscribe.of(preview_of(claim.session, epoch=claim.epoch, subscriber="g0"), ttl_s=5.0)


async def test_channels_and_subscriptions_to_one_worker_share_one_link(
    room: GatewayRoom, worker: FakeWorker, links: Links
) -> None:
    claim, told = await claimed(room), Told()
    first = await links.open(claim, request(claim), told, frames=told)
    second = await links.subscribe(claim, preview(claim), told)
    third = await links.open(claim, request(claim), told, frames=told)
    assert first.connection is second.connection is third.connection
    assert len({first.number, second.number, third.number}) == 3
    assert room.figure("genlock_gateway_links") == 1
    await until(lambda: sum(isinstance(event, ChannelOpened) for event in told.events) == 3)
    assert [one.request.session for one in worker.subscriptions] == [SESSION]


async def test_a_subscription_makes_the_link_that_it_needs(room: GatewayRoom, worker: FakeWorker, links: Links) -> None:
    claim, told = await claimed(room), Told()
    await links.subscribe(claim, preview(claim), told)
    await until(lambda: bool(told.events))
    assert isinstance(told.events[0], ChannelOpened)


async def test_a_link_that_nobody_uses_is_closed_after_a_while(
    room: GatewayRoom, worker: FakeWorker, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    claim, told = await claimed(room), Told()
    one = await links.open(claim, request(claim), told, frames=told)
    other = await links.open(claim, request(claim), told, frames=told)
    one.close("no viewer is left")
    assert not one.connection.closed.done()
    other.close("no viewer is left")
    await until(lambda: room.figure("genlock_gateway_links") == 0)
    assert one.connection.closed.done()
    assert not any(isinstance(event, LinkDown) for event in told.events), "who left hears nothing more"


async def test_whoever_comes_in_time_keeps_the_link(
    room: GatewayRoom, worker: FakeWorker, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, told = await claimed(room), Told()
    one = await links.open(claim, request(claim), told, frames=told)
    one.close("no viewer is left")
    link = one._link
    assert link._idle is not None
    other = await links.open(claim, request(claim), told, frames=told)
    assert other.connection is one.connection
    assert link._idle is None


async def test_everybody_on_a_link_hears_once_that_it_is_down(
    room: GatewayRoom, worker: FakeWorker, links: Links
) -> None:
    claim, told = await claimed(room), Told()
    for _ in range(2):
        await links.open(claim, request(claim), told, frames=told)
    await until(lambda: len(told.events) == 2)
    await worker.kill()
    await until(lambda: sum(isinstance(event, LinkDown) for event in told.events) == 2)
    assert room.figure("genlock_gateway_links") == 0
    with pytest.raises(LinkDown):
        await links.open(claim, request(claim), told, frames=told)


async def test_what_is_normal_for_a_worker_outlives_its_link_and_ends_with_its_process(
    monkeypatch: pytest.MonkeyPatch, links: Links
) -> None:
    first = links.rhythm(WorkerIdentity("w0", "1"))
    assert links.rhythm(WorkerIdentity("w0", "1")) is first
    assert links.rhythm(WorkerIdentity("w1", "1")) is not first
    assert links.rhythm(WorkerIdentity("w0", "2")) is not first

    monkeypatch.setattr(module, "RHYTHMS_KEPT", 2)
    kept = links.rhythm(WorkerIdentity("w1", "1"))
    for name in ("w2", "w3", "w4"):
        links.rhythm(WorkerIdentity(name, "1"))
        assert links.rhythm(WorkerIdentity("w1", "1")) is kept, "it was asked for a moment ago"


async def test_a_link_teaches_what_is_normal_for_its_worker(
    room: GatewayRoom, worker: FakeWorker, links: Links
) -> None:
    claim, told = await claimed(room), Told()
    channel = await links.open(claim, request(claim), told, frames=told)
    rhythm = links.rhythm(claim.worker)
    for _ in range(2):
        rhythm.progressed(EnginePhase.STEPPING, 2.0)
        rhythm.was_alive(2.0)
    assert channel.silence.patience_s == 3.0


async def resetting(times: int) -> tuple[asyncio.Server, str]:
    """A port that resets who comes, and at which nobody listens any more after so many."""
    resets = 0

    def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal resets
        resets += 1
        if resets == times:
            server.close()
        end: socket.socket = writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    return server, f"{host}:{port}"


async def test_a_process_whose_port_resets_before_it_is_gone_is_gone(
    room: GatewayRoom, worker: FakeWorker, links: Links
) -> None:
    claim, told = await claimed(room), Told()
    _, address = await resetting(2)
    with pytest.raises(LinkDown) as down:
        await links.open(replace(claim, address=address), request(claim), told, frames=told)
    assert down.value.cause is CloseCause.REFUSED


async def test_a_port_that_goes_on_resetting_proves_nothing(
    room: GatewayRoom, worker: FakeWorker, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESET_RETRIES_S", (0.001, 0.001))
    claim, told = await claimed(room), Told()
    server, address = await resetting(1_000)
    with pytest.raises(LinkDown) as down:
        await links.open(replace(claim, address=address), request(claim), told, frames=told)
    assert down.value.cause is CloseCause.RESET
    server.close()


async def test_a_network_that_fails_late_is_not_asked_again(
    room: GatewayRoom, worker: FakeWorker, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six times three seconds of an address that nobody answers for would keep all waiting who ask for that worker."""
    asked = 0

    async def unreachable(address: str, **_: object) -> None:
        nonlocal asked
        asked += 1
        room.clock.advance(3.0)
        raise LinkDown(address, Closure(CloseCause.RESET, "no route to host"))

    monkeypatch.setattr(module, "connect", unreachable)
    claim, told = await claimed(room), Told()
    with pytest.raises(LinkDown, match="no route"):
        await links.open(claim, request(claim), told, frames=told)
    assert asked == 1
