"""Remote ICE candidates as they stand in SDP (RFC 8839 section 5.1): which are used and which are passed over."""

import ipaddress
from dataclasses import dataclass

from genlock_gateway.rtc.sdp.offer_error import malformed

CANDIDATE_TYPES = frozenset({"host", "srflx", "relay"})
MAX_CANDIDATES = 32
"""Most candidates that are taken from one client: each makes the gateway send checks to an address of its choice."""


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    """A UDP candidate with an IP address; nothing else is ever checked."""

    foundation: str
    priority: int
    ip: str
    port: int
    type: str


def parse_candidate(value: str) -> RemoteCandidate | None:
    """Read what stands behind `a=candidate:`.

    Returns None for a candidate that is well-formed and of no use here: TCP, mDNS and other names, an RTCP component,
    unknown types (RFC 9725 section 4.3.2 wants them ignored). Raises OfferError for a line that breaks the grammar.
    """
    fields = value.split()
    if len(fields) < 8 or fields[6] != "typ":
        raise malformed("a candidate needs foundation, component, transport, priority, address, port and type")
    foundation, component, transport, priority, address, port = fields[:6]
    if not (component.isascii() and component.isdigit() and priority.isascii() and priority.isdigit()):
        raise malformed("component and priority of a candidate are numbers")
    if not (port.isascii() and port.isdigit()) or max(map(len, (component, priority, port))) > 10:
        raise malformed("the port of a candidate is a number")
    usable = (
        int(component) == 1
        and transport.lower() == "udp"
        and fields[7] in CANDIDATE_TYPES
        and 0 < int(port) < 65536
        and 0 < int(priority) < 2**32
        and len(foundation) <= 32
        and foundation.isascii()
    )
    if not usable:
        return None
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    if ip.is_multicast or ip.is_unspecified or "%" in address:
        return None
    return RemoteCandidate(foundation, int(priority), str(ip), int(port), fields[7])
