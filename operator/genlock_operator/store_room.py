"""The room in Redis: says how much of it all snapshots may take, and measures how full it is.

Nothing else of the operator needs this, and nothing waits for it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError

from genlock_core import store as stores
from genlock_core.claims.snapshot_budget import SnapshotBudget
from genlock_core.metrics.operator import OperatorMetrics

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0


class StoreRoom:
    """`run` for ever. `leads` says whether this replica may write."""

    def __init__(
        self,
        store: stores.Store,
        *,
        budget_bytes: int | None,
        metrics: OperatorMetrics,
        leads: Callable[[], bool],
    ) -> None:
        self._store = store
        self._budget = SnapshotBudget(store)
        self._budget_bytes = budget_bytes
        self._metrics = metrics
        self._leads = leads

    async def run(self) -> None:
        """Look again and again, as Redis may lose what it was told."""
        while True:
            try:
                await self.look()
            except RedisError as error:
                logger.debug("the room in Redis cannot be read: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Settle the budget, and set the metrics. Raises RedisError."""
        if self._leads():
            await self._budget.settle(self._budget_bytes)

        bookings = await self._budget.bookings()
        self._metrics.snapshot_bytes.labels("budget").set(bookings.budget)
        self._metrics.snapshot_bytes.labels("booked").set(bookings.booked)

        fullest = await stores.fullest(self._store)
        self._metrics.store_bytes.labels("used").set(fullest.used)
        self._metrics.store_bytes.labels("limit").set(fullest.limit)
