"""ICE restarts under a live stream: new credentials and a new way, the same session, DTLS and picture."""

import asyncio
import itertools
from typing import cast

import pytest
from aioice import stun

from genlock_core.clock import ManualClock, SystemClock
from genlock_core.media import AccessUnit, Codec
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.rtc.media_plane import MediaPlane
from genlock_gateway.rtc.sdp.candidate import RemoteCandidate
from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.rtc.transport import ice
from genlock_gateway.rtc.transport.demultiplexer import Demultiplexer, Route
from genlock_gateway.rtc.transport.ice import MAX_RESTARTS, RESTART_WINDOW_S, IceTransport, TooManyRestarts
from genlock_gateway.rtc.transport.peer import Peer
from genlock_gateway.rtc.transport.udp_port import HostAddress, UdpPort
from tests.gateway.rtc.clients import Client, Clients, until
from tests.gateway.rtc.clips import encode
from tests.gateway.rtc.listeners import Heard

NEW = "a=ice-ufrag:{}\r\na=ice-pwd:0123456789012345678901\r\n"


def registered(plane: MediaPlane) -> int:
    return len(plane.udp_port.demultiplexer._by_ufrag)


async def restart(plane: MediaPlane, peer: Peer, client: Client) -> str:
    answer = await plane.patch(peer, await client.begin_restart(), of_any=True)
    assert answer is not None
    await client.finish_restart(answer)
    return answer


async def published(plane: MediaPlane, client: Client, heard: Heard) -> Peer:
    peer, answer = await plane.publish(await client.offer(), listener=heard, sink=heard)
    await client.take(answer)
    await until(lambda: peer.state == "connected")
    return peer


async def test_a_publisher_restarts_in_mid_stream_and_no_picture_is_lost(plane: MediaPlane, clients: Clients) -> None:
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await published(plane, client, heard)
    before, keys = peer.transport.route, peer.transport.srtp_keys
    units = iter(encode(Codec.H264, 60))
    stop = asyncio.Event()

    async def send() -> int:
        for sent, unit in enumerate(units, start=1):
            client.send([unit])
            await asyncio.sleep(0.005)
            if stop.is_set():
                return sent
        raise AssertionError("the clip is too short")

    sending = asyncio.create_task(send())
    await until(lambda: len(heard.units) > 3)
    answer = await restart(plane, peer, client)
    await until(lambda: peer.transport.route not in (before, None))
    seen = len(heard.units)
    await until(lambda: len(heard.units) > seen + 3)
    stop.set()
    sent = await sending
    client.send([next(units)])  # or the last one would wait for a packet that shows that it is complete
    await until(lambda: len(heard.units) >= sent)
    assert "a=ice-ufrag:" in answer
    assert peer.transport.srtp_keys is keys, "DTLS went on"
    assert heard.reasons == []
    assert registered(plane) == 1, "the old credentials are gone"


async def test_a_viewer_restarts_in_mid_stream_and_sees_every_picture(plane: MediaPlane, clients: Clients) -> None:
    fan = Fanout(codec=Codec.H264, clock=SystemClock(), on_key_frame_wanted=lambda: None)
    client, heard = clients.viewer(Codec.H264), Heard()
    peer, answer = await plane.view(await client.offer(), {Codec.H264: fan}, listener=heard)
    await client.take(answer)
    await until(lambda: peer.state == "connected")
    await client.receiving.wait()
    before = peer.transport.route
    pushed: list[AccessUnit] = []

    async def push() -> None:
        for unit in encode(Codec.H264, 400):
            fan.push(unit)
            pushed.append(unit)
            await asyncio.sleep(0.01)

    pushing = asyncio.create_task(push())
    await until(lambda: len(client.pictures) > 3)
    await restart(plane, peer, client)
    await until(lambda: peer.transport.route not in (before, None))
    seen = len(client.pictures)
    await until(lambda: len(client.pictures) > seen + 5)
    pushing.cancel()
    numbers = [packet.sequence_number for packet in client.packets]
    assert set(range(numbers[0], numbers[-1] + 1)) == set(numbers), "no packet was lost"
    assert registered(plane) == 1


async def test_the_old_way_carries_the_picture_until_the_new_pair_is_nominated(
    plane: MediaPlane, clients: Clients
) -> None:
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await published(plane, client, heard)
    before = peer.transport.route
    for word in ("first", "second"):  # Nobody checks with these; the second one ends the first one.
        assert await plane.patch(peer, NEW.format(word), of_any=True) is not None
        assert registered(plane) == 2
        seen = len(heard.units)
        client.send(encode(Codec.H264, 2, first_us=(seen + 1) * 1_000_000))
        await until(lambda seen=seen: len(heard.units) > seen)  # type: ignore[misc]
        assert peer.transport.route == before
    await restart(plane, peer, client)
    await until(lambda: peer.transport.route not in (before, None))
    assert registered(plane) == 1


