"""How much may go to an address before it has proven that it wants media: three times what came from it.

Anybody can make a session and send one check in the name of another address. Without a bound the answers, the checks
that are sent again and DTLS' flights would be many times what was sent (RFC 9000 section 8.1 has the same rule). DTLS
is the proof: from then on the nominated way is free, and all others stay bounded.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from genlock_gateway.rtc.transport.demultiplexer import Route

TIMES: Final = 3
MAX_ROUTES: Final = 64
"""More than one client has; whoever was heard first is forgotten first, and has to be heard again."""


class SendBudget:
    """Of one client. `heard` for what comes from it, and `take` for what is about to go there."""

    def __init__(self, nominated: Callable[[], Route | None]) -> None:
        """`nominated`: the way that packets go now."""
        self._nominated = nominated
        self._proven = False
        self._left: OrderedDict[Route, int] = OrderedDict()

    def prove(self) -> None:
        """DTLS is up."""
        self._proven = True

    def heard(self, route: Route, size: int) -> None:
        """So many bytes came from there: a check with the client's proof, or what came by a way that had one."""
        if self._free(route):
            return
        self._left[route] = self._left.get(route, 0) + TIMES * size
        if len(self._left) > MAX_ROUTES:
            self._left.popitem(last=False)

    def take(self, route: Route, size: int) -> bool:
        """Whether so many bytes may go there; then they are paid for."""
        if self._free(route):
            return True
        left = self._left.get(route, 0)
        if left < size:
            return False
        self._left[route] = left - size
        return True

    def _free(self, route: Route) -> bool:
        return self._proven and route == self._nominated()
