"""All live sessions of one gateway, and its WHIP and WHEP sessions by name.

The limits stand here because only the hub sees all of them together.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from genlock_core.claims.record import SessionRecord
from genlock_core.process.tasks import OwnedTasks
from genlock_gateway.access.limits import TokenBucket
from genlock_gateway.access.problems import unavailable
from genlock_gateway.sessions.audience import Kind, PeerResource
from genlock_gateway.sessions.sse import Listener
from genlock_gateway.sessions.stream import LiveStream
from genlock_gateway.sessions.upstream.shared_parts import SharedParts
from genlock_gateway.settings import Limits

logger = logging.getLogger(__name__)

FULL_RETRY_S: Final = 5.0
WOKEN_AT_ONCE: Final = 64
"""Sessions that hear of room at a time, those that have tried longest: one claim's room is not for more."""
MESSAGES_PER_S: Final = 20.0
"""Messages that one client may send, sustained."""
MESSAGE_BURST: Final = 60.0


class Hub:
    """The streams of this gateway. A stream is made when somebody needs it and dropped when nobody does."""

    def __init__(self, shared: SharedParts, limits: Limits) -> None:
        self.shared = shared
        self._limits = limits
        self._streams: dict[str, LiveStream] = {}
        self._resources: dict[str, tuple[LiveStream, PeerResource]] = {}
        self._entering = 0
        # How many event streams each address has that showed no token.
        self._strangers: Counter[str] = Counter()
        self.empty = asyncio.Event()
        """Set while there is no WHIP or WHEP session."""
        self.empty.set()
        self._chores = OwnedTasks()

    @property
    def streams(self) -> tuple[LiveStream, ...]:
        return tuple(self._streams.values())

    @property
    def peers(self) -> int:
        """WHIP and WHEP sessions that there are."""
        return len(self._resources)

    @property
    def listeners(self) -> int:
        """SSE streams that are open."""
        return sum(len(stream.audience.listeners) for stream in self._streams.values())

    def find(self, session: str) -> LiveStream | None:
        """The session's stream, if somebody here uses it."""
        return self._streams.get(session)

    def resource(self, name: str) -> tuple[LiveStream, PeerResource] | None:
        """The WHIP or WHEP session of that name and its stream."""
        return self._resources.get(name)

    def resources(self) -> Iterator[tuple[LiveStream, PeerResource]]:
        return iter(list(self._resources.values()))

    def stream(self, record: SessionRecord) -> LiveStream:
        """The session's stream, which has at least this record; it is made if there is none."""
        stream = self._streams.get(record.name)
        if stream is None:
            stream = self._streams[record.name] = LiveStream(record, self.shared)
        else:
            stream.updated(record)
        return stream

    @contextmanager
    def reserve(self, session: str, kind: Kind) -> Iterator[None]:
        """Keep a place for a client that is being let in. Raises Problem (503) when this gateway is full."""
        stream = self._streams.get(session)
        if len(self._resources) + self._entering >= self._limits.peers:
            self.count_blocked(kind)
            raise unavailable("this gateway is full", retry_after_s=FULL_RETRY_S, reason="gateway-full")
        if kind == "whep" and stream is not None and len(stream.audience.viewers) >= self._limits.viewers_per_session:
            self.count_blocked(kind)
            detail = f"{session} has all the viewers that it may have here"
            raise unavailable(detail, retry_after_s=FULL_RETRY_S, reason="session-full")

        self._entering += 1
        try:
            yield
        finally:
            self._entering -= 1

    def count_blocked(self, kind: Kind, *, overloaded: bool = False) -> None:
        """Count a client that was turned away for want of capacity, or as the workers with room are `overloaded`."""
        role = "publish" if kind == "whip" else "view"
        self.shared.metrics.blocked.labels(role=role).inc()
        if overloaded:
            self.shared.metrics.overloaded.labels(role=role).inc()

    def check_room_for_listener(self, stranger: str | None = None) -> None:
        """`stranger`: the address of whoever has no token. Raises Problem (503) when no more SSE streams are taken.

        Strangers have three quarters of them, those of one address a quarter: so they keep neither each other out nor
        anybody who has a token.
        """
        most = self._limits.event_streams
        full = self.listeners >= most
        if stranger is not None:
            taken = self._strangers.total() >= max(1, most * 3 // 4)
            full = full or taken or self._strangers[stranger] >= max(1, most // 4)
        if full:
            raise unavailable(
                "this gateway has too many event streams", retry_after_s=FULL_RETRY_S, reason="gateway-full"
            )

    def add(self, stream: LiveStream, resource: PeerResource) -> None:
        """Remember a WHIP or WHEP session until `remove`."""
        self._resources[resource.id] = stream, resource
        self.empty.clear()

    def remove(self, resource: PeerResource) -> None:
        """Its peer is closed."""
        known = self._resources.pop(resource.id, None)
        if known is not None:
            known[0].leave(resource)
            if not self._resources:
                self.empty.set()
            self.drop_if_unused(known[0])

    def listen(self, stream: LiveStream, listener: Listener) -> None:
        if listener.stranger is not None:
            self._strangers[listener.stranger] += 1
        stream.audience.greet(listener, stream.view(listener.role))

    def unlisten(self, stream: LiveStream, listener: Listener) -> None:
        stream.audience.listeners.discard(listener)
        if listener.stranger is not None:
            self._strangers[listener.stranger] -= 1
            if not self._strangers[listener.stranger]:
                del self._strangers[listener.stranger]
        self.drop_if_unused(stream)

    def message_bucket(self) -> TokenBucket:
        """What a new client may send over its data channel."""
        return TokenBucket(rate_per_s=MESSAGES_PER_S, burst=MESSAGE_BURST, now_s=self.shared.clock.monotonic())

    def tick(self) -> None:
        """Time passes; several times a second."""
        publishers = sum(stream.audience.publisher is not None for stream in self._streams.values())
        self.shared.metrics.publishers.set(publishers)

        for stream in self.streams:
            if stream.end_reason:
                self._end(stream)
            else:
                stream.tick()

    def room_made(self, pool: str, *, first: str) -> None:
        """A worker of that pool may have room for another session; `first` has waited longest."""
        waiting = [
            stream
            for stream in self.streams
            if stream.upstream.tries_for_room and any(choice.pool == pool for choice in stream.record.pools)
        ]
        waiting.sort(key=lambda stream: stream.upstream.tries_for_room, reverse=True)
        for stream in waiting[:WOKEN_AT_ONCE]:
            stream.upstream.room_made(is_first=stream.session == first)

    def _end(self, stream: LiveStream) -> None:
        """The session is over: its clients are told and closed."""
        # A new session of that name gets a stream of its own at once.
        del self._streams[stream.session]

        async def end() -> None:
            try:
                await stream.end(stream.end_reason)
            finally:
                stream.close()

        self.start(end(), name=f"end of {stream.session}")

    def drop_if_unused(self, stream: LiveStream) -> None:
        """Forget a stream that nobody uses."""
        if stream.unused and self._streams.get(stream.session) is stream:
            del self._streams[stream.session]
            stream.close()

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Do this beside everything else; it ends with the hub."""
        self._chores.start(work, name=name)

    async def close(self) -> None:
        """Leave every session; peers are the media plane's to close."""
        for stream in self.streams:
            stream.close()
        self._streams.clear()
        await self._chores.end()
