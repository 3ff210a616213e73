"""The static pages: sessions, studio, viewer and the API's description, under a policy that lets nothing else in.

Only the viewer may stand in a frame, on the sites that the session's owner names (`access.origins`): it has nothing to
click on that another page could trick its viewer into clicking.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from redis.exceptions import RedisError

from genlock_core.errors import UnknownSession
from genlock_core.situation.document import as_document
from genlock_core.spec.origins import ANY
from genlock_core.store import StoreBusy
from genlock_gateway.gateway import Gateway
from genlock_gateway.web.page_files import PageFiles

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


def assets() -> PageFiles:
    """What is served below /assets. Raises OSError."""
    return PageFiles(PAGES, HEADERS)


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
    except (RedisError, OSError, StoreBusy) as error:
        logger.warning("%s/%s: nobody may frame it, as its record cannot be read: %s", namespace, name, error)
        return ()
    return record.session.access.origins


def router(gateway: Gateway) -> APIRouter:
    """The pages."""
    routes = APIRouter(include_in_schema=False)
    files = assets()

    @routes.get("/")
    async def index(request: Request) -> Response:
        return files["index.html"].response(request, HEADERS)

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        return files["docs.html"].response(request, HEADERS)

    @routes.get("/studio/{namespace}/{name}")
    async def studio(request: Request) -> Response:
        return files["studio.html"].response(request, HEADERS)

    @routes.get("/watch/{namespace}/{name}")
    async def watch(request: Request, namespace: str, name: str) -> Response:
        policy = policy_of_frames(await _origins(gateway, namespace, name))
        return files["watch.html"].response(request, {**HEADERS, "Content-Security-Policy": policy})

    @routes.get("/model")
    async def model(request: Request) -> Response:
        return files["model.html"].response(request, HEADERS)

    @routes.get("/situations.js")
    async def situations() -> Response:
        """What the pages say: the one table of states, as a module."""
        return Response(SITUATIONS, media_type="text/javascript", headers=HEADERS)

    return routes
