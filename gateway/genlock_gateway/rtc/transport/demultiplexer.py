"""Which peer a datagram on the shared UDP port belongs to.

Pure: no socket. An address is bound to a peer only by a STUN request whose integrity was checked with that peer's
password, so a stranger can neither take a peer's place nor make any table grow; whatever cannot be placed is dropped
without a reply.
"""

import struct
from typing import Protocol

from aioice import stun

Address = tuple[str, int]

MAX_DATAGRAM_BYTES = 1500
"""Bigger ones are nobody's: WebRTC keeps below the path MTU, and libsrtp refuses them."""
MAX_ADDRESSES_PER_PEER = 32


class Endpoint(Protocol):
    """The gateway's end of one peer's transport."""

    @property
    def ice_ufrag(self) -> str: ...

    @property
    def ice_password(self) -> str: ...

    def stun_received(self, message: stun.Message, addr: Address) -> None:
        """A checked request, or the response to a request of this endpoint."""
        ...

    def data_received(self, data: bytes) -> None:
        """DTLS, SRTP or SRTCP from a bound address."""
        ...


class Demultiplexer:
    """Routes by remote address (RFC 5764 section 5.1.2), by USERNAME and by STUN transaction."""

    def __init__(self) -> None:
        self._by_ufrag: dict[str, Endpoint] = {}
        self._by_address: dict[Address, Endpoint] = {}
        self._addresses: dict[str, set[Address]] = {}
        self._by_transaction: dict[bytes, Endpoint] = {}
        self.dropped = 0

    @property
    def endpoints(self) -> int:
        return len(self._by_ufrag)

    @property
    def bound_addresses(self) -> int:
        return len(self._by_address)

    @property
    def open_transactions(self) -> int:
        return len(self._by_transaction)

    def register(self, endpoint: Endpoint) -> None:
        if endpoint.ice_ufrag in self._by_ufrag:
            raise ValueError("two peers with the same ICE user name fragment")
        self._by_ufrag[endpoint.ice_ufrag] = endpoint
        self._addresses[endpoint.ice_ufrag] = set()

    def unregister(self, endpoint: Endpoint) -> None:
        """Forget an endpoint with all that is bound to it; does nothing if it is not known."""
        if self._by_ufrag.get(endpoint.ice_ufrag) is not endpoint:
            return
        del self._by_ufrag[endpoint.ice_ufrag]
        for addr in self._addresses.pop(endpoint.ice_ufrag):
            del self._by_address[addr]
        for transaction in [key for key, value in self._by_transaction.items() if value is endpoint]:
            del self._by_transaction[transaction]

    def expect(self, transaction_id: bytes, endpoint: Endpoint) -> None:
        """A response with this id, from wherever, is the endpoint's (it checks integrity and source itself)."""
        self._by_transaction[transaction_id] = endpoint

    def forget(self, transaction_id: bytes) -> None:
        self._by_transaction.pop(transaction_id, None)

    def datagram(self, data: bytes, addr: Address) -> None:
        """Hand a datagram to its endpoint, or drop it."""
        if not 0 < len(data) <= MAX_DATAGRAM_BYTES:
            self.dropped += 1
        elif data[0] < 4:
            self._stun(data, addr)
        elif (endpoint := self._by_address.get(addr)) is not None:
            endpoint.data_received(data)
        else:
            self.dropped += 1

    def _stun(self, data: bytes, addr: Address) -> None:
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            self.dropped += 1
            return
        endpoint = (
            self._answered(message) if message.message_class != stun.Class.REQUEST else self._asked(message, addr)
        )
        if endpoint is None:
            self.dropped += 1
        else:
            endpoint.stun_received(message, addr)

    def _answered(self, message: stun.Message) -> Endpoint | None:
        if message.message_class not in (stun.Class.RESPONSE, stun.Class.ERROR):
            return None
        return self._by_transaction.get(message.transaction_id)

    def _asked(self, message: stun.Message, addr: Address) -> Endpoint | None:
        """The endpoint of a binding request that carries its password's proof; binds the address to it."""
        attributes = message.attributes
        if message.message_method != stun.Method.BINDING or not {"USERNAME", "PRIORITY"} <= attributes.keys():
            return None
        ufrag = attributes["USERNAME"].partition(":")[0]
        endpoint = self._by_ufrag.get(ufrag)
        if endpoint is None or not message.check_message_integrity(endpoint.ice_password.encode()):
            return None
        return endpoint if self._bind(ufrag, endpoint, addr) else None

    def _bind(self, ufrag: str, endpoint: Endpoint, addr: Address) -> bool:
        before = self._by_address.get(addr)
        if before is endpoint:
            return True
        if len(self._addresses[ufrag]) >= MAX_ADDRESSES_PER_PEER:
            return False
        if before is not None:
            self._addresses[before.ice_ufrag].discard(addr)
        self._by_address[addr] = endpoint
        self._addresses[ufrag].add(addr)
        return True
