"""One publisher follows another: its own new connection, one that died, one that hangs; and never one that is live."""

import asyncio
import json
import secrets
from typing import Any

import pytest

from genlock_core.claims import keys
from genlock_core.claims.liveness import PUBLISHER_CANDIDATES
from genlock_gateway.rtc.ingest.receive import IngestPeer
from genlock_gateway.sessions import publisher_slot
from tests.gateway.installation import SDP, Installation, Peer, Running, more_pictures, until, viewer_of
from tests.gateway.rtc.clients import Client

WHIP = "/whip/default/demo"


def dead_offer() -> str:
    """A publisher's offer that nobody will ever connect for."""
    digest = ":".join(f"{byte:02X}" for byte in secrets.token_bytes(32))
    return (
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n"
        "a=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\n"
        "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\na=ice-ufrag:abcd\r\n"
        f"a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {digest}\r\na=setup:actpass\r\n"
    )


def sockets(client: Client) -> list[Any]:
    """The ICE agent's, one per address."""
    transport = client.connection.getTransceivers()[0].sender.transport.transport
    return list(transport.iceGatherer._connection._protocols)


def pull_the_plug(client: Client) -> None:
    """Nothing comes or goes any more, and nobody says goodbye: a killed process, a lost network."""
    for protocol in sockets(client):
        protocol.datagram_received = lambda *_: None
        protocol.transport.sendto = lambda *_: None


def plug_in(client: Client) -> None:
    for protocol in sockets(client):
        del protocol.datagram_received
        del protocol.transport.sendto


def publisher_of(gateway: Running) -> str:
    """The WHIP resource that the gateway has as the publisher; empty if none."""
    stream = gateway.gateway.hub.find("default/demo")
    publisher = None if stream is None else stream.audience.publisher
    return "" if publisher is None else publisher.id


def candidates_of(gateway: Running) -> int:
    stream = gateway.gateway.hub.find("default/demo")
    return 0 if stream is None else len(stream.audience.candidates)


def id_of(peer: Peer) -> str:
    return peer.location.rpartition("/")[2]


async def post(
    installation: Installation, gateway: Running, name: str | None, *, takeover: bool = False
) -> tuple[int, str]:
    """An offer that never connects: the status, and the word for it."""
    headers = {**SDP, **installation.token(), **({} if name is None else {"Genlock-Publisher": name})}
    answer = await gateway.http.post(
        WHIP, content=dead_offer(), headers=headers, params={"takeover": "true"} if takeover else {}, timeout=20
    )
    reason = "" if answer.status_code == 201 else str(answer.json().get("reason", ""))
    return answer.status_code, reason


@pytest.fixture
async def live(installation: Installation) -> tuple[Running, Peer, Peer]:
    """A gateway with a live publisher named camera, and a viewer."""
    gateway = await installation.gateway("g0")
    await installation.worker()
    await installation.session()
    viewer = await installation.view(gateway)
    camera = await installation.publish(gateway)
    await more_pictures(viewer)
    return gateway, camera, viewer


# -- who is live stays -------------------------------------------------------------------------------------------------


async def test_a_second_offer_of_the_same_publisher_that_never_connects_cuts_nothing(
    installation: Installation, live: tuple[Running, Peer, Peer]
) -> None:
    gateway, camera, viewer = live
    assert await post(installation, gateway, "camera") == (201, "")
    await more_pictures(viewer, 30)
    assert publisher_of(gateway) == id_of(camera)
    assert camera.client.connection.connectionState == "connected"
    assert candidates_of(gateway) == 1


