"""What Redis has to tell: events of sessions, the workers every second, figures every ten.

Events are hints and may be missed: after every gap all is looked at again. Reading goes on while another replica
leads, so that this one knows everything when its turn comes; only then do the keys mean work.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.figure_board import POST_EVERY_S, FigureBoard
from genlock_core.clock import Clock
from genlock_operator.reconcile import keys
from genlock_operator.reconcile.pending import PendingSessions
from genlock_operator.reconcile.queue import WorkQueue
from genlock_operator.reconcile.session import Board
from genlock_operator.reconcile.store_state import StoreState
from genlock_operator.reconcile.workers import WorkerTable

logger = logging.getLogger(__name__)

BLOCK_MS: Final = 1_000
POLL_EVERY_S: Final = 1.0
POKED_AFTER_S: Final = 0.1
RETRY_S: Final = 0.5
FIGURES_SPREAD_S: Final = 5.0
"""Sessions with new figures are planned within this time, not all at once."""


@dataclass(slots=True)
class StoreWatch:
    """Three loops; run each as a task. `beat` is told the name of a loop whenever it got round."""

    claims: Claims
    figures: FigureBoard
    workers: WorkerTable
    board: Board
    waiting: PendingSessions
    queue: WorkQueue
    state: StoreState
    clock: Clock
    ours: Callable[[str], bool]
    """Whether a session `namespace/name` is of a watched namespace."""
    beat: Callable[[str], None]
    spread: Callable[[], float] = lambda: random.uniform(0, FIGURES_SPREAD_S)  # noqa: S311 - no secret
    _poked: asyncio.Event = field(default_factory=asyncio.Event)

    def poke(self) -> None:
        """Read the workers again, soon."""
        self._poked.set()

    async def follow_events(self) -> None:
        """Queue every session that something happened to."""
        after: str | None = None
        while True:
            try:
                if after is None:
                    after = await self.claims.last_event()
                    self.state.came_back.set()  # whatever happened before is found by looking at everything
                for event in await self.claims.events(after, BLOCK_MS):
                    after = event.id
                    if self.ours(event.session):
                        self.queue.add(keys.session(event.session))
                self.state.answered()
            except RedisError as error:
                logger.warning("the events cannot be read: %s", error)
                self.state.failed()
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
                self.state.failed()
            self.beat("workers")
            await self._pause()

    async def first_reading(self) -> None:
        """Wait until workers and figures were read once, if Redis answers at all."""
        try:
            await self.read_workers()
            await self.read_figures()
        except RedisError:
            self.state.failed()

    async def read_workers(self) -> None:
        """One reading. Raises RedisError."""
        views = {view.identity.name: view for view in await self.claims.workers()}
        self.state.noted(await self.claims.run_id())
        difference = self.workers.take(views, now_ms=self.clock.wall_ms())
        for pool in sorted(difference.pools):
            if self.ours(pool):
                self.queue.add(keys.pool(pool))
        if difference.roomier:
            for session in self.waiting.waiting():
                self.queue.add(keys.session(session))

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
        before, self.board.figures = self.board.figures, await self.figures.read()
        for session in before.keys() | self.board.figures.keys():
            if before.get(session) != self.board.figures.get(session) and self.ours(session):
                self.queue.add_in(keys.session(session), self.spread())

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(POLL_EVERY_S):
                await self._poked.wait()
        except TimeoutError:
            return
        await asyncio.sleep(POKED_AFTER_S)
        self._poked.clear()
