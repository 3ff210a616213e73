"""Everything is looked at again: when this replica begins to lead, when Redis came back, and every ten minutes.

So nothing depends on having heard of every change. It also finds what should not be there: records of sessions whose
object was deleted while nobody watched.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_operator.kube.api import KubeApi
from genlock_operator.kube.errors import KubeError
from genlock_operator.reconcile.pool import PoolReconciler
from genlock_operator.reconcile.queue import WorkQueue, pool_key, session_key
from genlock_operator.reconcile.store_state import StoreState
from genlock_operator.watch.watcher import Watcher

logger = logging.getLogger(__name__)

EVERY_S: Final = 600.0
RETRY_S: Final = 1.0
LOOK_S: Final = 0.5


@dataclass(slots=True)
class Resync:
    """`run` as a task, once this replica leads and has listed everything."""

    api: KubeApi
    watcher: Watcher
    claims: Claims
    pools: PoolReconciler
    queue: WorkQueue
    store_state: StoreState
    beat: Callable[[str], None]

    async def run(self) -> None:
        """All at once now, and again whenever something may have been missed."""
        waited_s = EVERY_S
        while True:
            if self.store_state.came_back.is_set() or waited_s >= EVERY_S:
                self.store_state.came_back.clear()
                self.pools.forget_reserves()
                self.queue_all()
                await self._queue_leftovers()
            if self.watcher.listed_anew.is_set() or waited_s >= EVERY_S:
                self.watcher.listed_anew.clear()
                await self._sweep()
                waited_s = 0.0
            self.beat("resync")
            await asyncio.sleep(LOOK_S)
            waited_s += LOOK_S

    def queue_all(self) -> None:
        """Every pool and session that is there; the oldest sessions first, as they were first to ask."""
        caches = self.watcher.caches
        for name in sorted({*caches.pools.keys(), *caches.mistaken}):
            self.queue.add(pool_key(name))
        for session in sorted(caches.sessions, key=lambda one: (one.meta.created_ms, one.meta.key)):
            self.queue.add(session_key(session.meta.key))

    async def _queue_leftovers(self) -> None:
        """Records of watched namespaces without a session."""
        try:
            names = await self.claims.sessions()
        except RedisError as error:
            logger.warning("the records cannot be listed, that comes later: %s", error)
            self.store_state.failed()
            return
        known = self.watcher.caches.sessions
        for name in sorted(names):
            if self.watcher.scope.covers(name) and known.get(name) is None:
                self.queue.add(session_key(name))

    async def _sweep(self) -> None:
        try:
            await self.watcher.sweep(self.api)
        except KubeError as error:
            logger.warning("what is there cannot be listed, that comes later: %s", error)
            self.watcher.listed_anew.set()
