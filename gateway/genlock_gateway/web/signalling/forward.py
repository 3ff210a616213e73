"""Requests for a WHIP or WHEP session that lives at another gateway: passed on to the gateway that its URL names.

Only once: a request that was passed on already is answered here, so a wrong registry makes a 404 and never a loop.
Access is checked where the session lives; the token travels along, and with it a proof of whose request it is.
"""

import logging
from collections.abc import AsyncIterator
from typing import Final

import httpx
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from genlock_core.tokens import Role
from genlock_gateway.access.gateway_proof import HEADER
from genlock_gateway.access.limits import MAX_SDP_BYTES, read_body
from genlock_gateway.access.problems import Problem, unavailable
from genlock_gateway.gateway import Gateway

logger = logging.getLogger(__name__)

FORWARDED: Final = "Genlock-Forwarded-By"
_SENT: Final = ("authorization", "content-type", "if-match", "accept", "origin")
_RETURNED: Final = (
    "content-type", "etag", "location", "link", "retry-after", "www-authenticate", "accept-post", "accept-patch",
    "cache-control",
)  # fmt: skip


async def forward(gateway: Gateway, request: Request, target: str) -> Response:
    """The answer of gateway `target`. Raises Problem: 404 if there is no such gateway (any more), 503 if it is mute."""
    base = None if FORWARDED in request.headers else await gateway.reads.gateways.find(target)
    if base is None:
        path = request.path_params
        role = Role.PUBLISH if request.url.path.startswith("/whip/") else Role.VIEW
        gateway.access.refuse_wrong(request, f"{path['namespace']}/{path['name']}", role, needed=True)
        raise Problem(404, "there is no such session; its gateway has gone")

    headers = {name: value for name in _SENT if (value := request.headers.get(name)) is not None}
    # The other gateway compares Origin with Host: it has to see the host that the client named.
    headers |= {FORWARDED: gateway.name, "host": request.headers.get("host", "")}
    query = f"?{request.url.query}" if request.url.query else ""
    body = await read_body(request, limit=MAX_SDP_BYTES)
    http = gateway.http_looks if request.method == "GET" else gateway.http
    outgoing = http.build_request(request.method, f"{base}{request.url.path}{query}", headers=headers, content=body)
    if request.client is not None:
        # Over there it counts as this client's, not as this gateway's.
        target = outgoing.url.raw_path.decode("ascii")
        outgoing.headers[HEADER] = gateway.proofs.sign(request.method, target, body, client=request.client.host)
    try:
        answer = await http.send(outgoing, stream=True)
    except httpx.HTTPError as error:
        logger.warning("gateway %s does not answer: %s", target, type(error).__name__)
        raise unavailable(f"gateway {target} does not answer", retry_after_s=1.0, reason="gateway-away") from None
    returned = {name: value for name in _RETURNED if (value := answer.headers.get(name)) is not None}
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        return StreamingResponse(_relayed(answer), answer.status_code, headers=returned)
    try:
        body = await answer.aread()
    except httpx.HTTPError:
        raise unavailable(f"gateway {target} does not answer", retry_after_s=1.0, reason="gateway-away") from None
    finally:
        await answer.aclose()
    return Response(body, answer.status_code, headers=returned)


async def _relayed(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx.HTTPError:
        return  # the other gateway has gone: the client's EventSource comes back by itself
    finally:
        await answer.aclose()
