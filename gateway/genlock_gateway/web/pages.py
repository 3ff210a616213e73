"""The static pages: sessions, studio, viewer and the API's description, under a policy that lets nothing else in.

Only the viewer may stand in a frame, on the sites that the session's owner names (`access.origins`): it has nothing to
click on that another page could trick its viewer into clicking.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from redis.exceptions import RedisError
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from genlock_core.errors import UnknownSession
from genlock_core.situation.document import as_document
from genlock_core.spec.origins import ANY
from genlock_gateway.gateway import Gateway

logger = logging.getLogger(__name__)

PAGES: Final = Path(__file__).parent / "page"
_POLICY: Final = "; ".join(
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
    )
)
POLICY: Final = f"{_POLICY}; frame-ancestors 'none'"
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(self), fullscreen=(self)",
    "Cache-Control": "no-cache",
}


SITUATIONS: Final = f"export const SITUATIONS = {json.dumps(as_document(), ensure_ascii=False)};\n"


class Assets(StaticFiles):
    """The pages' files, revalidated on each use: a new release shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def assets() -> Assets:
    """What is served below /assets."""
    return Assets(directory=PAGES)


def policy_of_frames(origins: Sequence[str]) -> str:
    """The policy of a page that the named sites may frame.

    Nothing is said of frames where all may: `frame-ancestors *` would leave out pages whose origin is `null`.
    """
    if not origins:
        return POLICY
    return _POLICY if ANY in origins else f"{_POLICY}; frame-ancestors {' '.join(origins)}"


async def _origins(gateway: Gateway, namespace: str, name: str) -> Sequence[str]:
    """The sites that the session's owner names; none while that cannot be read: the page itself says what is wrong."""
    try:
        record = await gateway.session(namespace, name)
    except UnknownSession:
        return ()
    except (RedisError, OSError) as error:
        logger.warning("%s/%s: nobody may frame it, as its record cannot be read: %s", namespace, name, error)
        return ()
    return record.session.access.origins


def router(gateway: Gateway) -> APIRouter:
    """The pages."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def index() -> FileResponse:
        return FileResponse(PAGES / "index.html", headers=HEADERS)

    @routes.get("/docs")
    async def docs() -> FileResponse:
        return FileResponse(PAGES / "docs.html", headers=HEADERS)

    @routes.get("/studio/{namespace}/{name}")
    async def studio() -> FileResponse:
        return FileResponse(PAGES / "studio.html", headers=HEADERS)

    @routes.get("/watch/{namespace}/{name}")
    async def watch(namespace: str, name: str) -> FileResponse:
        policy = policy_of_frames(await _origins(gateway, namespace, name))
        return FileResponse(PAGES / "watch.html", headers={**HEADERS, "Content-Security-Policy": policy})

    @routes.get("/model")
    async def model() -> FileResponse:
        return FileResponse(PAGES / "model.html", headers=HEADERS)

    @routes.get("/situations.js")
    async def situations() -> Response:
        """What the pages say: the one table of states, as a module."""
        return Response(SITUATIONS, media_type="text/javascript", headers=HEADERS)

    return routes
