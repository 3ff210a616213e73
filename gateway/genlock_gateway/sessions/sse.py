"""Server-sent events (HTML Living Standard, section 9.2): a bounded queue per listener, and the response from it."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from fastapi.responses import StreamingResponse

from genlock_core.tokens import Role

QUEUE_MESSAGES: Final = 64
COMMENT_EVERY_S: Final = 10.0
"""A comment line keeps proxies from closing a quiet stream, and finds a listener that has gone."""


class Listener:
    """One SSE stream: what it wants, and what waits for it. A listener that does not read loses the oldest.

    `role`: what whoever listens may do; it is told what is offered to them. `stranger`: the address of whoever listens
    without a token; None: it has shown one.
    """

    def __init__(self, wanted: Collection[str], role: Role, *, stranger: str | None = None) -> None:
        self.role = role
        self.stranger = stranger
        self._wanted = frozenset(wanted)
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_MESSAGES)

    def tell(self, event: str, data: Any) -> None:
        """Queue an event, if this listener wants it."""
        if event in self._wanted:
            self._put(f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode())

    def end(self) -> None:
        """Nothing more will come; what waits is still sent."""
        self._put(None)

    def _put(self, message: bytes | None) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(message)

    async def messages(self) -> AsyncIterator[bytes]:
        """The stream's bytes, until `end`."""
        yield b"retry: 1000\n\n"
        while True:
            try:
                async with asyncio.timeout(COMMENT_EVERY_S):
                    message = await self._waiting.get()
            except TimeoutError:
                yield b": here\n\n"
                continue
            if message is None:
                return
            yield message


def event_stream(messages: AsyncIterator[bytes]) -> StreamingResponse:
    """The response; whoever made the iterator cleans up in its `finally`."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(messages, media_type="text/event-stream", headers=headers)
