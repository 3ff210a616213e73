"""A media plane on loopback, and clients that stay on loopback too."""

import asyncio
from collections.abc import AsyncIterator

import aioice.ice
import pytest

from genlock_core.clock import SystemClock
from genlock_gateway.rtc.media_plane import MediaPlane
from tests.gateway.rtc.clients import Clients


@pytest.fixture(autouse=True)
def _clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves 127.0.0.1 out, and the tests send nowhere else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.fixture
async def plane() -> AsyncIterator[MediaPlane]:
    """A started plane; whatever a test leaves open is closed, and nothing may remain."""
    before = asyncio.all_tasks()
    plane = MediaPlane(hosts=["127.0.0.1"], port=0, clock=SystemClock())
    await plane.start()
    yield plane
    await plane.stop()
    demultiplexer = plane.udp_port.demultiplexer
    assert (len(demultiplexer._by_ufrag), len(demultiplexer._by_route), len(demultiplexer._by_transaction)) == (
        0,
        0,
        0,
    )
    assert not plane._peers
    left = {task.get_name() for task in asyncio.all_tasks() - before if task.get_name().startswith("rtc-")}
    assert not left


@pytest.fixture
async def clients(plane: MediaPlane) -> AsyncIterator[Clients]:
    """Real clients; they go before the plane does."""
    made = Clients()
    yield made
    await made.close()
