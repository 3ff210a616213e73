"""All previews of a gateway: a watch for each session that somebody looks at, bounded whoever asks."""

from typing import Final

from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock
from genlock_core.media import StillPicture
from genlock_core.metrics import GatewayMetrics
from genlock_core.subscriptions.preview import PREVIEW_TTL_S
from genlock_gateway.preview.absence import GATEWAY_FULL, NO_WORKER, Absence
from genlock_gateway.preview.watch import PreviewWatch
from genlock_gateway.sessions.upstream.claiming import claim_of
from genlock_gateway.sessions.upstream.links import Links

MAX_WATCHES: Final = 64
"""Sessions that this gateway previews at a time: about 2 MiB per second of pictures on its links."""

MAX_WAITING: Final = 256
"""Requests that may wait for a first picture at a time."""


class PreviewWatches:
    """`picture` while requests come; `close` at the end. A watch that nobody asks for is forgotten."""

    def __init__(self, *, gateway: str, links: Links, clock: Clock, metrics: GatewayMetrics) -> None:
        self._gateway = gateway
        self._links = links
        self._clock = clock
        self._metrics = metrics
        self._watches: dict[str, PreviewWatch] = {}
        self._waiting = 0

    async def picture(self, record: SessionRecord) -> StillPicture:
        """The latest picture of a session. Raises Problem (503) where there is none, with when to ask again."""
        outcome = await self._look(record)
        result = outcome.reason if isinstance(outcome, Absence) else "picture"
        self._metrics.preview_requests.labels(result=result).inc()
        if isinstance(outcome, Absence):
            raise outcome.problem(record.name)
        return outcome

    def close(self) -> None:
        """Leave every worker."""
        for watch in self._watches.values():
            watch.close("the gateway stops")
        self._watches.clear()
        self._metrics.preview_watches.set(0)

    async def _look(self, record: SessionRecord) -> StillPicture | Absence:
        self._forget_idle()
        claim = claim_of(record)
        if claim is None:
            return NO_WORKER

        watch = self._watches.get(record.name)
        if watch is None:
            if len(self._watches) >= MAX_WATCHES:
                return GATEWAY_FULL
            watch = PreviewWatch(claim, gateway=self._gateway, links=self._links, clock=self._clock)
            self._watches[record.name] = watch
            self._metrics.preview_watches.set(len(self._watches))

        outcome = watch.ask(claim)
        if outcome is not None:
            return outcome

        # Only the first look at a session waits, for the picture that comes when the worker was asked.
        if self._waiting >= MAX_WAITING:
            return GATEWAY_FULL
        self._waiting += 1
        try:
            return await watch.wait()
        finally:
            self._waiting -= 1

    def _forget_idle(self) -> None:
        """Drop what nobody has asked for within the time in which its worker has closed it, too."""
        over_s = self._clock.monotonic() - PREVIEW_TTL_S
        for session, watch in list(self._watches.items()):
            if watch.asked_s < over_s:
                watch.close("nobody looks")
                del self._watches[session]
        self._metrics.preview_watches.set(len(self._watches))
