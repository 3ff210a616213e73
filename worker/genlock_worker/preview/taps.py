"""All previews of a worker: who may subscribe, one tap for each session, and the thread that they share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from genlock_core.clock import Clock
from genlock_core.link.messages import RefusalReason, Subscribe
from genlock_core.metrics import WorkerMetrics
from genlock_core.process.tasks import OwnedTasks
from genlock_core.subscriptions.preview import why_no_preview
from genlock_worker.intake.picture import Picture
from genlock_worker.preview import jpeg
from genlock_worker.preview.picture_channel import PictureChannel, PictureLink
from genlock_worker.preview.tap import Previewed, Tap

MAX_TAPS: Final = 64
"""Sessions of this worker that are previewed at a time."""


class PreviewTaps:
    """The taps of one worker. The link server tells it what gateways ask for; `close` ends everything.

    `find` gives a session that is on this worker, whatever its state. Nothing here asks Redis or claims a session.
    """

    def __init__(self, find: Callable[[str], Previewed | None], *, clock: Clock, metrics: WorkerMetrics) -> None:
        self._find = find
        self._clock = clock
        self._metrics = metrics
        self._taps: dict[str, Tap] = {}
        self._tasks = OwnedTasks()
        # A thread of its own: on a session's media threads a frame would wait for a picture.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="media-preview")

    def subscribe(self, channel: PictureChannel, request: Subscribe) -> None:
        """Answer a gateway that wants pictures; if it may have them, they come until its time is over."""
        refusal = self._refusal(request)
        if refusal is not None:
            reason, message, epoch = refusal
            self._metrics.preview_refusals.labels(reason.value).inc()
            channel.refuse(reason, message, epoch=epoch)
            return

        session, subscription = self._find(request.session), request.subscription
        if session is None or subscription is None or not channel.accept(session.epoch):
            return
        self._tap(session).subscribe(channel, subscription, ttl_s=request.ttl_ms / 1_000)

    def renew(self, channel: PictureChannel, *, ttl_s: float) -> None:
        """The gateway still asks."""
        for tap in self._taps.values():
            tap.renew(channel, ttl_s=ttl_s)

    def unsubscribe(self, channel: PictureChannel) -> None:
        """The gateway closed the channel."""
        for tap in self._taps.values():
            tap.unsubscribe(channel)

    def forget(self, link: PictureLink) -> None:
        """The link to a gateway is down."""
        for tap in self._taps.values():
            for channel in tap.channels:
                if channel.link is link:
                    tap.unsubscribe(channel)

    async def close(self) -> None:
        """No picture after this."""
        await self._tasks.end()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _refusal(self, request: Subscribe) -> tuple[RefusalReason, str, int] | None:
        """Why a gateway cannot have what it asks for, with the epoch that this worker knows; None if it can."""
        subscription = request.subscription
        why = f"no {request.frames} frames here" if subscription is None else why_no_preview(subscription)
        if why:
            return RefusalReason.NOT_SERVED, why, request.epoch

        session = self._find(request.session)
        if session is None or not session.is_owned:
            return RefusalReason.NOT_OWNER, "the session does not run here", 0
        if session.epoch != request.epoch:
            return RefusalReason.NOT_OWNER, "the session runs under another epoch", session.epoch

        tap = self._taps.get(request.session)
        if len(self._taps) >= MAX_TAPS if tap is None else not tap.has_room:
            return RefusalReason.NO_SLOT, "too many previews", request.epoch
        return None

    def _tap(self, session: Previewed) -> Tap:
        """The session's tap, made if it has none under this epoch."""
        tap = self._taps.get(session.name)
        if tap is not None and tap.session is session:
            return tap

        if tap is not None:
            tap.close("the session runs under another epoch")
        tap = self._taps[session.name] = Tap(session, clock=self._clock, encode=self._encode)
        self._metrics.preview_taps.set(len(self._taps))
        # Its first turn comes when the first subscriber is there.
        self._tasks.start(self._run(tap), name=f"preview of {session.name}")
        return tap

    async def _run(self, tap: Tap) -> None:
        try:
            await tap.run()
        finally:
            # Whoever is still there, after a failure or at the worker's end, subscribes anew or somewhere else.
            tap.close("the preview has ended")
            if self._taps.get(tap.session.name) is tap:
                del self._taps[tap.session.name]
            self._metrics.preview_taps.set(len(self._taps))

    async def _encode(self, picture: Picture) -> bytes:
        began_s = self._clock.monotonic()
        data = await asyncio.get_running_loop().run_in_executor(self._executor, jpeg.encode, picture)
        self._metrics.preview_encode_seconds.observe(self._clock.monotonic() - began_s)
        self._metrics.preview_pictures.inc()
        return data
