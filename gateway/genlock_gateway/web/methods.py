"""What every URL owes to each method (RFC 9110): HEAD where there is GET, OPTIONS everywhere, `Allow` in each 405.

The framework makes a route of each method and names in a 405 only the first one's, so this stands round all of them.
"""

from collections.abc import Iterable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILES: Final = frozenset({"GET", "HEAD"})
"""What a folder of files answers to."""


class Methods:
    """Answers HEAD and OPTIONS for routes that do not themselves, and completes the 405s. `routes`: all of them."""

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        own = self._of_the_path(scope)
        allowed = own | {"OPTIONS"} | ({"HEAD"} if "GET" in own else set())
        allow = ", ".join(sorted(allowed))

        async def send_with_allow(message: Message) -> None:
            said = message["type"] == "http.response.start" and own
            if said and (message["status"] == 405 or scope["method"] == "OPTIONS"):
                MutableHeaders(scope=message)["Allow"] = allow
            await send(message)

        method = scope["method"]
        if method == "OPTIONS" and own and "OPTIONS" not in own:
            await Response(status_code=204)(scope, receive, send_with_allow)
        elif method == "HEAD" and "HEAD" not in own and "GET" in own:
            await self._head(scope, receive, send)
        else:
            await self._app(scope, receive, send_with_allow)

    def _of_the_path(self, scope: Scope) -> set[str]:
        """The methods that the path's routes were made for; none where there is no such path."""
        methods: set[str] = set()
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                methods |= FILES if isinstance(route, Mount) else getattr(route, "methods", None) or set()
        return methods

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What GET would say, without its body (RFC 9110 section 9.3.2)."""
        ended = False

        async def send_head(message: Message) -> None:
            nonlocal ended
            if message["type"] != "http.response.body":
                await send(message)
            elif not ended:
                # The end, at once: a stream of events hears of it as of a client that has gone.
                ended = True
                await send({"type": "http.response.body", "body": b""})

        # In place, so that whoever counts requests finds the route that the router notes in the scope.
        scope["method"] = "GET"
        try:
            await self._app(scope, receive, send_head)
        finally:
            scope["method"] = "HEAD"
