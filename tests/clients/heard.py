"""What a client tells while it runs, whether it is a program (lines on its output) or a page (reports over HTTP).

| event | with | told by |
|---|---|---|
| `version` | `version` | all, first |
| `offer` | `unixMs` | all, right before the POST |
| `answer` | `status`, `sdp` | those that see it |
| `first-frame` | `unixMs` | who watches: decoded, or complete where the program only receives |
| `watched` | `frames`, and `width`, `height`, `pictures` where it decodes | who watches, once it has seen enough |
| `left` | | a page, once it has closed its session |
| `failed` | `why` | a page that cannot go on |
"""

import asyncio
import re
from typing import Any

from tests.clients.viewer import PATIENCE_S

_LAST_WORDS = 30


class ClientFailed(Exception):
    """A client that did not do what it was asked for; the message has what it said."""


class Heard:
    """The last event of each kind that one client told, and whatever else it said."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._ended: str | None = None
        self._words: list[str] = []
        self.events: dict[str, dict[str, Any]] = {}

    async def hear(self, event: dict[str, Any]) -> None:
        """The client tells an event."""
        async with self._changed:
            self.events[event["event"]] = event
            self._changed.notify_all()
        if event["event"] == "failed":
            await self.end(str(event["why"]))

    def overhear(self, line: str) -> None:
        """The client says something that is no event."""
        self._words.append(line)

    async def end(self, why: str) -> None:
        """Nothing more will come."""
        async with self._changed:
            self._ended = self._ended or why
            self._changed.notify_all()

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for an event. Raises ClientFailed if the client ends without it, or takes too long."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._changed:
                await self._changed.wait_for(lambda: name in self.events or self._ended is not None)
        except TimeoutError:
            raise ClientFailed(f"never told '{name}'; {self.said}") from None
        if name not in self.events:
            raise ClientFailed(f"{self._ended}, before '{name}'; {self.said}")
        return self.events[name]

    @property
    def said(self) -> str:
        """Its last words."""
        events = [f"{name} {brief}" for name, event in self.events.items() if (brief := _brief(event))]
        return "\n".join(["it said:", *events, *self._words[-_LAST_WORDS:]])

    @property
    def codec(self) -> str:
        """The codec of the first payload type of the answer's video; empty if the answer was not told."""
        sdp = self.events.get("answer", {}).get("sdp", "")
        first = re.search(r"^m=video \d+ \S+ (\d+)", sdp, re.MULTILINE)
        name = first and re.search(rf"^a=rtpmap:{first[1]} ([^/\s]+)", sdp, re.MULTILINE)
        return name[1] if name else ""


def _brief(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what would fill pages."""
    return {name: value for name, value in event.items() if name not in {"event", "pictures"}}
