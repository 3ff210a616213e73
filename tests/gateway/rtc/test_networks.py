"""Clients that change their network under a live stream, behind a relay that is that network.

How long a picture is away is counted in connectivity checks that passed, never in seconds.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence

import aioice.ice
import aioice.stun
import pytest

from genlock_core.clock import SystemClock
from genlock_core.media import AccessUnit, Codec
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.rtc.media_plane import MediaPlane
from genlock_gateway.rtc.transport.peer import Peer
from tests.gateway.rtc.clients import Client, Clients, Publisher, Viewer, until
from tests.gateway.rtc.clips import encode
from tests.gateway.rtc.listeners import Heard
from tests.udp_relay import UdpRelay, Wire

MOST_CHECKS = 3
"""From the client, from when its network is there until its picture is: one is answered, one more may cross it."""


@pytest.fixture
async def relay(plane: MediaPlane) -> AsyncIterator[UdpRelay]:
    relay = UdpRelay()
    relay.start(("127.0.0.1", plane.port))
    yield relay
    relay.stop()


@pytest.fixture
def _checks_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client on a network that is away tries again soon, or the tests would last."""
    monkeypatch.setattr(aioice.stun, "RETRY_RTO", 0.05)


def without_addresses(offer: str) -> str:
    """A client that can be reached through its network only."""
    return re.sub(r"a=candidate[^\r\n]*\r\n", "", offer)


async def publishing(plane: MediaPlane, relay: UdpRelay, client: Publisher, heard: Heard) -> Peer:
    offer = without_addresses(await client.offer())
    peer, answer = await plane.publish(offer, listener=heard, sink=heard)
    await client.take(relay.behind(answer))
    await until(lambda: peer.state == "connected")
    return peer


async def watching(plane: MediaPlane, relay: UdpRelay, client: Viewer, fan: Fanout, heard: Heard) -> Peer:
    offer = without_addresses(await client.offer())
    peer, answer = await plane.view(offer, {fan.codec: fan}, listener=heard)
    await client.take(relay.behind(answer))
    await client.receiving.wait()
    await until(lambda: peer.state == "connected")
    return peer


async def patched(plane: MediaPlane, relay: UdpRelay, peer: Peer, client: Client) -> str:
    """The restart over HTTP, which goes another way than media does."""
    answer = await plane.patch(peer, without_addresses(await client.begin_restart()), of_any=True)
    assert answer is not None
    return relay.behind(answer)


def pictures(count: int = 1000) -> Iterator[AccessUnit]:
    """Key frames, so that each one that arrives is a picture."""
    (unit,) = encode(Codec.H264, 1, width=160, height=128)
    for number in range(count):
        yield AccessUnit(unit.codec, key_frame=True, capture_us=number * 33_333, data=unit.data)


async def more(pictures: Sequence[object], *, than: int | None = None) -> None:
    """Wait for three more pictures, or for one more than there were."""
    wanted = len(pictures) + 3 if than is None else than + 1
    await until(lambda: len(pictures) >= wanted)


class Stage:
    """Sends a picture every 10 ms to whoever `send` is, until the test is over."""

    def __init__(self, send: object) -> None:
        self._task = asyncio.ensure_future(self._run(send))

    async def _run(self, send: object) -> None:
        for unit in pictures():
            send(unit)  # type: ignore[operator]
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def test_a_publisher_whose_network_changed_is_back_after_a_few_checks(
    plane: MediaPlane, relay: UdpRelay, clients: Clients
) -> None:
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await publishing(plane, relay, client, heard)
    stage = Stage(lambda unit: client.send([unit]))
    for _ in range(3):
        await more(heard.units)
        before = peer.transport.route

        relay.switch()
        answer = await patched(plane, relay, peer, client)
        relay.passed.clear()
        seen = len(heard.units)
        await client.finish_restart(answer)
        await more(heard.units, than=seen)

        assert relay.passed["up", "check"] <= MOST_CHECKS
        assert peer.transport.route != before
        assert relay.passed["up", "dtls"] == 0, "DTLS went on"
    await stage.end()
    assert (heard.reasons, peer.state) == ([], "connected")


@pytest.mark.usefixtures("_checks_are_quick")
async def test_a_viewer_whose_network_was_away_sees_again_a_few_checks_after_it_came_back(
    plane: MediaPlane, relay: UdpRelay, clients: Clients
) -> None:
    fan = Fanout(codec=Codec.H264, clock=SystemClock(), on_key_frame_wanted=lambda: None)
    client, heard = clients.viewer(Codec.H264), Heard()
    peer = await watching(plane, relay, client, fan, heard)
    stage = Stage(fan.push)
    await until(lambda: len(client.pictures) > 3)

    relay.blocked = True
    answer = await patched(plane, relay, peer, client)
    finishing = asyncio.ensure_future(client.finish_restart(answer))
    await asyncio.sleep(0.3)  # The timers of both ends have grown by now.
    assert not finishing.done()

    relay.switch()
    relay.passed.clear()
    relay.blocked = False
    seen = len(client.pictures)
    await finishing
    await more(client.pictures, than=seen)
    assert relay.passed["up", "check"] <= MOST_CHECKS
    await stage.end()
    assert heard.reasons == []


async def test_a_client_that_nominates_another_pair_is_followed_without_a_restart(
    plane: MediaPlane, relay: UdpRelay, clients: Clients
) -> None:
    fan = Fanout(codec=Codec.H264, clock=SystemClock(), on_key_frame_wanted=lambda: None)
    client = clients.viewer(Codec.H264)
    peer = await watching(plane, relay, client, fan, Heard())
    stage = Stage(fan.push)
    await until(lambda: len(client.pictures) > 3)
    before = peer.transport.route

    # A router that gives the client another port tells nobody; browsers nominate the pair with each check.
    relay.switch()
    agent = client.ice._connection
    pair = agent._nominated[1]
    request = agent.build_request(pair, nominate=True)
    await pair.protocol.request(request, pair.remote_addr, integrity_key=agent.remote_password.encode())
    await until(lambda: peer.transport.route != before)
    await more(client.pictures)
    await stage.end()


@pytest.mark.usefixtures("_checks_are_quick")
async def test_a_restart_over_a_bad_network_comes_through(clients: Clients, plane: MediaPlane) -> None:
    relay = UdpRelay(up=Wire(loss=0.1, delay_s=0.02, rate_bps=2e7), down=Wire(loss=0.1, delay_s=0.02, rate_bps=2e7))
    relay.start(("127.0.0.1", plane.port))
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await publishing(plane, relay, client, heard)
    stage = Stage(lambda unit: client.send([unit]))
    for _ in range(3):
        relay.switch()
        await client.finish_restart(await patched(plane, relay, peer, client))
        await more(heard.units)
    await stage.end()
    assert heard.reasons == []
    relay.stop()
