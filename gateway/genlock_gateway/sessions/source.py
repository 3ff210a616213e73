"""The source of a session whose publisher is at this gateway: from its peer to the session's worker.

`SessionSource` sends each access unit to the workers that need it. `GroupOfPictures` keeps what came since the last key
frame, so that a new worker can decode at once; it is pure.
"""

import logging
from collections import deque
from typing import Final

from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_core.media import MAX_REORDER_S, AccessUnit, Trouble
from genlock_core.metrics import GatewayMetrics
from genlock_core.slo.stages import Stage, StageTimes
from genlock_gateway.rtc.ingest.receive import IngestFigures, IngestPeer
from genlock_gateway.sessions.audience import Audience, PeerResource
from genlock_gateway.sessions.output_gate import SessionOutput
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.links import WorkerChannel
from genlock_gateway.sessions.upstream.upstream import Upstream

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 8 * 1024 * 1024
GROUP_LIMIT: Final = ByteLimit(
    "pictures since the last key frame",
    MAX_BYTES,
    each="session with its publisher here, and each of two that are connecting",
    when_full="the group is dropped, and a key frame asked for",
    times=3,
)
MAX_SECONDS: Final = 30.0
MAX_UNITS: Final = 1_800
"""The link takes no more in one replay."""


class GroupOfPictures:
    """Everything since the last key frame, or nothing.

    A group that outgrows its bounds is dropped whole, because it is worth nothing without its key frame. The next key
    frame starts another one; until then `wants_key_frame` says to ask the publisher. Time is the media's own.
    """

    __slots__ = ("_bytes", "_max_us", "_units")

    def __init__(
        self, *, limit: ByteLimit = GROUP_LIMIT, max_seconds: float = MAX_SECONDS, holdings: Holdings | None = None
    ) -> None:
        self._max_us = round(max_seconds * 1e6)
        self._units: deque[AccessUnit] = deque()
        self._bytes = (holdings or Holdings()).bound(limit)

    @property
    def units(self) -> tuple[AccessUnit, ...]:
        """The group in order; empty, or begins with its key frame."""
        return tuple(self._units)

    @property
    def wants_key_frame(self) -> bool:
        """Nothing that a decoder could start with is held."""
        return not self._units

    def add(self, unit: AccessUnit) -> None:
        """Take the next unit of the stream, in decoding order."""
        if unit.key_frame:
            self.clear()
        elif not self._units:
            return
        elif unit.codec is not self._units[0].codec or self._is_before(unit):
            # Another stream: without its own key frame it cannot be decoded.
            self.clear()
            return

        first_us = self._units[0].capture_us if self._units else unit.capture_us
        too_long = unit.capture_us - first_us > self._max_us or len(self._units) >= MAX_UNITS
        if too_long or not self._bytes.take(len(unit.data) + OBJECT_BYTES):
            self.clear()
        else:
            self._units.append(unit)

    def _is_before(self, unit: AccessUnit) -> bool:
        """Whether it goes back in time further than pictures are reordered."""
        return unit.capture_us < self._units[-1].capture_us - MAX_REORDER_S * 1e6

    def clear(self) -> None:
        """Hold nothing: the publisher has gone or changed."""
        self._units.clear()
        self._bytes.clear()


