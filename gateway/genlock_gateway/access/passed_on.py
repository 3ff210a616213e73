"""A request that another gateway passes on counts as its client's: before anything else looks whose it is."""

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genlock_gateway.access.gateway_proof import HEADER, GatewayProofs
from genlock_gateway.access.limits import MAX_SDP_BYTES
from genlock_gateway.access.problems import Problem
from genlock_gateway.edge.watch import vouch


class OfOtherGateways:
    """Puts the client in the place of a gateway that proves that it passes a request on, and checks the body."""

    def __init__(self, app: ASGIApp, *, proofs: GatewayProofs) -> None:
        self._app = app
        self._proofs = proofs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = Headers(scope=scope).get(HEADER.lower()) if scope["type"] == "http" else None
        passed_on = None if header is None else self._proofs.verify(header, scope["method"], target_of(scope))
        if passed_on is None:
            await self._app(scope, receive, send)
            return

        body = await _read(receive)
        if body is None or not passed_on.has(body):
            refusal = Problem(400, "the body is not the one that the other gateway has passed on")
            await refusal.response()(scope, receive, send)
            return
        scope["client"] = (passed_on.client, 0)
        # What gateways ask of each other gives way to no stranger.
        vouch(HTTPConnection(scope))
        await self._app(scope, _again(body, receive), send)


def target_of(scope: Scope) -> str:
    """Path and query as they were sent."""
    raw: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return (raw + b"?" + query if query else raw).decode("latin-1")


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None if it is larger than what gateways pass on, or its end does not come."""
    body = bytearray()
    while len(body) <= MAX_SDP_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)
    return None


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more, and then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
