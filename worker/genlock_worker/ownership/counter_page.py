"""What this worker has counted and learned, written down where those who decide how many workers there are read it.

Everything here is this worker's own: a frame counts as late from when its chunk was complete here, and what a batch
costs is what the scheduler has learned, beside what the profile promised for it.
"""

import asyncio
import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from genlock_core.claims.counters import (
    MAX_COSTS,
    POST_EVERY_S,
    CostShape,
    CounterBoard,
    LearnedCost,
    WorkerCounters,
)
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import CHUNK_FRAMES
from genlock_worker.rows.cost_model import LearnedBatches
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.session.figures import FrameCounts

logger = logging.getLogger(__name__)

ENGINE_ANSWERS_IN_S = 5.0
"""An engine that stands still for longer has learned nothing meanwhile: what it said last is written once more."""


class CounterPage:
    """The worker's page on the board, renewed by `keep_posting`."""

    def __init__(
        self,
        board: CounterBoard,
        *,
        identity: WorkerIdentity,
        pool: str,
        counts: FrameCounts,
        engine: EngineClient,
        promised: Callable[[Resolution], StepTime | None],
    ) -> None:
        self._board = board
        self._identity = identity
        self._pool = pool
        self._counts = counts
        self._engine = engine
        self._promised = promised
        self._costs: tuple[LearnedCost, ...] = ()

    async def keep_posting(self) -> None:
        """Write the page every `POST_EVERY_S`, for ever."""
        while True:
            try:
                await self.post()
            except RedisError as error:
                logger.warning("the counters cannot be written: %s", error)
            await asyncio.sleep(POST_EVERY_S)

    async def post(self) -> None:
        """Write the page. Raises RedisError."""
        try:
            async with asyncio.timeout(ENGINE_ANSWERS_IN_S):
                self._costs = self._told(await self._engine.learned())
        except TimeoutError:
            logger.info("the engine does not say what batches cost now")

        await self._board.post(
            WorkerCounters(
                worker=self._identity.name,
                incarnation=self._identity.incarnation,
                pool=self._pool,
                frames=self._counts.sent,
                late=self._counts.late,
                costs=self._costs,
            )
        )

    def _told(self, learned: list[LearnedBatches]) -> tuple[LearnedCost, ...]:
        """A stream's first chunk, which is longer, comes once: it says nothing of what a session costs."""
        usual = [batches for batches in learned if batches.shape.frames == CHUNK_FRAMES]
        heaviest = sorted(usual, key=lambda batches: -batches.weight)[:MAX_COSTS]
        return tuple(self._cost(batches) for batches in heaviest)

    def _cost(self, batches: LearnedBatches) -> LearnedCost:
        shape = batches.shape
        promised = self._promised(Resolution(width=shape.width, height=shape.height))
        # Readers know of lines alone: theirs is the one that batches like the last ones lie on.
        line = batches.cost.line_at(batches.rows)
        return LearnedCost(
            CostShape(shape.model, shape.width, shape.height),
            base_s=line.base_s,
            row_s=line.row_s,
            weight=batches.weight,
            chunk_s=batches.chunk_s,
            rows=batches.rows,
            chunks=batches.chunks,
            promised_base_s=None if promised is None else promised.base_s,
            promised_row_s=None if promised is None else promised.row_s,
        )
