"""ICE restarts under a live stream: new credentials and a new way, the same session, DTLS and picture."""

import asyncio
import itertools
from typing import cast

import aioice.stun
import pytest
from aioice import stun

from genlock_core.clock import ManualClock, SystemClock
from genlock_core.media import AccessUnit, Codec
from genlock_gateway.rtc.egress.fanout import Fanout
from genlock_gateway.rtc.media_plane import MediaPlane
from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.rtc.transport import aiortc_private, ice
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
        self.routes: list[Route] = []

    def send(self, data: bytes, route: Route) -> None:
        self.sent.append(data)
        self.routes.append(route)


CLIENT = IceCredentials("abcd", "p" * 22)
THERE = Route(0, ("192.0.2.9", 1000))


def began() -> tuple[CapturingPort, IceTransport, "asyncio.Task[None]"]:
    """A transport that waits for its client, and the task that ends when a pair is nominated."""
    port = CapturingPort()
    transport = IceTransport(cast(UdpPort, port), CLIENT, clock=ManualClock(), on_lost=lambda: None)
    transport.open()
    return port, transport, asyncio.create_task(transport.start())


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


async def test_a_client_that_asks_again_is_asked_back_at_once_although_a_check_of_it_is_under_way() -> None:
    port, transport, starting = began()
    port.demultiplexer.datagram(check(transport, nominates=False), THERE)
    await until(lambda: len(port.sent) == 2)
    first = port.sent[1]
    port.demultiplexer.datagram(check(transport), THERE)  # our check was lost
    answered, asked_again = port.sent[2:]
    assert stun.parse_message(answered).message_class == stun.Class.RESPONSE
    assert asked_again == first
    port.demultiplexer.datagram(response(asked_again), THERE)
    await starting
    assert transport.route == THERE
    await transport.close()


async def test_a_pair_whose_check_ended_with_the_first_connection_can_be_nominated_later() -> None:
    port, transport, starting = began()
    other = Route(0, ("192.0.2.9", 2000))
    port.demultiplexer.datagram(check(transport, nominates=False), other)
    await until(lambda: len(port.sent) == 2)
    port.demultiplexer.datagram(check(transport), THERE)
    await until(lambda: len(port.sent) == 4)
    port.demultiplexer.datagram(response(port.sent[-1]), THERE)
    await starting
    assert transport.route == THERE
    port.demultiplexer.datagram(check(transport), other)
    await until(lambda: len(port.sent) > 5)
    port.demultiplexer.datagram(response(port.sent[-1]), other)
    await until(lambda: transport.route == other)
    await transport.close()


async def test_a_restart_in_the_moment_of_the_nomination_wins_and_the_old_way_stays() -> None:
    port, transport, starting = began()
    port.demultiplexer.datagram(check(transport), THERE)
    await until(lambda: len(port.sent) == 2)
    port.demultiplexer.datagram(response(port.sent[-1]), THERE)
    await starting

    # The first restart is nominated, and before its task hears of that the second one comes.
    there, before = Route(0, ("192.0.2.9", 2000)), len(port.sent)
    await transport.restart(IceCredentials("wxyz", CLIENT.password))
    await asyncio.sleep(0.05)
    port.demultiplexer.datagram(check(transport), there)
    await until(lambda: len(port.sent) > before + 1)
    port.demultiplexer.datagram(response(port.sent[-1]), there)
    nominated = transport._next
    assert nominated is not None
    while nominated.agent.route is None:
        await asyncio.sleep(0)
    await transport.restart(IceCredentials("last", CLIENT.password))
    await until(lambda: len(transport._lives) == 2)  # the one that was nominated has ended
    assert (transport.route, transport.state) == (THERE, "completed")
    await transport.close()
    assert (len(port.demultiplexer._by_ufrag), len(port.demultiplexer._by_route)) == (0, 0)


async def test_a_client_that_asks_from_ever_new_addresses_makes_no_list_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc_private, "MAX_PAIRS", 3)
    port, transport, starting = began()
    for number in range(10):
        port.demultiplexer.datagram(check(transport), Route(0, ("192.0.2.9", 3000 + number)))
    await asyncio.sleep(0.05)
    assert len(transport._current.agent._check_list) == 3
    await transport.close()
    await asyncio.wait([starting])


# -- what goes to an address that has not proven itself ---------------------------------------------------------------


async def test_nothing_is_sent_before_the_client_asks() -> None:
    port, transport, starting = began()
    await asyncio.sleep(0.2)
    assert port.sent == []
    await transport.close()
    await asyncio.wait([starting])


@pytest.mark.parametrize("answers", [False, True])
async def test_an_address_that_says_little_gets_three_times_its_bytes_at_most(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    if not answers:  # else a busy machine answers a check that was given up
        monkeypatch.setattr(aioice.stun, "RETRY_RTO", 0.01)
    port, transport, starting = began()
    asked = check(transport)
    port.demultiplexer.datagram(asked, THERE)
    heard = len(asked)
    if answers:
        await until(lambda: len(port.sent) >= 2)
        answer = response(port.sent[1])
        port.demultiplexer.datagram(answer, THERE)
        heard += len(answer)
        await starting
        for _ in range(20):
            transport.send(b"\x16" * 300)  # DTLS, again and again
    await asyncio.sleep(0.3)  # all retransmissions of the check
    assert 0 < sum(map(len, port.sent)) <= 3 * heard
    before = len(port.sent)
    transport.prove()
    for _ in range(20):
        transport.send(b"\x80" * 1200)
    assert len(port.sent) - before == (20 if answers else 0), "DTLS is the proof, for the nominated way only"
    await transport.close()
    await asyncio.wait([starting])


async def test_a_client_that_begins_dtls_by_another_pair_is_answered_there() -> None:
    port, transport, starting = began()
    port.demultiplexer.datagram(check(transport), THERE)
    await until(lambda: len(port.sent) == 2)
    port.demultiplexer.datagram(response(port.sent[1]), THERE)
    await starting
    other = Route(0, ("192.0.2.9", 2000))
    port.demultiplexer.datagram(check(transport, nominates=False), other)
    port.demultiplexer.datagram(b"\x16" * 300, other)
    transport.send(b"\x16" * 800)
    assert (port.routes[-1], len(port.sent[-1])) == (other, 800), "what it said there pays for the answer"
    transport.prove()
    transport.send(b"\x80" * 1200)
    assert port.routes[-1] == THERE == transport.route
    await transport.close()


async def test_a_proven_client_that_names_another_address_gets_no_more_there() -> None:
    port, transport, starting = began()
    port.demultiplexer.datagram(check(transport), THERE)
    await until(lambda: len(port.sent) == 2)
    port.demultiplexer.datagram(response(port.sent[1]), THERE)
    await starting
    transport.prove()
    victim, asked = Route(0, ("203.0.113.7", 53)), check(transport)
    port.routes.clear()
    port.sent.clear()
    port.demultiplexer.datagram(asked, victim)
    await asyncio.sleep(1.0)  # with a retransmission of the check
    sent = [size for route, size in zip(port.routes, map(len, port.sent), strict=True) if route == victim]
    assert 0 < sum(sent) <= 3 * len(asked)
    assert transport.route == THERE
    await transport.close()
