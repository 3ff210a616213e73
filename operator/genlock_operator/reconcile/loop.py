"""Take a key, reconcile it, say how it went: what each of the operator's concurrent loops does for ever."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from genlock_operator.kube.errors import Conflict, KubeError, Unavailable
from genlock_operator.reconcile.executor import NotLeading
from genlock_operator.reconcile.pool import PoolReconciler
from genlock_operator.reconcile.queue import WorkKey, WorkQueue
from genlock_operator.reconcile.session import SessionReconciler

logger = logging.getLogger(__name__)

LONGEST_S: Final = 60.0


@dataclass(slots=True)
class ReconcileLoop:
    """`run` as often as keys are to be worked on at once."""

    queue: WorkQueue
    sessions: SessionReconciler
    pools: PoolReconciler
    beat: Callable[[str], None]
    reconciled: Callable[[str, str, float], None]
    """Told of every reconciliation: kind, result (done, again, conflict or failed), seconds."""

    async def run(self) -> None:
        """Work for ever. Raises NotLeading."""
        while True:
            key = await self.queue.get()
            started = time.monotonic()
            result = await self._reconcile(key)
            if result == "done" and self.queue.comes_again(key):
                result = "again"
            self.queue.done(key, failed=result in ("conflict", "failed"))
            self.reconciled(key.kind, result, time.monotonic() - started)
            self.beat("reconcile")

    async def _reconcile(self, key: WorkKey) -> str:
        named: dict[str, object] = {key.kind: key.name}
        try:
            async with asyncio.timeout(LONGEST_S):
                await (self.sessions if key.kind == "session" else self.pools).reconcile(key.name)
        except Conflict as error:
            logger.debug("%s changed meanwhile, it is looked at again: %s", key.name, error, extra=named)
            return "conflict"
        except (KubeError, TimeoutError) as error:
            level = logging.WARNING if isinstance(error, Unavailable | TimeoutError) else logging.ERROR
            logger.log(level, "%s: %s; tried again later", key.name, error or "it took too long", extra=named)
            return "failed"
        except NotLeading:
            raise
        except Exception:
            # One object that the operator stumbles over must not stop the others.
            logger.exception("%s: a mistake of the operator's own; tried again later", key.name, extra=named)
            return "failed"
        return "done"
