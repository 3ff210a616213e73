"""`X-Forwarded-For`: believed from proxies that the operator named, and from nobody else.

Each proxy appends the address that it was asked from. So only what a named proxy wrote is known to be true: the list is
read from its right end, and the first address that is no named proxy's is the client's. Whatever stands left of that,
the client may have written itself.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from genlock_core.process.address_groups import parse_address
from genlock_core.process.values import Kind
from genlock_gateway.edge.addresses import IpNetwork

MAX_HOPS: Final = 32
"""No way to a gateway has so many proxies; the rest of a longer list is not read."""

_ELEMENT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")


def parse_element(text: str) -> str | None:
    """The address in one element of the list, with or without a port; None for what is none, such as `unknown`."""
    found = _ELEMENT.fullmatch(text.strip(" \t"))
    if found is None:
        return None
    address = parse_address(found[1] or found[2] or found[3])
    return None if address is None else str(address)


def _network(text: str) -> IpNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("must be an IP address or a network, such as 192.0.2.1, 10.42.0.0/16 or fd00::/8") from None


PROXY: Final = Kind("IP or NETWORK", _network, {"type": "string", "pattern": r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"})


@dataclass(frozen=True, slots=True)
class NamedProxies:
    """The proxies whose word counts; none of them by default, also not this machine."""

    networks: tuple[IpNetwork, ...] = ()

    def __contains__(self, address: str) -> bool:
        found = parse_address(address)
        return found is not None and any(found in network for network in self.networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address. `peer`: who connected; `forwarded`: the values of X-Forwarded-For, in their order."""
        client = peer
        for value in reversed(",".join(forwarded).split(",")[-MAX_HOPS:]):
            if client not in self:
                break
            said = parse_element(value)
            if said is None:
                # Who wrote that is known; whom it speaks of is not. So it is the proxy's own request.
                break
            client = said
        return client
