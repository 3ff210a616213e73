"""WHIP (RFC 9725): a publisher's offer is answered, and its connection becomes the session's source.

The offer alone moves nothing: whoever publishes goes on until the new connection stands (`sessions.publisher_slot`).
"""

import time
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from genlock_core.claims.facts import PublisherConflict, TooManyCandidates
from genlock_core.claims.publisher import Contender
from genlock_core.spec.session import SourceType
from genlock_gateway.access.access import publisher_key
from genlock_gateway.access.problems import Problem
from genlock_gateway.gateway import Gateway
from genlock_gateway.rtc.sdp.offer import parse_offer
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.sessions.audience import PeerResource
from genlock_gateway.sessions.meters.first_frame import Setup
from genlock_gateway.sessions.publisher_slot import CANDIDATE_S, Admission
from genlock_gateway.web.signalling.offers import Admitted, admit, claim_for, created, new_etag, new_name, refused
from genlock_gateway.web.signalling.peers import WebPeerListener

CONFLICT_RETRY_S: Final = 2
TakeOver = Annotated[
    bool, Query(description="Take the place of another publisher that is still there, once this one is connected.")
]


def router(gateway: Gateway) -> APIRouter:
    """`POST /whip/{namespace}/{name}`."""
    routes = APIRouter(tags=["WHIP"])

    @routes.post("/whip/{namespace}/{name}", status_code=201)
    async def publish(request: Request, namespace: str, name: str, takeover: TakeOver = False) -> Response:  # noqa: FBT002 - a query
        """Publish: an SDP offer in, an SDP answer out.

        409 while another publisher is there; one that is silent is replaced, which may take this request 4 s. 503
        while there is no room for the session; for that it waits for 2 s at most.
        """
        began_s = time.perf_counter()
        admitted = await admit(gateway, request, namespace, name, "whip")
        session = admitted.record.name
        source = admitted.record.session.source.type
        if source is not SourceType.WEBRTC:
            raise Problem(422, f"{session}: its source is {source.value}, nobody publishes to it")
        try:
            parse_offer(admitted.sdp, role="publisher")  # a broken offer need not wait
        except OfferError as error:
            raise refused(error) from error

        resource = new_name()
        contender = Contender(publisher_key(request, resource), gateway.name, resource, takeover)
        admission = await _enter(gateway, session, contender)
        try:
            with gateway.hub.reserve(session, "whip"):
                return await _answer(gateway, request, admitted, admission, began_s)
        except BaseException:
            gateway.hub.start(gateway.slots.leave(session, resource), name=f"end of offer {resource}")
            raise

    return routes


async def _enter(gateway: Gateway, session: str, contender: Contender) -> Admission:
    """Let the publisher connect. Raises Problem (409), RedisError, TimeoutError."""
    retry = {"Retry-After": str(CONFLICT_RETRY_S)}
    try:
        return await gateway.slots.enter(session, contender)
    except PublisherConflict as conflict:
        extra = {"reason": "another-publisher", "gateway": conflict.gateway}
        raise Problem(409, str(conflict), headers=retry, extra=extra) from conflict
    except TooManyCandidates as error:
        raise Problem(409, str(error), headers=retry, extra={"reason": "others-connecting"}) from error


async def _answer(
    gateway: Gateway, request: Request, admitted: Admitted, admission: Admission, began_s: float
) -> Response:
    record, contender = admitted.record, admission.contender
    entered_s = time.perf_counter()
    claim = await claim_for(gateway, request, record, "whip")
    waited_s = time.perf_counter() - entered_s
    stream = gateway.hub.stream(record)
    listener = WebPeerListener(
        gateway,
        stream,
        role="publish",
        began_s=began_s,
        on_connected=lambda resource: gateway.slots.promote(stream, resource, admission),
        on_closed=lambda: gateway.slots.leave(record.name, contender.resource),
    )
    try:
        peer, answer = await gateway.media.publish(
            admitted.sdp, listener=listener, sink=stream.source, connect_within_s=max(0.0, CANDIDATE_S - waited_s)
        )
    except OfferError as error:
        gateway.hub.drop_if_unused(stream)
        raise refused(error) from error

    resource = PeerResource(
        id=contender.resource,
        kind="whip",
        peer=peer,
        etag=new_etag(),
        may_control=True,
        messages=gateway.hub.message_bucket(),
        key=contender.key,
        admission=admission.number,
        setup=Setup(answer_s=time.perf_counter() - began_s),
    )
    listener.resource = resource
    gateway.hub.add(stream, resource)
    for replaced in stream.expect(resource, claim):
        reason = "a newer offer of the same publisher took this one's place"
        gateway.hub.start(replaced.peer.close(reason), name=f"end of peer {replaced.id}")
    return created(gateway, record, resource, answer)
