"""What users change while a session runs: read from the control stream, and applied to the intake and the engine.

Stands with the session because the stream outlives every worker: where another worker goes on, it reads the same one.
"""

import asyncio
import logging
from dataclasses import replace

from redis.exceptions import RedisError

from genlock_core.stream_state.control import ControlStream
from genlock_worker.intake.intake import Intake
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.session.controls import RequestedSettings

logger = logging.getLogger(__name__)

READ_EVERY_S = 1.0


class ControlFollower:
    """Holds the settings that are `requested` of a session now. `run` follows the control stream."""

    def __init__(
        self,
        session: str,
        requested: RequestedSettings,
        *,
        engine_name: str,
        control: ControlStream,
        intake: Intake,
        engine: EngineClient,
    ) -> None:
        self.requested = requested
        self.awaited_reset: str | None = None
        """The request for a fresh start that the engine has not followed yet.

        Until then no state is stored: it would be one of before the request, and look as if it knew of it.
        """
        self._session = session
        self._engine_name = engine_name
        self._control = control
        self._intake = intake
        self._engine = engine
        self._nudged = asyncio.Event()

    def begin(self, requested: RequestedSettings) -> None:
        """The session starts with these."""
        self.requested = requested
        self._intake.paused = requested.paused

    def nudge(self) -> None:
        """There is something new in the control stream."""
        self._nudged.set()

    def reset_done(self, request: str) -> None:
        """The engine has begun anew as this request wanted."""
        if request == self.awaited_reset:
            self.awaited_reset = None

    async def run(self) -> None:
        """Apply what comes in the control stream: at once on a nudge, else within a second."""
        while True:
            try:
                entries = await self._control.read(self._session, after=self.requested.control_id)
            except RedisError as error:
                logger.warning("%s: the control stream cannot be read: %s", self._session, error)
                entries = []
            if entries:
                self._apply(self.requested.after(entries))
            self._nudged.clear()
            try:
                async with asyncio.timeout(READ_EVERY_S):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    def _apply(self, requested: RequestedSettings) -> None:
        before = self.requested
        self.requested = requested
        self._intake.paused = requested.paused

        change = requested.difference(before)
        if change.reset is not None:
            self.awaited_reset = change.reset
            # The engine may have forgotten the prompt; with the reset it is prepared again.
            change = replace(change, prompt=requested.prompt)
        self._engine.apply(self._engine_name, change)
