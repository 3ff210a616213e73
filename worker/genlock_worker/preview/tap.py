"""The tap of one session: once a second it takes the latest picture, encodes it, and gives it to all subscribers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from genlock_core.clock import Clock
from genlock_core.media import SourcePosition, StillPicture
from genlock_core.subscriptions.preview import PREVIEW_RATE
from genlock_core.subscriptions.subscribers import Subscribers
from genlock_core.subscriptions.subscription import Subscription
from genlock_worker.intake.picture import Picture
from genlock_worker.preview.jpeg import PreviewFailure
from genlock_worker.preview.picture_channel import PictureChannel

logger = logging.getLogger(__name__)

MAX_SUBSCRIBERS: Final = 64
"""Of one session: every gateway of an installation is one."""

Encode = Callable[[Picture], Awaitable[bytes]]
"""Gives the JPEG file of a picture, made on another thread. Raises PreviewFailure."""


class Shown(Protocol):
    """A picture that went out, and where in the source it stands."""

    @property
    def picture(self) -> Picture: ...

    @property
    def position(self) -> SourcePosition: ...


class Previewed(Protocol):
    """A session of this worker, as far as a preview needs it."""

    name: str
    epoch: int

    @property
    def is_owned(self) -> bool:
        """Whether this worker still owns the session under `epoch`."""
        ...

    @property
    def shown(self) -> Shown | None:
        """The last picture that went out, None before the first."""
        ...


class Tap:
    """One session's preview under one epoch.

    It runs from its first subscriber to its last: `run` ends when everybody has left, has not renewed in time, or the
    session has left this worker. Subscribers of a session that has moved are told, and subscribe at the new owner.
    """

    def __init__(self, session: Previewed, *, clock: Clock, encode: Encode) -> None:
        self.session = session
        self._clock = clock
        self._encode = encode
        self._subscribers: Subscribers[PictureChannel] = Subscribers(limit=MAX_SUBSCRIBERS)
        self._still: StillPicture | None = None
        """The last picture that was encoded: at most a period old, or nothing new has been shown since."""
        self._served: set[PictureChannel] = set()
        """Who has had it."""

    @property
    def has_room(self) -> bool:
        return len(self._subscribers) < MAX_SUBSCRIBERS

    @property
    def channels(self) -> tuple[PictureChannel, ...]:
        return self._subscribers.keys

    @property
    def is_watched(self) -> bool:
        return len(self._subscribers) > 0

    def subscribe(self, channel: PictureChannel, subscription: Subscription, *, ttl_s: float) -> None:
        """A subscriber for `ttl_s`; it has the picture that is there already at once. Only if there is room."""
        self._subscribers.add(channel, subscription, ttl_s=ttl_s, now_s=self._clock.monotonic())
        if self._still is not None:
            self._give(self._still)

    def renew(self, channel: PictureChannel, *, ttl_s: float) -> None:
        """It still asks."""
        self._subscribers.renew(channel, ttl_s=ttl_s, now_s=self._clock.monotonic())

    def unsubscribe(self, channel: PictureChannel) -> None:
        """It has left."""
        self._subscribers.remove(channel)
        self._served.discard(channel)

    async def run(self) -> None:
        """Until nobody is subscribed any more."""
        while self.is_watched:
            await self.step()
            await asyncio.sleep(1 / PREVIEW_RATE)

    async def step(self) -> None:
        """One period: who is gone, what is new, who is to have it."""
        for channel in self._subscribers.expire(self._clock.monotonic()):
            self._served.discard(channel)
            channel.close("nobody asked for more")

        if not self.session.is_owned:
            self.close("the session has left this worker")
            return

        shown = self.session.shown
        if shown is None or not self.is_watched:
            return

        if self._still is None or self._still.position != shown.position:
            await self._take(shown)
        # It may have left while its picture was encoded: then the new owner's pictures are the ones to show.
        if self._still is not None and self.session.is_owned:
            self._give(self._still)

    def close(self, reason: str) -> None:
        """Tell everybody that no picture comes any more."""
        for channel in self._subscribers.keys:
            self.unsubscribe(channel)
            channel.close(reason)

    async def _take(self, shown: Shown) -> None:
        """Encode what is shown; everybody who is there is to have it."""
        try:
            jpeg = await self._encode(shown.picture)
        except PreviewFailure as failure:
            logger.warning("%s: no preview: %s", self.session.name, failure)
            return

        self._still = StillPicture(jpeg, shown.position)
        self._served.clear()

    def _give(self, still: StillPicture) -> None:
        """To everybody whose turn it is and who has not had it."""
        for channel in self._subscribers.take_due(self._clock.monotonic(), served=self._served):
            self._served.add(channel)
            channel.send(still)
