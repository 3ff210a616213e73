"""Whose datagram it is, and what strangers can do: nothing."""

from aioice import stun
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_gateway.rtc.transport.demultiplexer import (
    MAX_INHERITED_ROUTES,
    MAX_ROUTES_PER_PEER,
    Demultiplexer,
    Route,
)

HERE = Route(0, ("192.0.2.1", 1000))
THERE = Route(0, ("192.0.2.2", 2000))


class Peer:
    def __init__(self, ufrag: str, password: str) -> None:
        self.ice_ufrag = ufrag
        self.ice_password = password
        self.messages: list[stun.Message] = []
        self.data: list[bytes] = []
        self.heard_bytes = 0

    def heard(self, route: Route, size: int) -> None:
        self.heard_bytes += size

    def stun_received(self, message: stun.Message, route: Route) -> None:
        self.messages.append(message)

    def packet_received(self, data: bytes, route: Route) -> None:
        self.data.append(data)


def request(ufrag: str, password: str, *, priority: bool = True) -> bytes:
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{ufrag}:client"
    if priority:
        message.attributes["PRIORITY"] = 1
    message.add_message_integrity(password.encode())
    return bytes(message)


def two() -> tuple[Demultiplexer, Peer, Peer]:
    demultiplexer, a, b = Demultiplexer(), Peer("aaaa", "a" * 22), Peer("bbbb", "b" * 22)
    demultiplexer.register(a)
    demultiplexer.register(b)
    return demultiplexer, a, b


def test_an_address_belongs_to_the_peer_that_proved_its_password() -> None:
    demultiplexer, a, b = two()
    demultiplexer.datagram(request("aaaa", "a" * 22), HERE)
    demultiplexer.datagram(request("bbbb", "b" * 22), THERE)
    demultiplexer.datagram(b"\x80from here", HERE)
    demultiplexer.datagram(b"\x16from there", THERE)
    assert (a.data, b.data) == ([b"\x80from here"], [b"\x16from there"])
    assert demultiplexer.dropped == 0


def test_a_wrong_password_binds_nothing_and_takes_nothing_away() -> None:
    demultiplexer, a, b = two()
    demultiplexer.datagram(request("aaaa", "a" * 22), HERE)
    for forged in (request("bbbb", "x" * 22), request("bbbb", "a" * 22), request("none", "a" * 22)):
        demultiplexer.datagram(forged, HERE)
        demultiplexer.datagram(forged, THERE)
    demultiplexer.datagram(b"\x80data", THERE)
    demultiplexer.datagram(b"\x80data", HERE)
    assert (len(a.messages), b.messages, a.data, b.data) == (1, [], [b"\x80data"], [])
    assert len(demultiplexer._by_route) == 1
    assert demultiplexer.dropped == 7


def test_a_request_without_priority_is_dropped() -> None:
    demultiplexer, a, _ = two()
    demultiplexer.datagram(request("aaaa", "a" * 22, priority=False), HERE)
    assert (a.messages, len(demultiplexer._by_route)) == ([], 0)


def test_an_address_moves_to_another_peer_that_proves_it_is_there_now() -> None:
    demultiplexer, a, b = two()
    demultiplexer.datagram(request("aaaa", "a" * 22), HERE)
    demultiplexer.datagram(request("bbbb", "b" * 22), HERE)
    demultiplexer.datagram(b"\x80data", HERE)
    assert (a.data, b.data) == ([], [b"\x80data"])
    demultiplexer.unregister(a)
    assert len(demultiplexer._by_route) == 1
    demultiplexer.unregister(b)
    assert (len(demultiplexer._by_route), len(demultiplexer._by_ufrag)) == (0, 0)


def test_one_peer_cannot_fill_the_table() -> None:
    demultiplexer, a, _ = two()
    for port in range(1, 200):
        demultiplexer.datagram(request("aaaa", "a" * 22), Route(0, ("192.0.2.1", port)))
    assert len(demultiplexer._by_route) == len(a.messages) == MAX_ROUTES_PER_PEER


def test_a_response_finds_the_one_who_asked_and_nobody_else() -> None:
    demultiplexer, a, b = two()
    response = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.RESPONSE)
    demultiplexer.datagram(bytes(response), HERE)
    demultiplexer.expect(response.transaction_id, b)
    demultiplexer.datagram(bytes(response), HERE)
    assert (a.messages, len(b.messages), len(demultiplexer._by_route)) == ([], 1, 0)
    demultiplexer.unregister(b)
    assert len(demultiplexer._by_transaction) == 0


@given(st.binary(max_size=100), st.integers(0, 3), st.integers(0, 65535))
@settings(max_examples=200)
def test_strangers_change_nothing(data: bytes, cut: int, kind: int) -> None:
    demultiplexer, _, b = two()
    genuine = request("aaaa", "a" * 22)
    forged = data + genuine[len(data) :]
    for datagram in (data, bytes([cut]) + data, b"\x00\x01" + data, forged, b"\x80" * 1501, b""):
        demultiplexer.datagram(datagram, HERE)
    header = kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + b"t" * 12
    demultiplexer.datagram(header + data, HERE)
    assert len(demultiplexer._by_route) == (forged == genuine)
    assert (b.messages, b.data, len(demultiplexer._by_transaction)) == ([], [], 0)


def test_what_was_bound_to_a_generation_is_bound_to_the_next_one_the_latest_first() -> None:
    demultiplexer, a, b = two()
    routes = [Route(number % 2, ("192.0.2.1", number)) for number in range(MAX_INHERITED_ROUTES + 2)]
    for route in (*routes, routes[0]):
        demultiplexer.datagram(request("aaaa", "a" * 22), route)
    demultiplexer.datagram(request("bbbb", "b" * 22), THERE)
    demultiplexer.inherit(a, b)
    demultiplexer.unregister(a)
    for route in routes:
        demultiplexer.datagram(b"\x80data", route)
    assert (len(a.data), len(b.data)) == (0, MAX_INHERITED_ROUTES)
    assert routes[0] in demultiplexer._by_route, "it was heard last"
    demultiplexer.unregister(b)
    assert len(demultiplexer._by_route) == 0
