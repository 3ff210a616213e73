"""The endpoints' and session URLs' other methods: trickle ICE, goodbye, and the answers that players and browsers want.

RFC 9725 sections 4.2 to 4.5.
"""

from typing import Final

from fastapi import APIRouter, Request, Response

from genlock_gateway.access.limits import MAX_SDP_BYTES, media_type, read_body, require_media_type
from genlock_gateway.access.problems import Problem, too_many
from genlock_gateway.gateway import Gateway
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.rtc.transport.ice import TooManyRestarts
from genlock_gateway.sessions.audience import Kind, PeerResource
from genlock_gateway.sessions.stream import LiveStream
from genlock_gateway.web.signalling.forward import forward
from genlock_gateway.web.signalling.offers import ROLES, SDP, new_etag, refused

TRICKLE: Final = "application/trickle-ice-sdpfrag"
KINDS: Final[tuple[Kind, ...]] = ("whip", "whep")


def router(gateway: Gateway) -> APIRouter:
    """GET, HEAD and OPTIONS of the endpoints; GET, PATCH and DELETE of the session URLs."""
    routes = APIRouter()
    for kind in KINDS:
        _add_endpoint(routes, gateway, kind)
        _add_session(routes, gateway, kind)
    return routes


def _add_endpoint(routes: APIRouter, gateway: Gateway, kind: Kind) -> None:
    url = f"/{kind}/{{namespace}}/{{name}}"

    def refuse_wrong(namespace: str, name: str, request: Request) -> None:
        gateway.access.refuse_wrong(request, f"{namespace}/{name}", ROLES[kind], needed=False)

    @routes.get(url, status_code=204, tags=[kind.upper()])
    async def endpoint(request: Request, namespace: str, name: str) -> Response:
        """There is such an endpoint (section 4.2: no content)."""
        refuse_wrong(namespace, name, request)
        await gateway.session(namespace, name)
        return Response(status_code=204, headers={"Accept-Post": SDP})

    @routes.head(url, tags=[kind.upper()])
    async def head(request: Request, namespace: str, name: str) -> Response:
        """The same, with the type that a POST takes (WHEP section 4.2)."""
        refuse_wrong(namespace, name, request)
        await gateway.session(namespace, name)
        return Response(status_code=200, media_type=SDP, headers={"Accept-Post": SDP})

    @routes.options(url, tags=[kind.upper()])
    async def options(request: Request, namespace: str, name: str) -> Response:
        """What may be sent here; needs no token (section 4.5)."""
        refuse_wrong(namespace, name, request)
        return Response(status_code=200, headers={"Accept-Post": SDP})

    @routes.options(f"{url}/{{host}}/{{resource}}", tags=[kind.upper()])
    async def session_options(request: Request, namespace: str, name: str) -> Response:
        """What may be sent to a session; needs no token (section 4.5)."""
        refuse_wrong(namespace, name, request)
        return Response(status_code=200, headers={"Accept-Patch": TRICKLE})


def _add_session(routes: APIRouter, gateway: Gateway, kind: Kind) -> None:
    url = f"/{kind}/{{namespace}}/{{name}}/{{host}}/{{resource}}"

    async def found(request: Request, resource: str) -> tuple[LiveStream, PeerResource]:
        path = request.path_params
        return await find(gateway, request, kind, path["namespace"], path["name"], resource)

    @routes.get(url, status_code=204, tags=[kind.upper()])
    @routes.head(url, status_code=204, tags=[kind.upper()])
    async def show(request: Request, host: str, resource: str) -> Response:
        """There is such a session."""
        if host != gateway.name:
            return await forward(gateway, request, host)
        await found(request, resource)
        return Response(status_code=204)

    @routes.patch(url, status_code=204, tags=[kind.upper()])
    async def trickle(request: Request, host: str, resource: str) -> Response:
        """More candidates: 204; or an ICE restart: 200 with the new credentials (section 4.3)."""
        if host != gateway.name:
            return await forward(gateway, request, host)
        _, session = await found(request, resource)
        body = await read_body(request, limit=MAX_SDP_BYTES)
        if body or media_type(request):
            require_media_type(request, TRICKLE)
        of_any = _check_tag(request, session)
        restarts = gateway.metrics.ice_restarts
        role = ROLES[kind].value
        try:
            answer = await gateway.media.patch(session.peer, body.decode("utf-8"), of_any=of_any)
        except UnicodeDecodeError:
            raise Problem(400, "the fragment is not UTF-8 text") from None
        except OfferError as error:
            raise refused(error) from error
        except TooManyRestarts as error:
            restarts.labels(role=role, result="too-many").inc()
            raise too_many(str(error), retry_after_s=error.retry_after_s) from error
        except ConnectionError:
            raise Problem(404, "there is no such session any more") from None
        if answer is None:
            return Response(status_code=204)
        restarts.labels(role=role, result="answered").inc()
        session.etag = new_etag()
        return Response(answer, 200, media_type=TRICKLE, headers={"ETag": session.etag})

    @routes.delete(url, tags=[kind.upper()])
    async def end(request: Request, host: str, resource: str) -> Response:
        """Goodbye (section 4.4)."""
        if host != gateway.name:
            return await forward(gateway, request, host)
        _, session = await found(request, resource)
        await session.peer.close("the client said goodbye")
        return Response(status_code=200)


async def find(
    gateway: Gateway, request: Request, kind: Kind, namespace: str, name: str, resource: str
) -> tuple[LiveStream, PeerResource]:
    """The session of that URL, for a client that may use it. Raises Problem (404), AccessDenied."""
    known = gateway.hub.resource(resource)
    if known is None or known[0].session != f"{namespace}/{name}" or known[1].kind != kind:
        gateway.access.refuse_wrong(request, f"{namespace}/{name}", ROLES[kind], needed=True)
        raise Problem(404, "there is no such session (any more)")
    gateway.access.require(request, known[0].record.session, ROLES[kind])
    return known


def _check_tag(request: Request, resource: PeerResource) -> bool:
    """True for `If-Match: *`, as restarts have it (section 4.3.3), also in quotes, as some clients write it.

    Clients that send no If-Match are let pass, as many do. Raises Problem (412).
    """
    wanted = request.headers.get("if-match")
    if wanted is not None and wanted.strip('"') == "*":
        return True
    if wanted is not None and wanted != resource.etag:
        raise Problem(412, "If-Match is not the session's ETag")
    return False
