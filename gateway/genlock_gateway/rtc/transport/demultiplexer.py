"""Whose datagram it is: the rules of the one UDP port, without a socket.

An address is bound to a peer only by a STUN request whose integrity was checked with that peer's password. So a
stranger can neither take a peer's place nor make any table grow. What cannot be placed is dropped without a reply.
"""

import struct
from typing import NamedTuple, Protocol

from aioice import stun

SocketAddress = tuple[str, int]

MAX_DATAGRAM_BYTES = 1500
"""Bigger ones are nobody's: WebRTC keeps below the path MTU, and libsrtp refuses them."""
MAX_ROUTES_PER_PEER = 32
MAX_INHERITED_ROUTES = 8
"""Enough for what is still on its way; the new generation has room for its own."""


class Route(NamedTuple):
    """The way between one socket of the port and one address of a client.

    An answer has to leave by the socket that was asked: a client takes it from no other address.
    """

    local: int
    """Number of the socket (`UdpPort`)."""
    remote: SocketAddress


class Endpoint(Protocol):
    """The gateway's end of one peer's transport."""

    @property
    def ice_ufrag(self) -> str: ...

    @property
    def ice_password(self) -> str: ...

    def heard(self, route: Route, size: int) -> None:
        """A datagram of so many bytes came for this endpoint; what was in it comes next."""
        ...

    def stun_received(self, message: stun.Message, route: Route) -> None:
        """A checked request, or the response to a request of this endpoint."""
        ...

    def packet_received(self, data: bytes, route: Route) -> None:
        """DTLS, SRTP or SRTCP from a bound address."""
        ...


class Demultiplexer:
    """Routes by where a datagram came from (RFC 5764 section 5.1.2), by USERNAME and by STUN transaction."""

    def __init__(self) -> None:
        self._by_ufrag: dict[str, Endpoint] = {}
        self._by_route: dict[Route, Endpoint] = {}
        self._routes: dict[str, dict[Route, None]] = {}
        """Those of each peer, in the order in which it was heard on them."""
        self._by_transaction: dict[bytes, Endpoint] = {}
        self.dropped = 0

    def register(self, endpoint: Endpoint) -> None:
        """Make an endpoint known by its user name fragment; ValueError if that is taken."""
        if endpoint.ice_ufrag in self._by_ufrag:
            raise ValueError("two peers with the same ICE user name fragment")
        self._by_ufrag[endpoint.ice_ufrag] = endpoint
        self._routes[endpoint.ice_ufrag] = {}

    def unregister(self, endpoint: Endpoint) -> None:
        """Forget an endpoint with all that is bound to it; does nothing if it is not known."""
        if self._by_ufrag.get(endpoint.ice_ufrag) is not endpoint:
            return
        del self._by_ufrag[endpoint.ice_ufrag]
        for route in self._routes.pop(endpoint.ice_ufrag):
            del self._by_route[route]
        for transaction in [key for key, value in self._by_transaction.items() if value is endpoint]:
            del self._by_transaction[transaction]

    def inherit(self, old: Endpoint, new: Endpoint) -> None:
        """What is bound to `old`, lately, is bound to `new` from now on: another generation of the same peer."""
        routes = self._routes.get(old.ice_ufrag, {})
        for route in list(routes)[-MAX_INHERITED_ROUTES:]:
            del routes[route]
            self._by_route[route] = new
            self._routes[new.ice_ufrag][route] = None

    def expect(self, transaction_id: bytes, endpoint: Endpoint) -> None:
        """A response with this id, from wherever, is the endpoint's (it checks integrity and source itself)."""
        self._by_transaction[transaction_id] = endpoint

    def forget(self, transaction_id: bytes) -> None:
        """No response with this id is waited for any more."""
        self._by_transaction.pop(transaction_id, None)

    def datagram(self, data: bytes, route: Route) -> None:
        """Hand a datagram to its endpoint, or drop it."""
        if not 0 < len(data) <= MAX_DATAGRAM_BYTES:
            self.dropped += 1
        elif data[0] < 4:
            self._stun(data, route)
        elif (endpoint := self._by_route.get(route)) is not None:
            endpoint.heard(route, len(data))
            endpoint.packet_received(data, route)
        else:
            self.dropped += 1

    def _stun(self, data: bytes, route: Route) -> None:
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            self.dropped += 1
            return
        endpoint = (
            self._answered(message) if message.message_class != stun.Class.REQUEST else self._asked(message, route)
        )
        if endpoint is None:
            self.dropped += 1
        else:
            endpoint.heard(route, len(data))
            endpoint.stun_received(message, route)

    def _answered(self, message: stun.Message) -> Endpoint | None:
        if message.message_class not in (stun.Class.RESPONSE, stun.Class.ERROR):
            return None
        return self._by_transaction.get(message.transaction_id)

    def _asked(self, message: stun.Message, route: Route) -> Endpoint | None:
        """The endpoint of a binding request that carries its password's proof; binds the route to it."""
        attributes = message.attributes
        if message.message_method != stun.Method.BINDING or not {"USERNAME", "PRIORITY"} <= attributes.keys():
            return None
        ufrag = attributes["USERNAME"].partition(":")[0]
        endpoint = self._by_ufrag.get(ufrag)
        if endpoint is None or not message.check_message_integrity(endpoint.ice_password.encode()):
            return None
        return endpoint if self._bind(ufrag, endpoint, route) else None

    def _bind(self, ufrag: str, endpoint: Endpoint, route: Route) -> bool:
        routes = self._routes[ufrag]
        before = self._by_route.get(route)
        if before is endpoint:
            routes[route] = routes.pop(route)
            return True
        if len(routes) >= MAX_ROUTES_PER_PEER:
            return False
        # The client that was there before has gone: this one has proved that it is there now.
        if before is not None:
            self._routes[before.ice_ufrag].pop(route, None)
        self._by_route[route] = endpoint
        routes[route] = None
        return True
