"""The site of the laboratory's own pages: another origin than the gateway, as the page of an embedder is.

A page reports over HTTP, so that a browser needs no remote control and keeps its default preferences.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from aiohttp import web

from tests.clients.heard import Heard
from tests.clients.program import BUILT, PROGRAMS

MAX_REPORT_BYTES = 32 * 1024 * 1024
"""Eight pictures as data URLs are a few megabytes."""


class Visit:
    """One page that was opened: what it tells, and until when it stays."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.over = asyncio.Event()


class Site:
    """Serves `programs/web` and what was built for pages, and hears the pages' reports."""

    def __init__(self) -> None:
        self.origin = ""
        self._visits: dict[str, Visit] = {}
        self._app = web.Application(client_max_size=MAX_REPORT_BYTES)
        self._app.router.add_post("/report", self._report)
        self._app.router.add_get("/leave", self._leave)
        self._app.router.add_get("/eyevinn.js", self._bundle)
        self._app.router.add_static("/", PROGRAMS / "web")

    @property
    def app(self) -> web.Application:
        return self._app

    def visit(self, name: str, page: str, **asked: str) -> tuple[Visit, str]:
        """A new visit, and the path of its page with what it is asked to do."""
        visit = self._visits[name] = Visit()
        return visit, f"/{page}?{urlencode({'visit': name, **asked})}"

    async def _report(self, request: web.Request) -> web.Response:
        await self._visits[request.query["visit"]].heard.hear(json.loads(await request.read()))
        return web.Response()

    async def _bundle(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(BUILT / "eyevinn.js")

    async def _leave(self, request: web.Request) -> web.Response:
        await self._visits[request.query["visit"]].over.wait()
        return web.Response()


@asynccontextmanager
async def served() -> AsyncIterator[Site]:
    """The site on a free port of this machine."""
    site = Site()
    runner = web.AppRunner(site.app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        listener = web.TCPSite(runner, "127.0.0.1", 0)
        await listener.start()
        host, port = runner.addresses[0][:2]
        site.origin = f"http://{host}:{port}"
        yield site
    finally:
        await runner.cleanup()
