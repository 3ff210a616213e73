"""The source of a session whose publisher is at this gateway: from its peer to the session's worker.

`SessionSource` sends each access unit to the workers that need it. What came lately is kept (`recent_pictures`): a new
worker can decode at once, and goes on where viewers are.
"""

import logging

from genlock_core.bounds import Holdings
from genlock_core.media import AccessUnit, Trouble
from genlock_core.metrics import GatewayMetrics
from genlock_core.slo.stages import Stage, StageTimes
from genlock_gateway.rtc.ingest.receive import IngestFigures, IngestPeer
from genlock_gateway.sessions.audience import Audience, PeerResource
from genlock_gateway.sessions.meters.first_frame import Setup
from genlock_gateway.sessions.output_gate import SessionOutput
from genlock_gateway.sessions.recent_pictures import RecentPictures
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.links import WorkerChannel
from genlock_gateway.sessions.upstream.upstream import Upstream

logger = logging.getLogger(__name__)


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
        self._recent = RecentPictures(holdings=self._holdings)
        # What candidates have sent since they connected; they get the slot, or not, in a moment.
        self._early: dict[IngestPeer, RecentPictures] = {}
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
                self._early.setdefault(peer, RecentPictures(holdings=self._holdings)).add(unit)
            return

        self._recent.add(unit)
        if self._recent.wants_key_frame:
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
        self._recent.clear()
        publisher = self._audience.publisher
        self._stats.published(run, Setup() if publisher is None else publisher.setup)
        self.announce()

        peer = self._peer
        early = None if peer is None else self._early.pop(peer, None)
        if peer is None or early is None:
            return
        for unit in early.newest_group:
            self.access_unit(peer, unit)

    def forget(self, candidate: PeerResource) -> None:
        """It has gone, without having been the publisher."""
        if isinstance(candidate.peer, IngestPeer):
            self._early.pop(candidate.peer, None)

    def ended(self, run: int) -> None:
        """The publisher has gone."""
        self._recent.clear()
        self._stats.unpublished()
        self._send_source(present=False, run=run)

    def announce(self) -> None:
        """Tell the worker which publication its source is."""
        publisher = self._audience.publisher
        if publisher is not None:
            self._send_source(present=True, run=publisher.run)

    def replay(self, channel: WorkerChannel) -> None:
        """Feed a worker that has just opened the session: the publication, and what it needs of what came so far."""
        publisher = self._audience.publisher
        if publisher is None:
            return
        channel.connection.send_source(channel.number, present=True, run=publisher.run)

        # Where viewers have seen nothing of this publication, the newest key frame is the shortest way to a picture.
        shown = self._output.last_shown
        units = self._recent.newest_group
        if shown is not None and shown.run == publisher.run:
            units = self._recent.after(shown.capture_us)
        for unit in units:
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
