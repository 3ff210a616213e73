"""What the world is told of a session that runs: its figures to every gateway, that it is Live to its record."""

import asyncio
import logging
from collections.abc import Callable, Collection

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.slo.report import StreamReport
from genlock_core.spec.session import Phase
from genlock_worker.session.gateway_channel import GatewayChannel

logger = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0


class Reports:
    """`run` tells once a second what `look` gives; phase Live is written as long as `owned` says that it may be."""

    def __init__(
        self,
        session: str,
        *,
        epoch: int,
        claims: Claims,
        channels: Collection[GatewayChannel],
        look: Callable[[], StreamReport],
        owned: Callable[[], bool],
    ) -> None:
        self._session = session
        self._epoch = epoch
        self._claims = claims
        self._channels = channels
        self._look = look
        self._owned = owned
        self._is_live = False

    async def run(self) -> None:
        """Each second: the figures to every gateway, the phase to the record."""
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            report = self._look()
            for channel in self._channels:
                channel.send_report(report)
            if report.frames_out:
                await self.write_live()

    async def write_live(self) -> None:
        """Write phase Live, if it is not written yet; tried again with the next report if Redis is away."""
        if self._is_live or not self._owned():
            return
        try:
            self._is_live = await self._claims.set_phase(self._session, self._epoch, Phase.LIVE) or self._is_live
        except RedisError as error:
            logger.warning("%s: the phase cannot be written: %s", self._session, error)

    def write_again(self) -> None:
        """Redis has lost the phase: it is written with the next report."""
        self._is_live = False
