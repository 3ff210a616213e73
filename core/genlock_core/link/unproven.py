"""Places for connections that have not proven yet who they are: whoever is silent never keeps a gateway out.

A place that is missing is taken from somebody: from an address that has more than its share, else from one that holds
the most. There the silent ones go first, and of those the oldest: a gateway says HELLO at once, with the name of a key
that strangers do not know. Addresses from which a peer has proven itself lose nothing to those that never had one.

Pure: it says who has to go, and closes nothing.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

MAX_KNOWN: Final = 1_024
"""Addresses from which peers have proven themselves that are remembered."""

K = TypeVar("K")


class UnprovenPlaces(Generic[K]):
    """`enter` for each connection, then `proved` or `leave`."""

    def __init__(self, *, places: int, per_address: int, greeted: Callable[[K], bool]) -> None:
        """`greeted`: whether a connection has said HELLO with a key of the installation."""
        self._places = places
        self._per_address = per_address
        self._greeted = greeted
        # Each address' connections, the oldest first.
        self._of_address: dict[str, dict[K, None]] = {}
        self._address: dict[K, str] = {}
        # The one that has proved itself longest ago is forgotten first.
        self._known: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._address)

    def enter(self, connection: K, address: str) -> K | None:
        """A connection comes; who has to go for it, which may be itself."""
        self._of_address.setdefault(address, {})[connection] = None
        self._address[connection] = address
        if len(self._of_address[address]) > self._per_address:
            return self._put_out(address)
        return self._put_out(self._largest()) if len(self._address) > self._places else None

    def proved(self, connection: K) -> None:
        """It belongs to the installation: it needs no place here, and its address is known."""
        address = self._address.get(connection)
        self.leave(connection)
        if address is None:
            return
        self._known.pop(address, None)
        self._known[address] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def leave(self, connection: K) -> None:
        """It has gone; does nothing if it has no place."""
        address = self._address.pop(connection, None)
        if address is not None:
            del self._of_address[address][connection]
            if not self._of_address[address]:
                del self._of_address[address]

    def _largest(self) -> str:
        """Of the addresses that nobody has proven himself from, if there are any, the one that holds the most."""
        strangers = [address for address in self._of_address if address not in self._known]
        return max(strangers or self._of_address, key=lambda address: len(self._of_address[address]))

    def _put_out(self, address: str) -> K:
        held = self._of_address[address]
        silent = (connection for connection in held if not self._greeted(connection))
        chosen = next(silent, None) or next(iter(held))
        self.leave(chosen)
        return chosen
