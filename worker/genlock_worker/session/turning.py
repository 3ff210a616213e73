"""Which way round a session is where its manifest says `auto`: settled by the first picture of each publication.

Stands with the session, as a turn concerns its record, its engine and its intake. One script in Redis settles it, so no
two workers ever disagree; whoever takes the session over is told the same.
"""

import asyncio
import logging

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.record import SessionRecord
from genlock_core.spec.session import Resolution, orientation_of
from genlock_worker.rows.engine_client import EngineClient

logger = logging.getLogger(__name__)

RETRY_S = 0.2


class Turning:
    """Holds `record`, which says what is made. `settle` turns the engine where a publication wants it."""

    def __init__(self, record: SessionRecord, *, epoch: int, claims: Claims, engine: EngineClient, name: str) -> None:
        self._record = record
        self._epoch = epoch
        self._claims = claims
        self._engine = engine
        self._engine_name = name

    @property
    def record(self) -> SessionRecord:
        """The record with the orientation that this worker knows of."""
        return self._record

    async def settle(self, run: int, width: int, height: int) -> Resolution:
        """A publication's first picture is so large: what is made of it. Waits for Redis, and for the engine to turn.

        An engine's memory is of one shape, so a turned session begins anew. A square picture turns nothing.
        """
        made = self._record.resolution
        wanted = orientation_of(width, height) or made.orientation
        if wanted is None:
            return made

        while True:
            try:
                orientation, by_run = await self._claims.settle_orientation(
                    self._record.name, epoch=self._epoch, run=run, orientation=wanted
                )
                break
            except RedisError as error:
                logger.warning("%s: its orientation cannot be settled yet: %s", self._record.name, error)
                await asyncio.sleep(RETRY_S)

        self._record = self._record.settled(orientation, by_run)
        turned = self._record.resolution
        if turned != made:
            logger.info("%s: publication %d turns it from %s to %s", self._record.name, run, made, turned)
            await self._engine.turn(self._engine_name, width=turned.width, height=turned.height)
        return turned