async def test_a_restart_that_comes_to_nothing_ends_by_itself_and_the_session_goes_on(
    plane: MediaPlane, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ice, "RESTART_TIMEOUT_S", 0.05)
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await published(plane, client, heard)
    await plane.patch(peer, NEW.format("lost"), of_any=True)
    await until(lambda: registered(plane) == 1)
    client.send(encode(Codec.H264, 2))
    await until(lambda: bool(heard.units))
    assert peer.state == "connected"


async def test_lost_consent_waits_for_a_restart_that_has_begun(plane: MediaPlane, clients: Clients) -> None:
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await published(plane, client, heard)
    answer = await plane.patch(peer, await client.begin_restart(), of_any=True)
    await peer.transport._ice._current.agent.close()  # as aioice does when consent has expired
    assert peer.transport.route is None
    assert answer is not None
    await client.finish_restart(answer)
    await until(lambda: peer.transport.route is not None)
    client.send(encode(Codec.H264, 2))
    await until(lambda: bool(heard.units))
    assert heard.reasons == []


async def test_lost_consent_ends_the_session_once_no_restart_is_left(
    plane: MediaPlane, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ice, "RESTART_TIMEOUT_S", 0.05)
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await published(plane, client, heard)
    await plane.patch(peer, NEW.format("lost"), of_any=True)
    await peer.transport._ice._current.agent.close()
    await until(lambda: bool(heard.reasons))
    assert heard.reasons == ["ICE failed"]
    with pytest.raises(ConnectionError):
        await plane.patch(peer, NEW.format("late"), of_any=True)


async def test_a_restart_before_the_first_connection_is_taken_too(plane: MediaPlane, clients: Clients) -> None:
    client, heard = clients.publisher(Codec.H264), Heard()
    offer = await client.offer()
    peer, answer = await plane.publish(offer, listener=heard, sink=heard)
    other = await plane.patch(peer, NEW.format("other"), of_any=True)
    assert other is not None
    assert other != answer
    await client.take(answer)  # the client changed its mind; the first generation is still there
    await until(lambda: peer.state == "connected")


async def test_an_answer_that_was_lost_is_given_again_and_late_candidates_change_nothing(
    plane: MediaPlane, clients: Clients
) -> None:
    client, heard = clients.publisher(Codec.H264), Heard()
    offer = await client.offer()
    peer, answer = await plane.publish(offer, listener=heard, sink=heard)
    await client.take(answer)
    await until(lambda: peer.state == "connected")
    first = next(line for line in offer.split("\r\n") if line.startswith("a=ice-ufrag"))
    fragment = await client.begin_restart()
    given = await plane.patch(peer, fragment, of_any=True)
    assert given is not None
    late = f"{first}\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
    assert await plane.patch(peer, late, of_any=False) is None
    assert registered(plane) == 2
    assert await plane.patch(peer, fragment, of_any=True) == given
    assert registered(plane) == 2
    await client.finish_restart(given)
    await until(lambda: registered(plane) == 1)


async def test_more_restarts_than_a_phone_needs_are_refused_and_change_nothing(clients: Clients) -> None:
    clock = ManualClock()
    plane = MediaPlane(hosts=["127.0.0.1"], port=0, clock=clock)
    await plane.start()
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await published(plane, client, heard)
    names = (f"name{number}" for number in itertools.count())
    for _ in range(MAX_RESTARTS):
        assert await plane.patch(peer, NEW.format(next(names)), of_any=True) is not None
    with pytest.raises(TooManyRestarts) as refused:
        await plane.patch(peer, NEW.format(next(names)), of_any=True)
    assert refused.value.retry_after_s == RESTART_WINDOW_S
    assert registered(plane) == 2
    clock.advance(RESTART_WINDOW_S)
    assert await plane.patch(peer, NEW.format(next(names)), of_any=True) is not None
    await plane.stop()
    assert registered(plane) == 0


async def test_half_a_restart_is_malformed_and_changes_nothing(plane: MediaPlane, clients: Clients) -> None:
    client, heard = clients.publisher(Codec.H264), Heard()
    peer = await published(plane, client, heard)
    with pytest.raises(OfferError) as error:
        await plane.patch(peer, "a=ice-ufrag:other\r\n", of_any=True)
    assert error.value.kind == "malformed"
    assert registered(plane) == 1
    assert peer.state == "connected"


