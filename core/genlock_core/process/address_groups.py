"""Whose a connection is: what counts as one client when something is shared out among addresses.

One IPv4 address is one client. So is one IPv6 network of 64 bits: a single customer has at least that much (RFC 6177),
and can send from each of its 2^64 addresses.
"""

import ipaddress
from typing import Final, TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

IPV6_GROUP_BITS: Final = 64
NOBODY: Final = "?"
"""The group of whoever has no address, as over a socket that is a file."""


def parse_address(text: str) -> IpAddress | None:
    """The address, an IPv4 one also where IPv6 wraps it (`::ffff:192.0.2.1`); None for what is none."""
    try:
        # What follows a % is an interface of this machine, not a part of the address.
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def group_of(text: str) -> str:
    """The group that an address belongs to: `192.0.2.1`, `2001:db8:1:2::/64`, or `NOBODY`."""
    address = parse_address(text)
    if address is None:
        return NOBODY
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_GROUP_BITS), strict=False))
