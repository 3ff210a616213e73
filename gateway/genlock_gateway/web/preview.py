"""`GET /api/v1/sessions/{namespace}/{name}/preview.jpg`: what a session shows now, for whoever may watch it."""

from typing import Final

from fastapi import APIRouter, Request, Response

from genlock_core.tokens import Role
from genlock_gateway.access.problems import Problem
from genlock_gateway.gateway import Gateway

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # Access looks at `Origin`, which a picture that another site embeds does not carry: browsers block it by this.
    "Cross-Origin-Resource-Policy": "same-origin",
}


def router(gateway: Gateway) -> APIRouter:
    """The preview of each session."""
    routes = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])

    @routes.get("/{namespace}/{name}/preview.jpg", response_class=Response)
    async def preview(request: Request, namespace: str, name: str) -> Response:
        """One picture, at most 448 pixels long, a new one each second. 503 with Retry-After while there is none."""
        gateway.check_open()
        record = await gateway.session_for(request, namespace, name, Role.VIEW, fresh=False)
        if record.finished:
            raise Problem(410, f"{record.name}: the session has ended")

        picture = await gateway.previews.picture(record)
        return Response(picture.jpeg, media_type="image/jpeg", headers=HEADERS)

    return routes
