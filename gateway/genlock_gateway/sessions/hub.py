"""All live sessions of one gateway, their WHIP and WHEP sessions by name, and how many of each there may be."""

import asyncio
import logging
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


class Hub:
    """The streams of this gateway. A stream is made when somebody needs it and dropped when nobody does."""

    def __init__(self, shared: SharedParts, limits: Limits) -> None:
        self.shared = shared
        self._limits = limits
        self._streams: dict[str, LiveStream] = {}
        self._resources: dict[str, tuple[LiveStream, PeerResource]] = {}
        self._entering = 0
        self.empty = asyncio.Event()  # set while there is no WHIP or WHEP session
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
        return self._streams.get(session)

    def resource(self, name: str) -> tuple[LiveStream, PeerResource] | None:
        """The WHIP or WHEP session of that name and its stream."""
        return self._resources.get(name)

    def resources(self) -> Iterator[tuple[LiveStream, PeerResource]]:
        return iter(list(self._resources.values()))

    def stream(self, record: SessionRecord) -> LiveStream:
        """The session's stream; made from the record if there is none."""
        stream = self._streams.get(record.name)
        if stream is None:
            stream = self._streams[record.name] = LiveStream(record, self.shared)
        else:
            stream.updated(record)
        return stream

    @contextmanager
    def room(self, session: str, kind: Kind) -> Iterator[None]:
        """Keep a place while a client is let in. Raises Problem (503) when this gateway is full."""
        stream = self._streams.get(session)
        if len(self._resources) + self._entering >= self._limits.peers:
            self.blocked(kind)
            raise unavailable("this gateway is full", retry_after_s=FULL_RETRY_S, reason="gateway-full")
        if kind == "whep" and stream is not None and len(stream.audience.viewers) >= self._limits.viewers_per_session:
            self.blocked(kind)
            detail = f"{session} has all the viewers that it may have here"
            raise unavailable(detail, retry_after_s=FULL_RETRY_S, reason="session-full")
        self._entering += 1
        try:
            yield
        finally:
            self._entering -= 1

    def blocked(self, kind: Kind) -> None:
        """Count a client that was turned away for want of capacity."""
        self.shared.metrics.blocked.labels(role="publish" if kind == "whip" else "view").inc()

    def check_room_for_listener(self) -> None:
        """Raises Problem (503) when no more SSE streams are taken."""
        if self.listeners >= self._limits.event_streams:
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
        stream.audience.greet(listener, stream.view())

    def unlisten(self, stream: LiveStream, listener: Listener) -> None:
        stream.audience.listeners.discard(listener)
        self.drop_if_unused(stream)

    def bucket(self, *, rate_per_s: float, burst: float) -> TokenBucket:
        """A bucket that starts full now."""
        return TokenBucket(rate_per_s=rate_per_s, burst=burst, now_s=self.shared.clock.monotonic())

    def tick(self) -> None:
        """Several times a second."""
        publishers = sum(stream.audience.publisher is not None for stream in self._streams.values())
        self.shared.metrics.publishers.set(publishers)
        for stream in self.streams:
            if stream.over:
                self._end(stream)
            else:
                stream.tick()

    def _end(self, stream: LiveStream) -> None:
        """The session is over: its clients are told and closed; a new session of that name gets a stream of its own."""
        del self._streams[stream.session]

        async def end() -> None:
            try:
                await stream.end(stream.over)
            finally:
                stream.close()

        self.afterwards(end(), name=f"end of {stream.session}")

    def drop_if_unused(self, stream: LiveStream) -> None:
        """Forget a stream that nobody uses."""
        if stream.unused and self._streams.get(stream.session) is stream:
            del self._streams[stream.session]
            stream.close()

    def afterwards(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Do it beside everything else."""
        self._chores.start(work, name=name)

    async def close(self) -> None:
        """Leave every session; peers are the media plane's to close."""
        for stream in self.streams:
            stream.close()
        self._streams.clear()
        await self._chores.end()
