"""WHIP (RFC 9725): a publisher's offer becomes the session's source."""

import asyncio
import time

from fastapi import APIRouter, Request, Response

from genlock_core.claims.facts import PublisherConflict
from genlock_core.spec.session import SourceType
from genlock_gateway.access.access import publisher_key
from genlock_gateway.access.problems import Problem
from genlock_gateway.gateway import STORE_TIMEOUT_S, Gateway
from genlock_gateway.rtc.sdp.offer import parse_offer
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.sessions.audience import PeerResource
from genlock_gateway.web.signalling.offers import (
    Admitted,
    admit,
    claim_for,
    created,
    leave_slot,
    new_etag,
    new_name,
    refused,
)
from genlock_gateway.web.signalling.peers import WebPeerListener


def router(gateway: Gateway) -> APIRouter:
    """`POST /whip/{namespace}/{name}`."""
    routes = APIRouter(tags=["WHIP"])

    @routes.post("/whip/{namespace}/{name}", status_code=201)
    async def publish(request: Request, namespace: str, name: str) -> Response:
        """Publish: an SDP offer in, an SDP answer out."""
        began_s = time.perf_counter()
        admitted = await admit(gateway, request, namespace, name, "whip")
        source = admitted.record.session.source.type
        if source is not SourceType.WEBRTC:
            raise Problem(422, f"{admitted.record.name}: its source is {source.value}, nobody publishes to it")
        try:
            parse_offer(admitted.sdp, role="publisher")  # before the slot: a broken offer takes nothing over
        except OfferError as error:
            raise refused(error) from error
        with gateway.hub.reserve(admitted.record.name, "whip"):
            return await _enter(gateway, admitted, publisher_key(request), began_s)

    return routes


async def _enter(gateway: Gateway, admitted: Admitted, key: str, began_s: float) -> Response:
    record, identifier = admitted.record, new_name()
    claim = await claim_for(gateway, record, "whip")
    try:
        async with asyncio.timeout(STORE_TIMEOUT_S):
            slot = await gateway.publishers.enter(record.name, key=key, gateway=gateway.name, resource=identifier)
    except PublisherConflict as conflict:
        raise Problem(409, str(conflict), extra={"gateway": conflict.gateway}) from conflict
    stream = gateway.hub.stream(record)
    listener = WebPeerListener(
        gateway,
        stream,
        role="publish",
        began_s=began_s,
        on_closed=lambda: leave_slot(gateway, record.name, identifier),
    )
    try:
        peer, answer = await gateway.media.publish(admitted.sdp, listener=listener, sink=stream.source)
    except OfferError as error:
        await leave_slot(gateway, record.name, identifier)
        gateway.hub.drop_if_unused(stream)
        raise refused(error) from error
    resource = PeerResource(
        id=identifier,
        kind="whip",
        peer=peer,
        etag=new_etag(),
        may_control=True,
        messages=gateway.hub.message_bucket(),
        key=key,
        run=slot.run,
    )
    listener.resource = resource
    gateway.hub.add(stream, resource)
    previous = stream.enter(resource, claim)
    if previous is not None:
        await previous.peer.close("another publication took over")
    return created(gateway, record, resource, answer)
