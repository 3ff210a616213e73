"""What Redis has to tell: events of sessions, the workers every second, figures every ten seconds.

Events are hints and may be missed: after every gap all is looked at again. Reading goes on while another replica
leads, so that this one knows everything when its turn comes. Only then do the keys mean work.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.facts import EventKind
from genlock_core.claims.figure_board import POST_EVERY_S, FigureBoard
from genlock_core.clock import Clock
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.queue import WorkQueue, pool_key, session_key
from genlock_operator.reconcile.store_state import StoreState
from genlock_operator.reconcile.tables import FigureTable, WorkerTable
from genlock_operator.watch.watcher import Scope

logger = logging.getLogger(__name__)

BLOCK_MS: Final = 1_000
"""How long one reading of the events waits for the next one."""
POLL_EVERY_S: Final = 1.0
OUTDATED_AFTER_S: Final = 0.1
RETRY_S: Final = 0.5
FIGURES_SPREAD_S: Final = 5.0
"""Sessions with new figures are planned within this time, not all at once."""


@dataclass(slots=True)
class StoreWatch:
    """Three loops; run each as a task. `beat` is told the name of a loop whenever it got round."""

    claims: Claims
    board: FigureBoard
    workers: WorkerTable
    figures: FigureTable
    pending: PendingSessions
    queue: WorkQueue
    store_state: StoreState
    clock: Clock
    scope: Scope
    """Redis serves the whole installation; only what is of a watched namespace is queued."""
    beat: Callable[[str], None]
    turned_away: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever somebody found no room."""
    spread: Callable[[], float] = lambda: random.uniform(0, FIGURES_SPREAD_S)  # noqa: S311 - no secret

    async def follow_events(self) -> None:
        """Queue every session that something happened to."""
        after: str | None = None
        while True:
            try:
                if after is None:
                    after = await self.claims.last_event()
                    self.store_state.came_back.set()  # whatever happened before is found by looking at everything
                for event in await self.claims.events(after, BLOCK_MS):
                    after = event.id
                    if event.kind is EventKind.WAITING:
                        self.turned_away.set()
                    if self.scope.covers(event.session):
                        self.queue.add(session_key(event.session))
                self.store_state.answered()
            except RedisError as error:
                logger.warning("the events cannot be read: %s", error)
                self.store_state.failed()
                after = None
                await asyncio.sleep(RETRY_S)
            self.beat("events")

    async def poll_workers(self) -> None:
        """Keep the table of workers new; queue the pools that changed, and who waits for the room that came."""
        while True:
            try:
                await self.read_workers()
            except RedisError as error:
                logger.warning("the workers cannot be read: %s", error)
                self.store_state.failed()
            self.beat("workers")
            await self._pause()

    async def first_reading(self) -> None:
        """Wait until workers and figures were read once, if Redis answers at all."""
        try:
            await self.read_workers()
            await self.read_figures()
        except RedisError:
            self.store_state.failed()

    async def read_workers(self) -> None:
        """One reading. Raises RedisError."""
        views = {view.identity.name: view for view in await self.claims.workers()}
        self.store_state.noted(await self.claims.run_id())
        changes = self.workers.take(views, now_ms=self.clock.wall_ms())
        for pool in sorted(changes.pools):
            if self.scope.covers(pool):
                self.queue.add(pool_key(pool))
        if changes.roomier:
            for session in self.pending.names():
                self.queue.add(session_key(session))

    async def poll_figures(self) -> None:
        """Keep the figures new; queue the sessions whose figures changed."""
        while True:
            try:
                await self.read_figures()
            except RedisError as error:
                logger.warning("the figures cannot be read: %s", error)
            self.beat("figures")
            await asyncio.sleep(POST_EVERY_S)

    async def read_figures(self) -> None:
        """One reading. Raises RedisError."""
        posted = await self.board.read()
        before = self.figures.figures
        self.figures.figures = posted
        for session in before.keys() | posted.keys():
            if before.get(session) != posted.get(session) and self.scope.covers(session):
                self.queue.add_in(session_key(session), self.spread())

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(POLL_EVERY_S):
                await self.workers.outdated.wait()
        except TimeoutError:
            return
        await asyncio.sleep(OUTDATED_AFTER_S)
        self.workers.outdated.clear()
