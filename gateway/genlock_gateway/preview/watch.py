"""One session's preview at this gateway: a subscription at the session's worker, and the latest picture of it."""

import asyncio
from typing import Final

from genlock_core.claims.facts import Claim
from genlock_core.clock import Clock
from genlock_core.link.closure import LinkDown
from genlock_core.link.events import ChannelClosed, ChannelRefused, PictureReceived
from genlock_core.link.handshake import PeerTooOld
from genlock_core.link.messages import RefusalReason, Subscribe
from genlock_core.media import StillPicture
from genlock_core.process.tasks import OwnedTasks
from genlock_core.subscriptions.latest import LatestFrame
from genlock_core.subscriptions.preview import PREVIEW_TTL_S, preview_of
from genlock_gateway.preview.absence import NO_PICTURE, NOT_THERE, TOO_OLD, UNREACHABLE, WORKER_FULL, Absence
from genlock_gateway.sessions.upstream.links import ChannelEvent, Links, WorkerChannel

WAIT_S: Final = 1.0
"""Whoever asks first waits this long for the first picture."""

RENEW_EVERY_S: Final = PREVIEW_TTL_S / 4


class PreviewWatch:
    """Idle -> subscribed (`picture` was asked for) -> idle again: the worker closes it when nobody asks any more.

    It follows the session: a claim of a newer epoch ends the subscription at the old owner and begins one at the new
    one, and pictures of the old epoch are refused from then on. A refusal is remembered for as long as it says, so
    that however many ask, a worker hears of it once.
    """

    def __init__(self, claim: Claim, *, gateway: str, links: Links, clock: Clock) -> None:
        self.asked_s = clock.monotonic()
        """When somebody asked last."""
        self._claim = claim
        self._links = links
        self._clock = clock
        self._latest: LatestFrame[StillPicture] = LatestFrame(
            preview_of(claim.session, epoch=claim.epoch, subscriber=gateway)
        )
        self._channel: WorkerChannel | None = None
        self._tasks = OwnedTasks()
        self._renewed_s = 0.0
        self._absence: Absence | None = None
        """Why there was no picture when the worker was asked last."""
        self._ask_again_s = 0.0
        self._changed = asyncio.Event()

    def ask(self, claim: Claim) -> StillPicture | Absence | None:
        """Somebody looks: the latest picture under this claim, or why there is none; None while that is not known."""
        self.asked_s = self._clock.monotonic()
        self._follow(claim)
        self._keep_subscribed()
        return self._outcome

    async def wait(self) -> StillPicture | Absence:
        """Wait until it is known, but not for long."""
        try:
            async with asyncio.timeout(WAIT_S):
                while self._outcome is None:
                    await self._changed.wait()
        except TimeoutError:
            return NO_PICTURE
        return self._outcome

    def close(self, reason: str) -> None:
        """Ask for nothing any more."""
        self._tasks.cancel()
        self._unsubscribe(reason)

    @property
    def _outcome(self) -> StillPicture | Absence | None:
        return self._latest.frame or self._absence

    def _unsubscribe(self, reason: str) -> None:
        if self._channel is not None:
            self._channel.close(reason)
            self._channel = None

    def _follow(self, claim: Claim) -> None:
        """Go with the session if it has moved. An older claim is one that was read before this one."""
        if claim.epoch <= self._claim.epoch:
            return

        self._unsubscribe("the session has moved")
        self._claim = claim
        self._latest.follow(claim.epoch)
        self._absence = None
        self._ask_again_s = 0.0

    def _keep_subscribed(self) -> None:
        """Subscribe, or say that somebody still asks."""
        now_s = self._clock.monotonic()
        if self._channel is not None:
            if now_s - self._renewed_s >= RENEW_EVERY_S:
                self._renewed_s = now_s
                self._channel.connection.renew(self._channel.number, ttl_s=PREVIEW_TTL_S)
        elif not self._tasks and now_s >= self._ask_again_s:
            self._absence = None
            self._renewed_s = now_s
            self._tasks.start(self._subscribe(), name=f"preview of {self._claim.session}")

    async def _subscribe(self) -> None:
        """At the worker of the claim; once more if the session moves while that worker is being reached."""
        while True:
            claim, absence = self._claim, None
            request = Subscribe.of(self._latest.subscription, ttl_s=PREVIEW_TTL_S)
            try:
                self._channel = await self._links.subscribe(claim, request, self._heard)
            except PeerTooOld:
                absence = TOO_OLD
            except LinkDown:
                absence = UNREACHABLE

            if claim is self._claim:
                break
            self._unsubscribe("the session has moved")

        if absence is not None:
            self._end(absence)

    def _heard(self, channel: WorkerChannel, event: ChannelEvent) -> None:
        if channel is not self._channel:
            return

        match event:
            case PictureReceived():
                if self._latest.put(event.picture, epoch=event.epoch):
                    self._tell()
            case ChannelRefused(reason=RefusalReason.NO_SLOT):
                self._leave(channel, WORKER_FULL)
            case ChannelRefused(reason=RefusalReason.NOT_SERVED):
                self._leave(channel, TOO_OLD)
            case ChannelRefused():
                self._leave(channel, NOT_THERE)
            case LinkDown():
                self._leave(channel, UNREACHABLE)
            case ChannelClosed():
                self._leave(channel, None)
            case _:
                pass  # opened; the first picture says so too

    def _leave(self, channel: WorkerChannel, absence: Absence | None) -> None:
        """The channel is over: what it showed may be out of date from now on."""
        channel.close("")
        self._channel = None
        self._latest = LatestFrame(self._latest.subscription)
        self._end(absence)

    def _end(self, absence: Absence | None) -> None:
        """Remember why there is nothing, if there is a reason; ask again when it says so."""
        self._absence = absence
        self._ask_again_s = self._clock.monotonic() + (0.0 if absence is None else absence.retry_after_s)
        self._tell()

    def _tell(self) -> None:
        """Wake everybody who waits."""
        self._changed.set()
        self._changed = asyncio.Event()
