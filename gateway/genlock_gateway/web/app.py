"""The HTTP application: routes, problem documents, CORS and the metrics of every request."""

import time
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genlock_gateway.access.access import PUBLISHER_HEADER
from genlock_gateway.access.allowances import RateLimits
from genlock_gateway.access.passed_on import OfOtherGateways
from genlock_gateway.access.problems import answer_problems
from genlock_gateway.gateway import Gateway
from genlock_gateway.web import api, health, pages, pools, preview, viewer_links
from genlock_gateway.web.description.document import DescribedApp
from genlock_gateway.web.methods import Methods
from genlock_gateway.web.signalling import events, session_urls, whep, whip

CORS_PREFIXES: Final = ("/whip/", "/whep/", "/api/")
CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": f"Authorization, Content-Type, If-Match, {PUBLISHER_HEADER}",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Retry-After, Accept-Post, Accept-Patch, Allow, "
    "WWW-Authenticate",
    "Access-Control-Max-Age": "600",
}
"""Any page may ask, as tokens never travel by themselves; `access` decides what a page of another site gets."""


def create_app(gateway: Gateway) -> FastAPI:
    """The application of one gateway. The caller starts and stops the gateway itself."""
    app = DescribedApp(
        docs_url=None,  # its pages load scripts from a CDN; `pages` has one that does not
        redoc_url=None,
    )
    app.mount("/assets", pages.assets())
    routes = list(app.routes)
    for router in routers(gateway):
        routes += router.routes
        app.include_router(router)

    answer_problems(app)
    app.add_middleware(Methods, routes=routes)
    app.add_middleware(RateLimits, allowances=gateway.allowances)
    app.add_middleware(OfOtherGateways, proofs=gateway.proofs)
    app.add_middleware(Cors)
    app.add_middleware(RequestMetrics, gateway=gateway)
    app.add_middleware(CloseOnDrain, gateway=gateway)
    return app


def routers(gateway: Gateway) -> tuple[APIRouter, ...]:
    """Everything that the gateway answers to, but for files and the description of its interface."""
    return (
        whip.router(gateway),
        whep.router(gateway),
        events.router(gateway),
        session_urls.router(gateway),
        api.router(gateway),
        preview.router(gateway),
        viewer_links.router(gateway),
        pools.router(gateway),
        health.router(gateway),
        pages.router(gateway),
    )


class CloseOnDrain:
    """A gateway that drains closes each HTTP connection with the next answer.

    The load balancer leads a new connection to another gateway, but one that is kept alive leads back here for ever.
    """

    def __init__(self, app: ASGIApp, *, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self._gateway.draining:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_and_close)


class Cors:
    """Cross-origin answers for signalling and API (RFC 9725 section 4.5); a preflight needs no token.

    What is answered depends on `Origin` (`Vary`), also to a client that sends none.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(CORS_PREFIXES):
            await self._app(scope, receive, send)
            return

        asked_by_a_page = "origin" in Headers(scope=scope)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if asked_by_a_page:
                    headers.update(CORS)
            await send(message)

        await self._app(scope, receive, send_with_cors)


class RequestMetrics:
    """Counts requests and their time by route template, so that no name of a session becomes a label."""

    def __init__(self, app: ASGIApp, *, gateway: Gateway) -> None:
        self._app = app
        self._metrics = gateway.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        began_s = time.perf_counter()
        status = 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.http_requests.labels(method=method, route=route, status=str(status)).inc()
            self._metrics.http_seconds.labels(route=route).observe(time.perf_counter() - began_s)


METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"})
