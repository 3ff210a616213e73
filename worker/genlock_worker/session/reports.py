"""What the world is told of a session that runs: its figures to every gateway, its phase to its record."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.clock import Clock
from genlock_core.slo.report import StreamReport
from genlock_core.spec.session import Phase
from genlock_worker.intake.intake import Intake
from genlock_worker.output.output import Output
from genlock_worker.rows.engine_client import EngineClient
from genlock_worker.session.control_stream import ControlFollower
from genlock_worker.session.figures import SessionFigures
from genlock_worker.session.live_phase import LivePhase
from genlock_worker.snapshots.writer import SnapshotWriter

logger = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0


class Reports:
    """Tells a session's state while it runs: `run` to its gateways, `go_live` to its record."""

    def __init__(
        self,
        session: str,
        *,
        epoch: int,
        claims: Claims,
        figures: SessionFigures,
        intake: Intake,
        output: Output,
        control: ControlFollower,
        engine: EngineClient,
        clock: Clock,
        has_source: Callable[[], bool],
    ) -> None:
        self.owned = True
        """Whether this worker owns the session: another owner's record is not ours to write."""
        self._session = session
        self._epoch = epoch
        self._claims = claims
        self._figures = figures
        self._intake = intake
        self._output = output
        self._control = control
        self._engine = engine
        self._clock = clock
        self._has_source = has_source
        self._phase = LivePhase(clock.monotonic())
        self._written: Phase | None = None
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """The next report goes out at once: something is in it that must not come late."""
        self._asked.set()

    async def run(self, writer: SnapshotWriter) -> None:
        """Each second, and when asked: the figures to every gateway, the phase to the record."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_EVERY_S):
                    await self._asked.wait()
            self._asked.clear()
            report = self._report(writer)
            for channel in self._output.channels:
                channel.connection.send_stats(channel.number, report.to_dict())
            await self._write_phase()

    async def go_live(self) -> None:
        """Write phase Live as soon as the first frame has gone out."""
        await self._figures.first_sent.wait()
        await self._write_phase()

    async def _write_phase(self) -> None:
        """Write the phase, if it is another one; tried again with the next report if Redis is away."""
        frames_sent = self._figures.frames_sent
        phase = self._phase.look(present=self._has_source(), frames_sent=frames_sent, now_s=self._clock.monotonic())
        if phase is None or phase is self._written or not self.owned:
            return
        try:
            if await self._claims.set_phase(self._session, self._epoch, phase):
                self._written = phase
        except RedisError as error:
            logger.warning("%s: the phase cannot be written: %s", self._session, error)

    def write_again(self) -> None:
        """Redis has lost the phase: it is written with the next report."""
        self._written = None

    def _report(self, writer: SnapshotWriter) -> StreamReport:
        requested = self._control.requested
        return self._figures.report(
            prompt=requested.prompt,
            requested_steps=requested.steps,
            frame_rate=self._intake.frame_rate,
            paused=requested.paused,
            strained=self._engine.strained,
            encoders=" ".join(self._output.encoder_names),
            snapshot=writer.report,
            trouble=self._intake.trouble,
        )
