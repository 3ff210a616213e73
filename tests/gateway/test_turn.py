"""Clients whose network lets nothing through but a TURN server: they publish and watch by it.

The TURN server is named before the installation, so that it ends after the clients have given their relays back.
"""

import re

import pytest
from aiortc import RTCIceServer

from genlock_core.media import Codec
from genlock_gateway.ice_servers import TurnSecret
from tests.gateway.installation import Installation, more_pictures
from tests.gateway.rtc.clients import Client
from tests.turn_servers import SECRET, TurnServer


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_client_publishes_and_watches_by_a_turn_server_that_the_201_told_it_of(
    turn_server: TurnServer, installation: Installation, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(turn_server.certificate))
    url: str = getattr(turn_server, transport)
    options = ("--ice-server", url, "--turn-secret-file", str(turn_server.secret_file))
    gateway = await installation.gateway("g0", *options)
    await installation.worker()
    await installation.session()

    # What a first answer says is what a browser sets before it connects (RFC 9725, 4.6).
    first = await installation.view(gateway)
    (server,) = told(first.response.headers.get_list("link"))
    assert server.urls == url
    await first.client.close()

    installation.clients.ice_servers = [server]
    publisher, viewer = await installation.publish(gateway), await installation.view(gateway)
    await more_pictures(viewer, 5)
    stream = gateway.gateway.hub.find("default/demo")
    assert stream is not None
    relayed = {address for peer in (publisher, viewer) for address in addresses(peer.client)}
    routes = [resource.peer.transport.route for resource in stream.audience.clients]
    assert relayed >= {route.remote for route in routes if route is not None}
    assert len([route for route in routes if route is not None]) >= 2


async def test_credentials_that_have_ended_or_of_another_secret_get_no_relay(
    turn_server: TurnServer, installation: Installation
) -> None:
    for secret, until_s, relays in (
        (SECRET, 4_000_000_000, 1),
        (SECRET, 1_000_000_000, 0),
        ("another", 4_000_000_000, 0),
    ):
        name, password = TurnSecret(secret.encode()).credentials("default/demo", until_s=until_s)
        installation.clients.ice_servers = [RTCIceServer(turn_server.udp, username=name, credential=password)]
        offer = await installation.clients.viewer(Codec.H264).offer()
        assert offer.count("typ relay") == relays


def told(links: list[str]) -> list[RTCIceServer]:
    form = r'<(turns?:[^>]+)>; rel="ice-server"; username="([^"]+)"; credential="([^"]+)"; credential-type="password"'
    found = [re.fullmatch(form, link) for link in links]
    return [RTCIceServer(urls=one[1], username=one[2], credential=one[3]) for one in found if one]


def addresses(client: Client) -> set[tuple[str, int]]:
    """The client's own candidates, all of which have to be relayed."""
    found = client.ice.iceGatherer.getLocalCandidates()
    assert {one.type for one in found} == {"relay"}
    return {(one.ip, one.port) for one in found}
