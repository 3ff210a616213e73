"""What WHIP and WHEP have in common when an offer comes: may it enter, what does it say, and the 201.

Paragraphs are those of RFC 9725; draft-ietf-wish-whep-04 says the same for players unless noted.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import Request, Response

from genlock_core.claims.facts import Claim
from genlock_core.claims.record import SessionRecord
from genlock_core.errors import NoCapacity, Overloaded
from genlock_core.tokens import Role
from genlock_gateway.access.limits import MAX_SDP_BYTES, read_body, require_media_type
from genlock_gateway.access.problems import Problem
from genlock_gateway.edge.addresses import client_address
from genlock_gateway.gateway import Gateway
from genlock_gateway.ice_servers import IceServer, told
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.sessions.audience import Kind, PeerResource

SDP: Final = "application/sdp"
ROLES: Final[Mapping[Kind, Role]] = {"whip": Role.PUBLISH, "whep": Role.VIEW}


@dataclass(frozen=True, slots=True)
class Admitted:
    """An offer that may enter: its session, its text, and whether its client may control the picture.

    That is decided by the POST: messages of a data channel carry no `Origin` and no token.
    """

    record: SessionRecord
    sdp: str
    may_control: bool


async def admit(gateway: Gateway, request: Request, namespace: str, name: str, kind: Kind) -> Admitted:
    """Check a POST as far as it can be without its SDP.

    Raises Problem (410, 413, 415, 400, 503), AccessDenied, UnknownSession, RedisError.
    """
    gateway.check_open()
    record = await gateway.session_for(request, namespace, name, ROLES[kind])
    if record.finished:
        why = f" ({record.reason})" if record.reason else ""
        raise Problem(410, f"{record.name}: the session has ended{why}")
    require_media_type(request, SDP)
    body = await read_body(request, limit=MAX_SDP_BYTES)
    try:
        sdp = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "the offer is not UTF-8 text") from None
    return Admitted(record, sdp, gateway.access.allows(request, record.session, Role.PUBLISH))


async def claim_for(gateway: Gateway, request: Request, record: SessionRecord, kind: Kind) -> Claim | None:
    """The session's claim; None if the session runs here already. Where there is no room it waits a moment for some.

    Raises NoCapacity, ClientDisconnect, UnknownSession, RedisError.
    """
    stream = gateway.hub.find(record.name)
    if stream is not None and stream.wanted:
        return None
    try:
        return await gateway.offers.claim(record, address=client_address(request), leaves=lambda: _left(request))
    except NoCapacity as error:
        gateway.hub.count_blocked(kind, overloaded=isinstance(error, Overloaded))
        raise


async def _left(request: Request) -> None:
    """Return when the client of a request whose body has been read has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def refused(error: OfferError) -> Problem:
    """400 for an offer that cannot be read, 422 for one that asks for what is not served (section 4.2)."""
    return Problem(400 if error.kind == "malformed" else 422, error.message)


def new_name() -> str:
    """An unguessable name of a WHIP or WHEP session (section 4.3: its URL is all that one needs to know)."""
    return secrets.token_urlsafe(24)


def new_etag() -> str:
    """A strong entity tag (section 4.3.1)."""
    return f'"{secrets.token_hex(8)}"'


def created(
    gateway: Gateway, record: SessionRecord, resource: PeerResource, answer: str, *, links: tuple[str, ...] = ()
) -> Response:
    """201 with the answer, the session URL, its tag and the ICE servers (sections 4.2 and 4.6)."""
    response = Response(answer, 201, media_type=SDP)
    response.headers["Location"] = location(gateway, record.name, resource)
    response.headers["ETag"] = resource.etag
    response.headers["Accept-Patch"] = "application/trickle-ice-sdpfrag"
    for link in (*(ice_link(server) for server in _ice_servers(gateway, record.name)), *links):
        response.headers.append("Link", link)
    return response


def _ice_servers(gateway: Gateway, session: str) -> tuple[IceServer, ...]:
    until_s = gateway.clock.wall_ms() / 1_000 + gateway.settings.turn_lifetime_s
    return told(
        gateway.settings.ice_servers,
        gateway.settings.turn_secret,
        user=session,
        until_s=round(until_s),
    )


def location(gateway: Gateway, session: str, resource: PeerResource) -> str:
    """The session URL: it names the gateway, so that any gateway can pass requests on."""
    return f"/{resource.kind}/{session}/{gateway.name}/{resource.id}"


def ice_link(server: IceServer) -> str:
    """Section 4.6."""
    parts = [f"<{server.url}>", 'rel="ice-server"']
    if server.username is not None:
        parts += [f'username="{server.username}"', f'credential="{server.credential}"', 'credential-type="password"']
    return "; ".join(parts)
