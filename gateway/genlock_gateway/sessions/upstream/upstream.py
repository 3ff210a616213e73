"""Where a live session stands with its worker: its claim, its channel, and the moves between workers.

`mover.decide` says what to do. Here it is done, in Redis (through `claiming`) and on the links, and the result is fed
back to `decide`. What a worker says goes to the `UpstreamOwner`. Frames do not pass through here: a channel is opened
with the session's `FrameReceiver`.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from redis.exceptions import RedisError

from genlock_core.claims.facts import Claim, MoveCause, MoveHeld
from genlock_core.claims.record import SessionRecord
from genlock_core.claims.silence import Silence
from genlock_core.errors import NoCapacity, StaleEpoch, UnknownSession
from genlock_core.link.closure import CloseCause, LinkDown
from genlock_core.link.events import (
    ChannelClosed,
    ChannelOpened,
    ChannelRefused,
    HandedOver,
    KeyFrameWanted,
    MediaDropped,
    StatsReceived,
)
from genlock_core.link.messages import Open
from genlock_core.process.tasks import OwnedTasks
from genlock_gateway.sessions.upstream import mover
from genlock_gateway.sessions.upstream.claiming import Claiming, claim_of
from genlock_gateway.sessions.upstream.links import ChannelEvent, FrameReceiver, WorkerChannel
from genlock_gateway.sessions.upstream.mover import Action, MoveStage, Situation
from genlock_gateway.sessions.upstream.shared_parts import SharedParts

logger = logging.getLogger(__name__)

UNKNOWN_RETRY_S = 1.0
"""A session that Redis does not know has ended, or Redis has lost it and it is about to be written back."""
ROOM_SPREAD_S = 0.1
"""Sessions that hear of room ask within this time, not all at once."""


class UpstreamOwner(Protocol):
    """The session that an upstream belongs to."""

    def open_request(self, claim: Claim) -> Open:
        """The message with which a channel under `claim` is opened."""

    def opened(self, channel: WorkerChannel, *, moved: bool, restore_ms: int | None) -> None:
        """The worker serves the session in the channel; `moved`: under a newer claim than the one served before.

        `restore_ms`: how long the worker took to take it over, if it says so.
        """

    def key_frame_wanted(self) -> None:
        """The worker cannot decode the source without a key frame."""

    def reported(self, channel: WorkerChannel, stats: StatsReceived) -> None:
        """The worker's figures came."""

    def moving(self, cause: MoveCause) -> None:
        """The session leaves its worker: from now on viewers may see the gap."""

    def changed(self) -> None:
        """The situation is another one."""

    def refresh(self) -> None:
        """The record in Redis has to be read again: it is newer than what this gateway knows."""


