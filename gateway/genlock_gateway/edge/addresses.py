"""Whose a request is: the group of addresses that its client belongs to (`genlock_core.process.address_groups`)."""

import ipaddress
from typing import TypeAlias

from starlette.requests import HTTPConnection

from genlock_core.process.address_groups import NOBODY, group_of

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(request: HTTPConnection) -> str:
    """The group of the client that made the request, which is not always the peer: see `edge.forwarded`."""
    return NOBODY if request.client is None else group_of(request.client.host)