async def test_an_offer_flood_moves_nothing_and_leaves_three_candidates(
    installation: Installation, live: tuple[Running, Peer, Peer]
) -> None:
    gateway, camera, viewer = live
    run = installation.workers[0].received[-1].run
    statuses: list[int] = []

    async def flood(number: int) -> None:
        for one in range(20):
            name = "camera" if one % 2 else f"stranger {number}-{one}"
            statuses.append((await post(installation, gateway, name, takeover=True))[0])

    frames = len(viewer_of(viewer).pictures)
    await asyncio.gather(*(flood(number) for number in range(10)))
    assert set(statuses) == {201, 409}
    await until(lambda: candidates_of(gateway) <= PUBLISHER_CANDIDATES + 1)
    peers = gateway.gateway.hub.peers
    assert peers <= 2 + PUBLISHER_CANDIDATES + 1, "what was refused or replaced has left nothing behind"
    assert await installation.store.hlen(f"{keys.PREFIX}publisher:default/demo:candidates") <= PUBLISHER_CANDIDATES + 1
    await more_pictures(viewer, 10)
    assert len(viewer_of(viewer).pictures) > frames + 10
    assert publisher_of(gateway) == id_of(camera)
    assert {media.run for media in installation.workers[0].received} == {run}


async def test_two_without_a_name_or_a_token_are_two_though_they_have_one_address(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.worker()
    await installation.session(access={"publish": "Public", "view": "Public"})
    first = await installation.publish(gateway, name=None, token=False)
    second = await installation.publish(gateway, name=None, token=False)
    assert (first.response.status_code, second.response.status_code) == (201, 409)
    assert second.response.json()["reason"] == "another-publisher"
    assert int(second.response.headers["Retry-After"]) > 0


async def test_a_still_source_answers_and_stays(
    installation: Installation, live: tuple[Running, Peer, Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_slot, "QUIET_S", 0.2)
    gateway, camera, _ = live
    await installation.cameras[0].stop()
    await camera.client.connection.getTransceivers()[0].sender.stop()  # no RTCP either
    publisher = gateway.gateway.hub.streams[0].audience.publisher
    assert publisher is not None
    assert isinstance(publisher.peer, IngestPeer)
    peer = publisher.peer
    await until(lambda: peer.quiet_s > 1)
    assert await post(installation, gateway, "other") == (409, "another-publisher")
    assert publisher_of(gateway) == id_of(camera)


# -- who follows -------------------------------------------------------------------------------------------------------


async def test_the_same_publishers_new_connection_wins_once_it_is_connected(
    installation: Installation, live: tuple[Running, Peer, Peer]
) -> None:
    gateway, camera, viewer = live
    again = await installation.publish(gateway, name="camera")
    await until(lambda: publisher_of(gateway) == id_of(again))
    await until(lambda: camera.client.connection.connectionState == "closed")
    assert any(json.loads(text)["type"] == "replaced" for text in camera.client.messages)
    await more_pictures(viewer, 10)
    assert candidates_of(gateway) == 0


async def test_what_is_sent_before_the_slot_is_granted_is_shown_once_it_is(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, worker = await installation.gateway(), await installation.worker()
    await installation.session()
    granted, promote = asyncio.Event(), gateway.gateway.slots.promote

    async def later(*given: Any, **named: Any) -> None:
        await granted.wait()
        await promote(*given, **named)

    monkeypatch.setattr(publisher_slot.PublisherSlots, "promote", lambda self, *given, **named: later(*given, **named))
    await installation.publish(gateway, start=False)
    camera = installation.cameras[0]
    camera.publisher.send([camera.unit])
    stream = gateway.gateway.hub.find("default/demo")
    assert stream is not None
    await until(lambda: bool(stream.source._early))
    assert not worker.received
    granted.set()
    await until(lambda: bool(worker.received))
    assert worker.received[0].unit.key_frame
    assert worker.received[0].run > 0


async def test_a_publisher_that_was_killed_is_followed_within_seconds_by_whoever_asks(
    installation: Installation, live: tuple[Running, Peer, Peer]
) -> None:
    gateway, camera, viewer = live
    pull_the_plug(camera.client)
    began = asyncio.get_running_loop().time()
    other = await installation.publish(gateway, name="other")
    waited_s = asyncio.get_running_loop().time() - began
    assert other.response.status_code == 201, other.response.text
    assert waited_s >= publisher_slot.QUIET_S - 0.5, "the one that was there had its three seconds"
    await until(lambda: publisher_of(gateway) == id_of(other))
    await more_pictures(viewer, 5)


async def test_the_holders_gateway_asks_it_for_a_contender_at_another_gateway(
    installation: Installation, live: tuple[Running, Peer, Peer]
) -> None:
    one, camera, viewer = live
    two = await installation.gateway("g1")
    assert await post(installation, two, "other") == (409, "another-publisher")
    pull_the_plug(camera.client)
    other = await installation.publish(two, name="other")
    if other.response.status_code == 409:
        other = await installation.publish(two, name="other")
    assert other.response.status_code == 201
    await until(lambda: publisher_of(two) == id_of(other))
    await until(lambda: not publisher_of(one))
    await more_pictures(viewer, 5)


async def test_a_holder_that_is_there_again_before_its_successor_keeps_its_slot(
    installation: Installation, live: tuple[Running, Peer, Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_slot, "QUIET_S", 0.5)
    gateway, camera, viewer = live
    pull_the_plug(camera.client)
    assert await post(installation, gateway, "other") == (201, "")
    plug_in(camera.client)
    await more_pictures(viewer, 5)
    slot = f"{keys.PREFIX}publisher:default/demo"
    async with asyncio.timeout(10):
        while await installation.store.hexists(slot, "silent"):
            await asyncio.sleep(0.05)
    assert publisher_of(gateway) == id_of(camera)
    assert await post(installation, gateway, "third") == (409, "another-publisher")


async def test_a_publisher_that_hangs_is_followed_by_whoever_says_that_it_takes_over(
    installation: Installation, live: tuple[Running, Peer, Peer]
) -> None:
    gateway, camera, viewer = live
    await installation.cameras[0].stop()
    other = await installation.publish(gateway, name="other", takeover=True)
    assert other.response.status_code == 201
    await until(lambda: publisher_of(gateway) == id_of(other))
    await until(lambda: camera.client.connection.connectionState == "closed")
    await more_pictures(viewer, 5)
    # The one that was replaced comes back, and is another one now.
    assert await post(installation, gateway, "camera") == (409, "another-publisher")


async def test_of_two_that_follow_at_once_one_wins_and_the_other_hears_why(
    installation: Installation, live: tuple[Running, Peer, Peer]
) -> None:
    gateway, camera, viewer = live
    two = await installation.gateway("g1")
    both = await asyncio.gather(
        installation.publish(gateway, name="a", takeover=True), installation.publish(two, name="b", takeover=True)
    )
    assert [peer.response.status_code for peer in both] == [201, 201]
    await until(lambda: any(peer.client.connection.connectionState == "closed" for peer in both))
    await until(lambda: not candidates_of(gateway) and not candidates_of(two))
    await until(lambda: camera.client.connection.connectionState == "closed")
    assert (publisher_of(gateway) != "") + (publisher_of(two) != "") == 1
    told = [json.loads(text) for peer in both for text in peer.client.messages]
    assert [one["reason"] for one in told if one["type"] == "replaced"] == [
        "default/demo: another publication came first"
    ]
    await more_pictures(viewer, 5)


async def test_the_slot_of_a_gateway_that_died_is_free_for_others(
    installation: Installation, live: tuple[Running, Peer, Peer]
) -> None:
    one, _, _ = live
    two = await installation.gateway("g1")
    await one.gateway.maintenance.stop()  # its process has gone: nobody keeps the slot
    other = await installation.publish(two, name="other")
    assert other.response.status_code == 201
    await until(lambda: publisher_of(two) == id_of(other))


async def test_a_gateway_that_drains_does_not_wait_for_those_who_have_not_connected(installation: Installation) -> None:
    gateway = await installation.gateway("g0", "--drain-timeout", "60s")
    await installation.worker()
    await installation.session()
    assert (await post(installation, gateway, "camera"))[0] == 201
    await asyncio.wait_for(gateway.gateway.drain(), publisher_slot.CANDIDATE_S / 2)
