"""Remote ICE candidates as they stand in SDP (RFC 8839 section 5.1): their grammar, and nothing more.

No address in them is ever contacted (decision 36): a client that is there sends checks itself, and is answered where
they come from.
"""

from genlock_gateway.rtc.sdp.offer_error import malformed


def check_candidate(value: str) -> None:
    """Read what stands behind `a=candidate:`. Raises OfferError for a line that breaks the grammar."""
    fields = value.split()
    if len(fields) < 8 or fields[6] != "typ":
        raise malformed("a candidate needs foundation, component, transport, priority, address, port and type")
    _, component, _, priority, _, port = fields[:6]
    if not (component.isascii() and component.isdigit() and priority.isascii() and priority.isdigit()):
        raise malformed("component and priority of a candidate are numbers")
    if not (port.isascii() and port.isdigit()) or max(map(len, (component, priority, port))) > 10:
        raise malformed("the port of a candidate is a number")
