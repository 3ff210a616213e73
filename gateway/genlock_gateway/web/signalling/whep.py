"""WHEP (draft-ietf-wish-whep-04): a player's offer becomes a viewer of the session."""

import time
from typing import Final

from fastapi import APIRouter, Request, Response

from genlock_gateway.gateway import Gateway
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.sessions.audience import PeerResource
from genlock_gateway.web.signalling.offers import (
    Admitted,
    admit,
    claim_for,
    created,
    location,
    new_etag,
    new_name,
    refused,
)
from genlock_gateway.web.signalling.peers import WebPeerListener

EVENTS_REL: Final = "urn:ietf:params:whep:ext:core:server-sent-events"
EVENTS: Final = ("active", "inactive", "reconnect", "viewercount")


def router(gateway: Gateway) -> APIRouter:
    """`POST /whep/{namespace}/{name}`."""
    routes = APIRouter(tags=["WHEP"])

    @routes.post("/whep/{namespace}/{name}", status_code=201)
    async def view(request: Request, namespace: str, name: str) -> Response:
        """Watch: an SDP offer in, an SDP answer out. While there is no room for the session this waits, for 2 s at
        most."""
        began_s = time.perf_counter()
        admitted = await admit(gateway, request, namespace, name, "whep")
        with gateway.hub.reserve(admitted.record.name, "whep"):
            return await _enter(gateway, request, admitted, began_s)

    return routes


async def _enter(gateway: Gateway, request: Request, admitted: Admitted, began_s: float) -> Response:
    record = admitted.record
    claim = await claim_for(gateway, request, record, "whep")
    stream = gateway.hub.stream(record)
    listener = WebPeerListener(gateway, stream, role="view", began_s=began_s)
    try:
        peer, answer = await gateway.media.view(admitted.sdp, stream.output.fanouts, listener=listener)
    except OfferError as error:
        gateway.hub.drop_if_unused(stream)
        raise refused(error) from error
    resource = PeerResource(
        id=new_name(),
        kind="whep",
        peer=peer,
        etag=new_etag(),
        may_control=admitted.may_control,
        messages=gateway.hub.message_bucket(),
    )
    listener.resource = resource
    gateway.hub.add(stream, resource)
    stream.enter(resource, claim)
    events = f'<{location(gateway, record.name, resource)}/events>; rel="{EVENTS_REL}"; events="{",".join(EVENTS)}"'
    return created(gateway, record, resource, answer, links=(events,))
