"""How sessions leave a worker: dropped, ended, passed on because they failed here, or handed over politely in a drain.

The agent says which session leaves and why. What the leaving takes beyond that moment runs as a task here.
"""

import asyncio
import logging
from dataclasses import replace

from redis.exceptions import RedisError

from genlock_core.claims.claims import MoveCause
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.errors import GenlockError, NoCapacity, StaleEpoch, UnknownSession
from genlock_core.link.messages import RefusalReason
from genlock_core.process.tasks import OwnedTasks
from genlock_core.spec.session import Phase
from genlock_worker.output.gateway_channel import ChannelRefusal
from genlock_worker.session.live_session import End, LiveSession, State
from genlock_worker.session.opening import Services

logger = logging.getLogger(__name__)

RETRY_S = 0.25
WITHDRAWAL_S = 0.3
"""How much later than the loss itself the inbox may say that it was a polite move."""
HANDOVER_S = 8.0
"""How long a session that was handed over goes on for gateways that have not seen the new worker's first frame."""


class SessionDrain:
    """Takes sessions out of `serving`, the agent's table, which it shares.

    A session is served, then leaving (another worker owns it, and it still sends to gateways that have not left), then
    closed; or it is closed at once.
    """

    def __init__(
        self, me: WorkerIdentity, serving: dict[str, LiveSession], *, services: Services, errands: OwnedTasks
    ) -> None:
        self._me = me
        self._serving = serving
        self._errands = errands
        self._claims = services.claims
        self._metrics = services.metrics
        self._leaving: dict[LiveSession, asyncio.Task[None]] = {}
        self._finished: dict[str, int] = {}
        """Sessions that ended here, by the epoch in which they did: not to be started again."""
        self._passed_on: set[str] = set()
        """Sessions that failed here and were given to another worker: if they come back and fail again, they end."""

    def has_finished(self, session: str, epoch: int) -> bool:
        """Whether it ended here in that epoch, which Redis may not know yet."""
        return self._finished.get(session) == epoch

    # -- at once ------------------------------------------------------------------------------------------------------

    def drop(self, live: LiveSession, reason: str) -> None:
        """Stop serving a session at once."""
        if self._is_served(live):
            del self._serving[live.name]
        self._errands.start(self._close(live, reason), name=f"close {live.name}")

    def came_back(self, session: str) -> None:
        """This worker owns it again: do not wait for gateways that it still serves as the previous owner."""
        for old in [leaving for leaving in self._leaving if leaving.name == session]:
            self._errands.start(self._close(old, "it came back"), name=f"close {session}")

    async def close_all(self, reason: str) -> None:
        """Leave every session as it is in Redis: what is left here is moved once its lease has run out."""
        for live in [*self._serving.values(), *self._leaving]:
            await live.close(reason)
        self._serving.clear()

    async def _close(self, live: LiveSession, reason: str) -> None:
        """Close it. Its metrics go with it, unless another object of its name is served, or still sends."""
        await live.close(reason)
        others = {other.name for other in self._leaving if other is not live}
        if live.name not in self._serving and live.name not in others:
            self._metrics.drop_session(live.name)

    def _is_served(self, live: LiveSession) -> bool:
        return self._serving.get(live.name) is live

    # -- for a reason of its own, or because another worker owns it ---------------------------------------------------

    def ended(self, live: LiveSession, end: End) -> None:
        """A session leaves for a reason of its own."""
        if not self._is_served(live):
            return

        logger.info("%s: ends here (%s)", live.name, end.reason)

        if end.phase is None:
            self.lost(live, seen_epoch=end.seen_epoch)
            return

        # It may be this worker's fault: another one tries it first, but only once.
        if end.elsewhere and live.name not in self._passed_on:
            self._errands.start(self._pass_on(live, MoveCause.REFUSED, end), name=f"pass on {live.name}")
            return

        self._passed_on.discard(live.name)
        self._finished[live.name] = live.epoch
        self._errands.start(self._release(live, end.phase, end.reason), name=f"release {live.name}")
        self.drop(live, end.reason)

    def pass_by(self, live: LiveSession) -> None:
        """A session without a slot here: give it to another worker, or back."""
        live.opened.set_exception(ChannelRefusal(RefusalReason.NO_SLOT, "no slot for it", epoch=live.epoch))
        live.opened.exception()
        end = End(Phase.PENDING, "no slot for it")
        self._errands.start(self._pass_on(live, MoveCause.REQUESTED, end), name=f"pass on {live.name}")

    async def _pass_on(self, live: LiveSession, cause: MoveCause, end: End) -> None:
        """Let another worker have it; if none has room, it ends here as `end` says."""
        try:
            await self._claims.move(live.name, expected_epoch=live.epoch, suspect=self._me.name, cause=cause)
        except NoCapacity as full:
            self.ended(live, replace(end, reason=f"{end.reason}; {full}", elsewhere=False))
            return
        except (RedisError, GenlockError) as error:
            logger.warning("%s: cannot be moved: %s", live.name, error)
        else:
            if end.phase is Phase.FAILED:
                self._passed_on.add(live.name)

        self.drop(live, end.reason)

    async def _release(self, live: LiveSession, phase: Phase, reason: str) -> None:
        while True:
            try:
                await self._claims.release(live.name, epoch=live.epoch, phase=phase, reason=reason[:500])
            except RedisError as error:
                logger.warning("%s: its end cannot be written yet: %s", live.name, error)
                await asyncio.sleep(RETRY_S)
            else:
                return

    def lost(self, live: LiveSession, *, seen_epoch: int = 0) -> None:
        """Another worker owns it. If it was moved politely, the inbox says so in a moment; else it is dropped.

        `seen_epoch`: the fence's, where that is what told so.
        """
        self._errands.start(self._lose(live, seen_epoch), name=f"lose {live.name}")

    async def _lose(self, live: LiveSession, seen_epoch: int) -> None:
        await asyncio.sleep(WITHDRAWAL_S)
        if not self._is_served(live):
            return
        self._metrics.stale_epochs.inc()
        self.drop(live, "it belongs to another owner")

        # Where Redis still says that it is this worker's, it went back to a replica that knows no such epoch, with a
        # clock that gives none as high. Nobody could ever raise the fence, unless Redis is told.
        if seen_epoch:
            try:
                await self._claims.claim(live.name, seen_epoch=seen_epoch)
            except (RedisError, GenlockError) as error:
                logger.warning("%s: no claim above epoch %d yet: %s", live.name, seen_epoch, error)

    # -- politely -----------------------------------------------------------------------------------------------------

    def hand_over(self, live: LiveSession, *, epoch: int, address: str) -> None:
        """Another worker owns it: tell its gateways where, and close it once they have left."""
        if live.state is State.HANDED_OVER or not self._is_served(live):
            return
        del self._serving[live.name]
        live.hand_over(epoch=epoch, address=address)
        self._leaving[live] = self._errands.start(self._see_out(live), name=f"see out {live.name}")

    async def _see_out(self, live: LiveSession) -> None:
        """Store the newest checkpoint, and go on until the gateways have left or their time is over."""
        await live.flush()
        try:
            async with asyncio.timeout(HANDOVER_S):
                await live.alone.wait()
        except TimeoutError:
            logger.info("%s: %d gateways did not leave after the handover", live.name, len(live.output.channels))
        await self._close(live, "handed over")
        self._leaving.pop(live, None)

    async def move_all(self) -> None:
        """Move every session to another worker, and wait until each is closed. Takes as long as it takes."""
        left = await self._take_no_more()
        logger.info("draining, %d sessions to move", left)
        await asyncio.gather(*(self._move_away(live) for live in list(self._serving.values())))
        await asyncio.gather(*self._leaving.values())

    async def _take_no_more(self) -> int:
        """Have Redis give this worker no more sessions; returns how many it has."""
        while True:
            try:
                return len(await self._claims.close(self._me))
            except RedisError as error:
                logger.warning("cannot say yet that this worker drains: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _move_away(self, live: LiveSession) -> None:
        """Snapshot, then move; tried again while there is no room for the session elsewhere."""
        told = ""
        while self._is_served(live):
            await live.flush()
            try:
                move = await self._claims.move(
                    live.name, expected_epoch=live.epoch, suspect=self._me.name, cause=MoveCause.DRAIN
                )
            except (UnknownSession, StaleEpoch) as gone:
                self.drop(live, str(gone))
                return
            except (NoCapacity, RedisError) as error:
                if str(error) != told:
                    told = str(error)
                    logger.warning("%s: cannot move yet: %s", live.name, told)
                await asyncio.sleep(RETRY_S)
            else:
                self.hand_over(live, epoch=move.claim.epoch, address=move.claim.address)
                return
