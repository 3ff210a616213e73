"""The first thing that sees a request: is it for this gateway, and whose is it?

It stands round the whole application, so no route, no method and no `Origin` comes before it.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from genlock_gateway.edge.forwarded import NamedProxies
from genlock_gateway.edge.names import OwnNames, parse_authority

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^?#]*)?", re.IGNORECASE)


class _Refused(Exception):
    """A request that nobody here answers. `reason` is a word that clients and metrics have."""

    def __init__(self, status: HTTPStatus, reason: str, detail: str) -> None:
        self.status = status
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class Entrance:
    """Passes on what is for this gateway, with the client's address in `scope["client"]`. Nothing but HTTP comes."""

    def __init__(self, app: ASGIApp, *, names: OwnNames, proxies: NamedProxies, refused: Callable[[str], None]) -> None:
        """`refused` is told the reason of each refusal."""
        self._app = app
        self._names = names
        self._proxies = proxies
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _in_origin_form(scope)
            self._check_name(scope)
        except _Refused as refusal:
            self._refused(refusal.reason)
            await _problem(refusal)(scope, receive, send)
            return

        self._find_client(scope)
        await self._app(scope, receive, send)

    def _check_name(self, scope: Scope) -> None:
        """Raises _Refused unless the request names this gateway."""
        host = Headers(scope=scope).get("host", "")
        authority = parse_authority(host)
        if authority is None:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "no-name", "the request must name a host (Host: HOST:PORT)")
        if not self._names.include(authority):
            raise _Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "unknown-name",
                f"this gateway is not {authority.host}: ask for it by an IP address or as localhost, or tell it that "
                f"name (--server-name {authority.host})",
            )

    def _find_client(self, scope: Scope) -> None:
        """Put the client in the place of a named proxy that speaks for it."""
        peer = scope["client"]
        if peer is None or peer[0] not in self._proxies:
            return

        headers = Headers(scope=scope)
        client = self._proxies.client(peer[0], headers.getlist("x-forwarded-for"))
        if client != peer[0]:
            scope["client"] = (client, 0)
        scheme = headers.get("x-forwarded-proto", "").strip().lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme


def _in_origin_form(scope: Scope) -> None:
    """Write a request for a whole URL as one for its path: then the URL's host counts, whatever `Host` says (RFC 9112
    section 3.2.2). Raises _Refused for what names no path."""
    target: bytes = scope["raw_path"]
    if target.startswith(b"/") or (target == b"*" and scope["method"] == "OPTIONS"):
        return

    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise _Refused(HTTPStatus.BAD_REQUEST, "bad-target", "the request must be for a path of this gateway")
    path = found[2] or b"/"
    scope["raw_path"] = path
    scope["path"] = unquote(path.decode("ascii"))
    MutableHeaders(scope=scope)["host"] = found[1].decode("ascii")


def _problem(refused: _Refused) -> JSONResponse:
    """A problem document (RFC 9457), like any other refusal's."""
    body = {
        "type": "about:blank",
        "title": refused.status.phrase,
        "status": refused.status,
        "detail": refused.detail,
        "reason": refused.reason,
    }
    # The connection ends: what else comes on it is not for this gateway either, nor is the rest of a body.
    return JSONResponse(body, refused.status, headers={"Connection": "close"}, media_type="application/problem+json")