class CapturingPort:
    """A port with one address, that keeps what is sent."""

    def __init__(self) -> None:
        self.demultiplexer = Demultiplexer()
        self.addresses = (HostAddress("192.0.2.1", 0),)
        self.port = 8189
        self.sent: list[bytes] = []

    def send(self, data: bytes, route: Route) -> None:
        self.sent.append(data)


CLIENT = IceCredentials("abcd", "p" * 22)
THERE = Route(0, ("192.0.2.9", 1000))


def check(transport: IceTransport, *, nominates: bool = True) -> bytes:
    """A connectivity check of the client."""
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{transport.local.ufrag}:{transport.newest.ufrag}"
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 1
    if nominates:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(transport.local.password.encode())
    return bytes(message)


def response(check: bytes) -> bytes:
    message = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.RESPONSE,
        transaction_id=stun.parse_message(check).transaction_id,
    )
    message.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.1", 8189)
    message.add_message_integrity(CLIENT.password.encode())
    return bytes(message)


async def test_a_client_that_asks_is_asked_back_at_once_although_a_check_of_it_is_under_way() -> None:
    port = CapturingPort()
    transport = IceTransport(cast(UdpPort, port), CLIENT, clock=ManualClock(), on_lost=lambda: None)
    transport.open()
    starting = asyncio.create_task(transport.start([RemoteCandidate("1", 1, *THERE.remote, "host")]))
    await until(lambda: len(port.sent) == 1)
    port.demultiplexer.datagram(check(transport), THERE)  # its network is there; our first check was lost
    answered, asked_again = port.sent[1:]
    assert stun.parse_message(answered).message_class == stun.Class.RESPONSE
    assert asked_again == port.sent[0]
    port.demultiplexer.datagram(response(asked_again), THERE)
    await starting
    assert transport.route == THERE
    await transport.close()


async def test_a_pair_whose_check_ended_with_the_first_connection_can_be_nominated_later() -> None:
    port = CapturingPort()
    other = Route(0, ("192.0.2.9", 2000))
    transport = IceTransport(cast(UdpPort, port), CLIENT, clock=ManualClock(), on_lost=lambda: None)
    transport.open()
    candidates = [RemoteCandidate("1", 2, *other.remote, "host"), RemoteCandidate("2", 1, *THERE.remote, "host")]
    starting = asyncio.create_task(transport.start(candidates))
    await until(lambda: len(port.sent) == 2)
    port.demultiplexer.datagram(check(transport), THERE)
    port.demultiplexer.datagram(response(port.sent[-1]), THERE)
    await starting
    assert transport.route == THERE
    port.demultiplexer.datagram(check(transport), other)
    await until(lambda: len(port.sent) > 5)
    port.demultiplexer.datagram(response(port.sent[-1]), other)
    await until(lambda: transport.route == other)
    await transport.close()


async def test_a_restart_in_the_moment_of_the_nomination_wins_and_the_old_way_stays() -> None:
    port = CapturingPort()
    transport = IceTransport(cast(UdpPort, port), CLIENT, clock=ManualClock(), on_lost=lambda: None)
    transport.open()
    starting = asyncio.create_task(transport.start([RemoteCandidate("1", 1, *THERE.remote, "host")]))
    await until(lambda: len(port.sent) == 1)
    port.demultiplexer.datagram(check(transport), THERE)
    port.demultiplexer.datagram(response(port.sent[-1]), THERE)
    await starting

    # The first restart is nominated, and before its task hears of that the second one comes.
    there, before = Route(0, ("192.0.2.9", 2000)), len(port.sent)
    await transport.restart(IceCredentials("wxyz", CLIENT.password), [RemoteCandidate("1", 1, *there.remote, "host")])
    await until(lambda: len(port.sent) > before)
    port.demultiplexer.datagram(check(transport), there)
    port.demultiplexer.datagram(response(port.sent[-1]), there)
    nominated = transport._next
    assert nominated is not None
    while nominated.agent.route is None:
        await asyncio.sleep(0)
    await transport.restart(IceCredentials("last", CLIENT.password), [])
    await until(lambda: len(transport._lives) == 2)  # the one that was nominated has ended
    assert (transport.route, transport.state) == (THERE, "completed")
    await transport.close()
    assert (len(port.demultiplexer._by_ufrag), len(port.demultiplexer._by_route)) == (0, 0)
