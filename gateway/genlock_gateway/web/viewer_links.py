"""`POST /api/v1/sessions/{namespace}/{name}/viewer-links`: a link with which somebody else may watch for a while.

Nothing is stored: the token that the link carries says itself until when it is good. Who watches by it when it ends
goes on watching, and does not come in again.
"""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from genlock_core.tokens import Role
from genlock_gateway.access.limits import MAX_JSON_BYTES, read_body, require_media_type
from genlock_gateway.access.problems import Problem, mistaken
from genlock_gateway.gateway import Gateway
from genlock_gateway.sessions.session_view import ViewerLink, ViewerLinkRequest


def router(gateway: Gateway) -> APIRouter:
    """The links of each session."""
    routes = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])

    @routes.post("/{namespace}/{name}/viewer-links", status_code=201)
    async def make_viewer_link(request: Request, response: Response, namespace: str, name: str) -> ViewerLink:
        """A link that opens the session for a viewer: for who may publish and view it. An empty body asks for a day."""
        record = await gateway.session_for(request, namespace, name, Role.PUBLISH)
        if record.finished:
            raise Problem(410, f"{record.name}: the session has ended")

        wanted = await _wanted(request)
        made = gateway.access.viewer_token(request, record.session, lifetime_s=wanted.lifetime / 1_000)
        response.headers["Cache-Control"] = "no-store"
        page = f"/watch/{record.name}"
        if made is None:
            return ViewerLink(path=page, token=None, expires=None)
        token, expires_s = made
        return ViewerLink(path=f"{page}#token={token}", token=token, expires=datetime.fromtimestamp(expires_s, UTC))

    return routes


async def _wanted(request: Request) -> ViewerLinkRequest:
    """Raises Problem (400, 413, 415, 422)."""
    body = await read_body(request, limit=MAX_JSON_BYTES)
    if not body:
        return ViewerLinkRequest()
    require_media_type(request, "application/json")
    try:
        return ViewerLinkRequest.model_validate_json(body)
    except ValidationError as error:
        raise mistaken(error, "the request has mistakes") from None
