"""The pages in a real browser whose network changes, or lets no UDP through."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from genlock_gateway.rtc.sdp.answer import LocalTransport
from genlock_gateway.rtc.transport.peer import PeerTransport
from tests.gateway.installation import Installation
from tests.process.pages import browser, playing
from tests.turn_servers import TurnServer
from tests.udp_relay import UdpRelay


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[UdpRelay]]:
    """Clients are told the last of these instead of the gateway's own port; none of them: its own."""
    relays: list[UdpRelay] = []
    told = PeerTransport._local

    def local(transport: PeerTransport) -> LocalTransport:
        own = told(transport)
        return replace(own, port=relays[-1].address[1]) if relays else own

    monkeypatch.setattr(PeerTransport, "_local", local)
    yield relays
    for relay in relays:
        relay.stop()


@pytest.mark.browser
async def test_a_page_whose_network_is_another_one_goes_on_under_the_same_session(
    installation: Installation, networks: list[UdpRelay], browser_executable: Path
) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session(access={"publish": "Token", "view": "Public"})
    await installation.publish(gateway)
    stream = gateway.gateway.hub.find("default/demo")
    assert stream is not None

    def network() -> UdpRelay:
        relay = UdpRelay()
        relay.start(("127.0.0.1", gateway.gateway.media.port))
        networks.append(relay)
        return relay

    first = network()
    async with browser(browser_executable) as context:
        page = await context.new_page()
        await page.goto(f"{gateway.url}/watch/default/demo")
        await playing(page)
        (viewer,) = stream.audience.viewers
        assert first.passed["down", "media"] > 0
        keys = viewer.peer.transport.srtp_keys

        second = network()
        first.blocked = True
        await playing(page)
        assert second.passed["down", "media"] > 0
        assert stream.audience.viewers == {viewer}, "the same session: it did not come again as another viewer"
        assert viewer.peer.transport.srtp_keys is keys, "DTLS went on"


@pytest.mark.browser
async def test_a_page_on_a_network_without_udp_plays_by_a_turn_server(
    turn_server: TurnServer, installation: Installation, browser_executable: Path
) -> None:
    options = ("--ice-server", turn_server.tcp, "--turn-secret-file", str(turn_server.secret_file))
    gateway, _ = await installation.gateway("g0", *options), await installation.worker()
    await installation.session(access={"publish": "Token", "view": "Public"})
    await installation.publish(gateway)
    async with browser(browser_executable, "--webrtc-ip-handling-policy=disable_non_proxied_udp") as context:
        page = await context.new_page()
        await page.goto(f"{gateway.url}/watch/default/demo")
        await playing(page)