class Upstream:
    """Moved by `want`, `unwant`, `follow`, `tick` and the link's events; owns the session's current epoch.

    `situation` says how far it is. `channel` is the one under the situation's claim, and open once `serving` gives it.
    `leaving` is the channel of the epoch before, while a polite move lasts.
    """

    def __init__(self, session: str, *, stream: UpstreamOwner, output: FrameReceiver, shared: SharedParts) -> None:
        self.session = session
        self.situation = Situation()
        self.channel: WorkerChannel | None = None
        self.leaving: WorkerChannel | None = None
        self._stream = stream
        self._output = output
        self._shared = shared
        self._claiming = Claiming(session, shared)
        self._tasks = OwnedTasks()
        self._actions: dict[Action, asyncio.Task[None]] = {}  # the newest of each kind

    @property
    def serving(self) -> WorkerChannel | None:
        """The channel, once the worker has opened it."""
        return self.channel if self.situation.opened else None

    @property
    def epochs(self) -> mover.Epochs:
        """The epochs whose frames may be shown now."""
        claim = self.situation.claim
        return mover.Epochs(
            current=0 if claim is None else claim.epoch,
            leaving=None if self.leaving is None else self.leaving.epoch,
        )

    def want(self, claim: Claim | None = None) -> None:
        """Have the session run; `claim` if the caller has asked for it already."""
        self._decide(mover.SessionWanted(claim))

    def unwant(self) -> None:
        """Nobody here needs it any more."""
        self._decide(mover.SessionUnwanted())

    def follow(self, record: SessionRecord) -> None:
        """Somebody else moved or claimed the session: go with the newer epoch."""
        claim = claim_of(record)
        if claim is not None:
            self._decide(mover.Claimed(claim))

    @property
    def tries_for_room(self) -> int:
        """How often in a row it was told that no worker has room; 0 while it does not wait for any."""
        return self.situation.failures if self.situation.wants_room else 0

    def room_made(self, *, is_first: bool) -> None:
        """A worker that could serve the session may have room now; `is_first`: nobody has waited longer for it."""
        self._decide(mover.RoomMade(0.0 if is_first else self._shared.jitter.uniform(0, ROOM_SPREAD_S)))

    def tick(self) -> None:
        """Time passes; several times a second."""
        if self.situation.stage is not MoveStage.IDLE:
            self._decide(mover.Tick(self._silence(without_link_s=math.inf)))

    def close_leaving(self) -> None:
        """The leaving worker is not needed any more."""
        if self.leaving is not None:
            self.leaving.close("handed over")
            self.leaving = None

    def close(self, reason: str) -> None:
        """End all that is under way."""
        self._tasks.cancel()
        self._actions.clear()
        self.close_leaving()
        if self.channel is not None:
            self.channel.close(reason)
            self.channel = None

    # -- deciding ---------------------------------------------------------------------------------------------------

    def _decide(self, event: mover.Event) -> None:
        before = self.situation
        self.situation, action = mover.decide(before, event, self._shared.clock.monotonic())

        if action is Action.CLOSE:
            self.close("nobody watches")
        elif action is not None:
            self._act(action, self.situation)

        if (before.stage, before.claim) != (self.situation.stage, self.situation.claim):
            logger.debug("%s: %s after %s", self.session, self.situation.stage, type(event).__name__)
            self._stream.changed()

    def _act(self, action: Action, situation: Situation) -> None:
        """Start the action. If one of its kind is under way, its situation is no more, and it ends."""
        effects: dict[Action, Callable[[Situation], Awaitable[None]]] = {
            Action.CLAIM: self._claim,
            Action.OPEN: self._open,
            Action.EXAMINE: self._examine,
            Action.MOVE: self._move,
        }

        overtaken = self._actions.pop(action, None)
        if overtaken is not None:
            overtaken.cancel()

        # At once: a frame of the worker before would be refused in between, and with it all that refer to it.
        if action is Action.OPEN and situation.claim is not None:
            self._replace_channel(situation.claim)

        work = self._carry_out(effects[action], situation)
        self._actions[action] = self._tasks.start(work, name=f"{action} {self.session}")

    async def _carry_out(self, effect: Callable[[Situation], Awaitable[None]], situation: Situation) -> None:
        try:
            await effect(situation)
        except (RedisError, OSError) as error:
            logger.warning("%s: Redis does not answer (%s)", self.session, type(error).__name__)
            self._decide(mover.Unclaimed())
        except NoCapacity as error:
            full = not isinstance(error, MoveHeld)
            self._decide(mover.Unclaimed(self._retry_s(error.retry_after_s), for_want_of_room=full))
        except StaleEpoch:
            self._decide(mover.Lapsed())
        except UnknownSession as error:
            logger.info("%s", error)
            self._stream.refresh()
            self._decide(mover.Unclaimed(UNKNOWN_RETRY_S))
        except Exception:
            logger.exception("%s: an action failed", self.session)
            self._decide(mover.Unclaimed())

    # -- effects ----------------------------------------------------------------------------------------------------

    async def _claim(self, situation: Situation) -> None:
        seen_epoch = 0 if situation.claim is None else situation.claim.epoch
        self._decide(await self._claiming.claim(seen_epoch=seen_epoch))

    async def _open(self, situation: Situation) -> None:
        claim = situation.claim
        if claim is None:
            return

        try:
            request = self._stream.open_request(claim)
            channel = await self._shared.links.open(claim, request, self._on_event, frames=self._output)
        except LinkDown as down:
            self._decide(mover.LinkLost(claim.epoch, gone=down.cause is CloseCause.REFUSED))
            return

        # Meanwhile the session may have got a newer claim, or nobody may need it any more.
        if self.situation.claim == claim and self.channel is None:
            self.channel = channel
        else:
            channel.close("overtaken")

    def _replace_channel(self, claim: Claim) -> None:
        """Make room for a channel under `claim`: the one before it becomes the leaving one, or closes."""
        before = self.channel
        self.channel = None
        if before is None:
            return

        # Only a worker that makes progress can go on being shown until its successor's picture is there.
        alive = before.silence.is_normal and not before.connection.closed.done()
        if alive and before.epoch < claim.epoch and self.leaving is None:
            self.leaving = before
        else:
            before.close("moved" if before.epoch < claim.epoch else "opened anew")

    async def _examine(self, situation: Situation) -> None:
        if situation.claim is not None:
            event = await self._claiming.examine(situation.claim, silence=self._silence_since_asked)
            if event is not None:
                self._decide(event)

    def _silence_since_asked(self) -> Silence:
        """For how long the worker has shown no progress; until it has opened, since it was asked to."""
        return self._silence(without_link_s=self._shared.clock.monotonic() - self.situation.since_s)

    def _silence(self, *, without_link_s: float) -> Silence:
        """Of the worker: `without_link_s` where there is no channel to hear it through."""
        if self.channel is not None:
            return self.channel.silence
        if self.situation.claim is None:
            return Silence(without_link_s)
        # A process that was slow to give a sign of life is slow to answer a new link, too.
        return Silence(without_link_s, self._shared.links.rhythm(self.situation.claim.worker).alive_patience_s)

    async def _move(self, situation: Situation) -> None:
        if situation.claim is None or situation.cause is None:
            return
        self._stream.moving(situation.cause)
        self._decide(await self._claiming.move(situation.claim, situation.cause))

    def _retry_s(self, asked_s: float) -> float:
        """When to ask for capacity again. Redis asks clients to wait `asked_s`; a gateway that has viewers asks sooner.

        The jitter lets each gateway that waits ask at another moment.
        """
        return min(asked_s, mover.backoff_s(self.situation.failures)) * self._shared.jitter.uniform(0.75, 1.25)

    # -- the link ---------------------------------------------------------------------------------------------------

    def _on_event(self, channel: WorkerChannel, event: ChannelEvent) -> None:
        # Nothing counts that a leaving worker says, but its end.
        if channel is self.leaving:
            if isinstance(event, ChannelClosed | LinkDown):
                self.close_leaving()
            return

        # What comes through a channel of any other claim is stale.
        if self.situation.claim != channel.claim:
            return

        match event:
            case StatsReceived():
                self._stream.reported(channel, event)
            case KeyFrameWanted() | MediaDropped():
                self._stream.key_frame_wanted()
            case ChannelOpened(restore_ms=restore_ms):
                self.channel = channel
                served = self.situation.served
                self._decide(mover.WorkerAccepted(channel.epoch))
                if self.situation.stage is MoveStage.SERVING:
                    moved = served is not None and served.epoch < channel.epoch
                    self._stream.opened(channel, moved=moved, restore_ms=restore_ms)
            case ChannelRefused():
                logger.info("%s: %s refused: %s %s", self.session, channel.claim.worker, event.reason, event.message)
                self._closed(channel, mover.WorkerRefused(channel.epoch, event.reason.value))
                if event.epoch > channel.epoch:
                    self._stream.refresh()
            case ChannelClosed():
                self._closed(channel, mover.WorkerRefused(channel.epoch, "not-owner"))
                self._stream.refresh()
            case HandedOver():
                if event.epoch > channel.epoch:
                    self._stream.refresh()
            case LinkDown():
                self._closed(channel, mover.LinkLost(channel.epoch, gone=event.cause is CloseCause.REFUSED))
            case _:
                logger.debug("%s: a worker does not send %s", self.session, type(event).__name__)

    def _closed(self, channel: WorkerChannel, event: mover.Event) -> None:
        channel.close("")
        if self.channel is channel:
            self.channel = None
        self._decide(event)
