"""The static pages: the list of sessions, the studio and the viewer, under a policy that lets nothing else in."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGES: Final = Path(__file__).parent / "page"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # Thumbnails are fetched with the access token and shown from memory.
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(self), fullscreen=(self)",
    "Cache-Control": "no-cache",
}


class Assets(StaticFiles):
    """The pages' files, revalidated on each use: a new release shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def assets() -> Assets:
    """What is served below /assets."""
    return Assets(directory=PAGES)


def router() -> APIRouter:
    """The pages."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def index() -> FileResponse:
        return FileResponse(PAGES / "index.html", headers=HEADERS)

    @routes.get("/studio/{namespace}/{name}")
    async def studio() -> FileResponse:
        return FileResponse(PAGES / "studio.html", headers=HEADERS)

    @routes.get("/watch/{namespace}/{name}")
    async def watch() -> FileResponse:
        return FileResponse(PAGES / "watch.html", headers=HEADERS)

    return routes