class SessionSource:
    """Takes the access units of the publisher (`rtc.ingest` calls it for each) and sends them to the workers.

    `audience.publisher` is the publisher: `began` and `ended` are told when that changes.
    """

    def __init__(
        self,
        *,
        audience: Audience,
        output: SessionOutput,
        upstream: Upstream,
        stats: SessionStats,
        metrics: GatewayMetrics,
    ) -> None:
        self._audience = audience
        self._output = output
        self._upstream = upstream
        self._stats = stats
        self._metrics = metrics
        self._holdings = Holdings()
        self._group = GroupOfPictures(holdings=self._holdings)
        # What candidates have sent since they connected; they get the slot, or not, in a moment.
        self._early: dict[IngestPeer, GroupOfPictures] = {}
        self.trouble: Trouble | None = None
        """Why the publication makes no picture, as far as this gateway or the worker knows; `tick` keeps it."""

    def tick(self) -> None:
        """Look whether the publication can be used, and what it holds here."""
        peer = self._peer
        held_bytes = self._holdings.held_bytes + (0 if peer is None else peer.holdings.held_bytes)
        self._metrics.publisher_bytes.labels(session=self._stats.session).set(held_bytes)
        trouble = (None if peer is None else peer.trouble) or self._stats.source_trouble
        if trouble is self.trouble:
            return
        self.trouble = trouble
        self._audience.state_changed = True

        # It is counted and written down where the publisher is.
        if trouble is not None and peer is not None:
            self._metrics.unusable_publications.labels(reason=trouble.value).inc()
            logger.warning("%s: the publication makes no picture: %s", self._stats.session, trouble.value)

    @property
    def figures(self) -> IngestFigures | None:
        """What the publisher's RTP has come to; None without a publisher."""
        peer = self._peer
        return None if peer is None else peer.figures

    @property
    def _peer(self) -> IngestPeer | None:
        publisher = self._audience.publisher
        return publisher.peer if publisher is not None and isinstance(publisher.peer, IngestPeer) else None

    def access_unit(self, peer: IngestPeer, unit: AccessUnit) -> None:
        """The next unit of a publisher, in decoding order.

        One that was taken over from is not heard any more. One that has no slot yet is heard once it gets it.
        """
        publisher = self._audience.publisher
        if publisher is None or publisher.peer is not peer:
            if any(candidate.peer is peer for candidate in self._audience.candidates):
                self._early.setdefault(peer, GroupOfPictures(holdings=self._holdings)).add(unit)
            return

        self._group.add(unit)
        if self._group.wants_key_frame:
            self.request_key_frame()

        self._stats.source_frame(publisher.run, watched=bool(self._audience.viewers))
        age_us = max(0, self._stats.now_us() - unit.capture_us)
        stages = StageTimes.of({Stage.CAPTURED: 0, Stage.FORWARDED: age_us})
        channels = self._channels()
        if not channels:
            self._stats.dropped("no-worker")
        for channel in channels:
            channel.connection.send_media(channel.number, unit, run=publisher.run, stages=stages)

    def began(self, run: int) -> None:
        """A publication began, perhaps in the place of another one."""
        self._group.clear()
        self._stats.published(run)
        self.announce()

        peer = self._peer
        early = None if peer is None else self._early.pop(peer, None)
        if peer is None or early is None:
            return
        for unit in early.units:
            self.access_unit(peer, unit)

    def forget(self, candidate: PeerResource) -> None:
        """It has gone, without having been the publisher."""
        if isinstance(candidate.peer, IngestPeer):
            self._early.pop(candidate.peer, None)

    def ended(self, run: int) -> None:
        """The publisher has gone."""
        self._group.clear()
        self._stats.unpublished()
        self._send_source(present=False, run=run)

    def announce(self) -> None:
        """Tell the worker which publication its source is."""
        publisher = self._audience.publisher
        if publisher is not None:
            self._send_source(present=True, run=publisher.run)

    def replay(self, channel: WorkerChannel) -> None:
        """Feed a worker that has just opened the session: the publication, and the group so far."""
        publisher = self._audience.publisher
        if publisher is None:
            return
        channel.connection.send_source(channel.number, present=True, run=publisher.run)
        for unit in self._group.units:
            channel.connection.send_media(channel.number, unit, run=publisher.run, replay=True)
        self.request_key_frame()

    def request_key_frame(self) -> None:
        """Ask the publisher for a key frame, if there is one."""
        peer = self._peer
        if peer is not None:
            self._metrics.key_frame_requests.labels(to="publisher").inc()
            peer.request_key_frame()

    def _channels(self) -> list[WorkerChannel]:
        """Who needs the source: the serving worker, and the leaving one until its successor's picture is shown."""
        leaving = self._upstream.leaving
        if leaving is not None and not self._output.feeds_leaving(self._upstream.epochs):
            leaving = None
        return [channel for channel in (self._upstream.serving, leaving) if channel is not None]

    def _send_source(self, *, present: bool, run: int) -> None:
        channel = self._upstream.serving
        if channel is not None:
            channel.connection.send_source(channel.number, present=present, run=run)
