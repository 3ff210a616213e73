"""What the worker's word in the control plane starts and does not wait for: a fault of one errand reaches no other."""

import asyncio
import logging
from collections.abc import Coroutine

from genlock_worker.ending import end_tasks

logger = logging.getLogger(__name__)


class Errands:
    """Tasks that are kept until they are done; what fails is logged. `close` ends those that are left."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a session's errand failed", exc_info=error)

    async def close(self) -> None:
        await end_tasks(list(self._tasks))
