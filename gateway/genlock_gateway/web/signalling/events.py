"""The WHEP extension for server-sent events: a player hears whether the stream is active, and when to reconnect.

A POST with the wanted events makes the stream's URL; the URL itself carries them, so nothing is kept until it is read.
"""

import json
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter, Request, Response

from genlock_gateway.access.access import bearer
from genlock_gateway.access.limits import read_body, require_media_type
from genlock_gateway.access.problems import Problem
from genlock_gateway.edge.addresses import client_address
from genlock_gateway.gateway import Gateway
from genlock_gateway.sessions.sse import Listener, event_stream
from genlock_gateway.sessions.stream import LiveStream
from genlock_gateway.web.signalling.forward import forward
from genlock_gateway.web.signalling.session_urls import find
from genlock_gateway.web.signalling.whep import EVENTS

URL: Final = "/whep/{namespace}/{name}/{host}/{resource}/events"
MAX_LIST_BYTES: Final = 1_024


def router(gateway: Gateway) -> APIRouter:
    """POST and GET of `.../events`."""
    routes = APIRouter(tags=["WHEP"])

    @routes.post(URL, status_code=201)
    async def subscribe(request: Request, namespace: str, name: str, host: str, resource: str) -> Response:
        """A JSON list of events in, the URL of their stream out."""
        if host != gateway.name:
            return await forward(gateway, request, host)
        await find(gateway, request, "whep", namespace, name, resource)
        require_media_type(request, "application/json")
        wanted = _wanted(await read_body(request, limit=MAX_LIST_BYTES))
        return Response(status_code=201, headers={"Location": f"{request.url.path}?events={','.join(wanted)}"})

    @routes.get(URL)
    async def listen(
        request: Request, namespace: str, name: str, host: str, resource: str, events: str = ""
    ) -> Response:
        """The stream of events."""
        if host != gateway.name:
            return await forward(gateway, request, host)
        stream, watching = await find(gateway, request, "whep", namespace, name, resource)
        stranger = stranger_of(request)
        gateway.hub.check_room_for_listener(stranger)
        wanted = [event for event in events.split(",") if event in EVENTS] if events else list(EVENTS)
        return event_stream(heard(gateway, stream, Listener(wanted, watching.role, stranger=stranger)))

    return routes


async def heard(gateway: Gateway, stream: LiveStream, listener: Listener) -> AsyncIterator[bytes]:
    """What `listener` hears of the stream, until either goes."""
    gateway.hub.listen(stream, listener)
    try:
        async for message in listener.messages():
            yield message
    finally:
        gateway.hub.unlisten(stream, listener)


def stranger_of(request: Request) -> str | None:
    """The address of whoever asks without a token; None for who has one, which access has found right."""
    return client_address(request) if bearer(request) is None else None


def _wanted(body: bytes) -> list[str]:
    try:
        wanted = json.loads(body)
    except ValueError:
        wanted = None
    if not isinstance(wanted, list) or not all(isinstance(event, str) for event in wanted):
        raise Problem(400, "the body is a JSON list of events")
    known = [event for event in EVENTS if event in wanted]
    if not known:
        raise Problem(422, f"none of these events is known; there are {', '.join(EVENTS)}")
    return known
