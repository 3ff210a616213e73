import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aioice import ice

from genlock_cli.api import GatewayProblem
from genlock_cli.clients.whep import WhepViewer
from genlock_cli.clients.whip import WhipPublisher
from tests.cli.whep_gateway import WhepGateway, whep_gateway


@pytest.fixture
async def gateway() -> AsyncIterator[WhepGateway]:
    async with whep_gateway() as gateway:
        yield gateway


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[ice.StunProtocol]:
    """The UDP peers that a client or the gateway opened and did not close."""
    opened: list[ice.StunProtocol] = []
    made, lost = ice.StunProtocol.connection_made, ice.StunProtocol.connection_lost

    def connection_made(self: ice.StunProtocol, transport: asyncio.DatagramTransport) -> None:
        opened.append(self)
        made(self, transport)

    def connection_lost(self: ice.StunProtocol, error: Exception | None) -> None:
        opened.remove(self)
        lost(self, error)

    monkeypatch.setattr(ice.StunProtocol, "connection_made", connection_made)
    monkeypatch.setattr(ice.StunProtocol, "connection_lost", connection_lost)
    return opened


async def test_a_client_that_closes_keeps_no_socket_and_deletes_its_session(
    gateway: WhepGateway, sockets: list[ice.StunProtocol]
) -> None:
    viewer = WhepViewer(gateway.url)
    await viewer.watch()
    assert sockets
    await viewer.close()
    await viewer.close()
    await gateway.peers["0"].close()
    assert not sockets
    assert gateway.deleted == ["0"]


async def test_a_client_that_is_refused_keeps_no_socket(gateway: WhepGateway, sockets: list[ice.StunProtocol]) -> None:
    gateway.refuses_with = 503
    viewer = WhepViewer(gateway.url)
    with pytest.raises(GatewayProblem):
        await viewer.watch()
    assert sockets
    await viewer.close()
    assert not sockets
    assert not gateway.deleted


async def test_a_close_whose_caller_is_cancelled_goes_on(gateway: WhepGateway, sockets: list[ice.StunProtocol]) -> None:
    viewer = WhepViewer(gateway.url)
    await viewer.watch()
    closing = asyncio.create_task(viewer.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    assert closing.cancelled()
    async with asyncio.timeout(10):
        await viewer.close()
    await gateway.peers["0"].close()
    assert not sockets
    assert gateway.deleted == ["0"]


async def test_a_publisher_hears_why_no_picture_is_made_and_when_that_is_over() -> None:
    publisher = WhipPublisher("http://127.0.0.1:1/whip/default/demo")
    told = []
    for said in ({"trouble": "no-key-frame"}, {"trouble": None}, {}):
        publisher._hear(json.dumps({"type": "state", **said}))
        told.append(publisher.trouble)
    publisher._hear(json.dumps({"type": "stats", "trouble": "undecodable"}))
    assert [*told, publisher.trouble] == ["no-key-frame", "", "", ""]
    await publisher.close()
