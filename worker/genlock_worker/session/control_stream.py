"""What users change while a session runs: read from the control stream, overlaid on what they wanted before."""

import asyncio
import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from genlock_core.stream_state.control import ControlStream
from genlock_worker.session.controls import RequestedSettings

logger = logging.getLogger(__name__)

READ_EVERY_S = 1.0


class ControlFollower:
    """Holds the settings that are `requested` of a session. `run` follows the control stream.

    `on_change` is told the settings now and before.
    """

    def __init__(
        self,
        session: str,
        requested: RequestedSettings,
        *,
        control: ControlStream,
        on_change: Callable[[RequestedSettings, RequestedSettings], None],
    ) -> None:
        self.requested = requested
        self._session = session
        self._control = control
        self._on_change = on_change
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """There is something new in the control stream."""
        self._nudged.set()

    async def run(self) -> None:
        """Apply what comes in the control stream: at once on a nudge, else within a second."""
        while True:
            try:
                entries = await self._control.read(self._session, after=self.requested.control_id)
            except RedisError as error:
                logger.warning("%s: the control stream cannot be read: %s", self._session, error)
                entries = []
            if entries:
                before = self.requested
                self.requested = self.requested.after(entries)
                self._on_change(self.requested, before)
            self._nudged.clear()
            try:
                async with asyncio.timeout(READ_EVERY_S):
                    await self._nudged.wait()
            except TimeoutError:
                continue
