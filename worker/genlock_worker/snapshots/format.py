"""Which snapshot format to write during a rollout, so that sessions can move to old workers as well as to new ones."""

import asyncio
import logging

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.stream_state.formats import READABLE, writer_format

logger = logging.getLogger(__name__)

FORMATS_EVERY_S = 5.0


class SnapshotFormat:
    """The newest format that all live workers read. Calling it gives the format; `run` follows the workers."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._format = READABLE.oldest

    def __call__(self) -> int:
        return self._format

    async def run(self) -> None:
        """Follow the workers that come and go, for ever."""
        while True:
            try:
                self._format = writer_format(view.formats for view in await self._claims.workers())
            except RedisError as error:
                logger.debug("the workers' formats cannot be read: %s", error)
            await asyncio.sleep(FORMATS_EVERY_S)
