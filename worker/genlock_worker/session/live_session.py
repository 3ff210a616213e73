"""One session on this worker, under one epoch: everything between the link and the engine.

The agent makes one for each claim and ends it; the link server attaches gateways to it. What it is made of (intake,
pacer and output, snapshot writer, figures) lives and dies with it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from genlock_core.claims.record import SessionRecord
from genlock_core.errors import StaleEpoch
from genlock_core.link.messages import RefusalReason
from genlock_core.media import Codec, SourcePosition
from genlock_core.process.tasks import OwnedTasks
from genlock_core.slo.report import SnapshotReport, StreamReport
from genlock_core.spec.session import Phase
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.intake.intake import Intake
from genlock_worker.intake.publisher import SourceUnit
from genlock_worker.intake.source import SourceFailed
from genlock_worker.output.output import SentFrame
from genlock_worker.session.control_stream import ControlFollower
from genlock_worker.session.controls import RequestedSettings
from genlock_worker.session.engine_output import EngineOutput
from genlock_worker.session.figures import SessionFigures
from genlock_worker.session.gateway_channel import ChannelRefusal, GatewayChannel
from genlock_worker.session.opening import Services, engine_name, output_for, plan_for, read_state, snapshot_writer
from genlock_worker.session.reports import Reports
from genlock_worker.snapshots.writer import SnapshotWriter

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10.0
FLUSH_S = 1.0
DRAINED_POLL_S = 0.05


class State(Enum):
    OPENING = auto()
    RUNNING = auto()
    HANDED_OVER = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class End:
    """Why a session leaves this worker by itself. `phase` None: another owner has it, nothing is to be written.

    `elsewhere`: it may be this worker's fault, so another one is to try it first.
    """

    phase: Phase | None
    reason: str
    elsewhere: bool = False


OnEnd = Callable[["LiveSession", End], None]


class LiveSession:
    """One session under one epoch.

    OPENING (`open`: the fence is raised, the snapshot read, the engine has it) -> RUNNING -> HANDED_OVER (`hand_over`:
    another worker owns it; frames go on for the gateways that are left, snapshots do not) -> CLOSED (`close`). From
    every state `close` leads to CLOSED. `on_end` is called once if the session must leave for a reason of its own.
    """

    def __init__(self, record: SessionRecord, *, epoch: int, services: Services, on_end: OnEnd) -> None:
        spec = record.session
        self.record = record
        self.name = record.name
        self.epoch = epoch
        self.state = State.OPENING
        self._engine_name = engine_name(self.name, epoch)
        self.channels: set[GatewayChannel] = set()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is RUNNING; has the error if it cannot be opened."""
        self.alone = asyncio.Event()
        """Set while no gateway is attached."""
        self.alone.set()
        self._spec = spec
        self._services = services
        self._on_end = on_end
        self._ended = False
        self._steering = ControlFollower(
            self.name, RequestedSettings.of(spec, record.control), control=services.control, on_change=self._steer
        )
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="media")
        clock, metrics, steps = services.clock, services.metrics, self._steering.requested.steps
        self.figures = SessionFigures(session=self.name, clock=clock, metrics=metrics, steps=steps)
        self._intake = Intake(
            spec,
            clock=clock,
            executor=self._executor,
            metrics=metrics,
            media_root=services.media_root,
            ask_key_frame=self._ask_publisher,
            offer=lambda chunk: services.engine.offer(self._engine_name, chunk),
            meter=self.figures,
        )
        self._output = output_for(spec, services=services, executor=self._executor, on_sent=self._sent)
        self._from_engine = EngineOutput(
            spec,
            figures=self.figures,
            output=self._output,
            control_id=lambda: self._steering.requested.control_id,
            on_given_up=lambda reason: self._end(End(Phase.FAILED, f"the engine gave it up: {reason}", elsewhere=True)),
        )
        self._reports = Reports(
            self.name,
            epoch=epoch,
            claims=services.claims,
            channels=self.channels,
            look=self._report,
            owned=lambda: self.state is State.RUNNING,
        )
        self._writer: SnapshotWriter | None = None
        self._tasks = OwnedTasks(self._part_failed)

    # -- the beginning ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the session over from whoever had it; the outcome is in `opened`."""
        started_s = self._services.clock.monotonic()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                restored, self._steering.requested = await read_state(
                    self.record, epoch=self.epoch, services=self._services
                )
            checkpoint = restored.checkpoint if restored is not None else None
            fed = checkpoint.source if checkpoint is not None else None
            if restored is not None and self._steering.requested.outdate(restored.control_id):
                checkpoint = None  # a fresh start was asked for since
            if self._has_left():
                return  # it left while Redis was asked
            plan = plan_for(self._spec, self._steering.requested, model=self._services.engine.model, epoch=self.epoch)
            kept = await self._services.engine.open(plan, self._from_engine, checkpoint=checkpoint)
        except (EngineFailure, StaleEpoch, ValueError, TimeoutError) as error:
            self._refuse(error)
            return
        if self._has_left():
            self._services.engine.close(self._engine_name)
            return
        self.state = State.RUNNING
        self.figures.restored = kept
        self._intake.skip_until(fed)
        self._writer = snapshot_writer(
            self.name,
            epoch=self.epoch,
            services=self._services,
            restored=restored,
            on_stale=lambda stale: self._end(End(None, str(stale))),
        )
        self._from_engine.keep_snapshots(self._writer)
        if checkpoint is not None:
            self._services.metrics.restores.labels("restored" if kept else "refused").inc()
        if restored is not None and not kept:
            self._writer.start_over()
        self._intake.paused = self._steering.requested.paused
        for part, work in (
            ("intake", self._intake_loop()),
            ("output", self._output.run()),
            ("snapshots", self._writer.run()),
            ("reports", self._reports.run()),
            ("control", self._steering.run()),
        ):
            self._tasks.start(work, name=f"{part} of {self.name}")
        self.opened.set_result(None)
        self._services.metrics.restore_seconds.observe(self._services.clock.monotonic() - started_s)
        logger.info("%s: %s, epoch %d", self.name, "restored" if kept else "opened", self.epoch)

    def _has_left(self) -> bool:
        return self.state is not State.OPENING

    def _refuse(self, error: Exception) -> None:
        logger.error("%s: cannot be opened: %s: %s", self.name, type(error).__name__, error)
        if not self.opened.done():
            self.opened.set_exception(error)
            self.opened.exception()  # whoever waits gets it too; nobody may
        if isinstance(error, StaleEpoch):
            self._end(End(None, str(error)))
        elif isinstance(error, TimeoutError):
            self._end(End(Phase.PENDING, "its state could not be read in time"))
        else:
            self._end(End(Phase.FAILED, f"the engine cannot open it: {error}", elsewhere=True))

    def _part_failed(self, task: "asyncio.Task[Any]", error: BaseException) -> None:
        logger.error("%s failed", task.get_name(), exc_info=error)
        self._end(End(Phase.FAILED, f"{type(error).__name__}: {error}", elsewhere=True))

    # -- gateways -----------------------------------------------------------------------------------------------------

    def attach(self, channel: GatewayChannel, *, after: SourcePosition | None) -> None:
        """A gateway joins; nothing that its viewers have seen (`after`) is used or shown again."""
        self._intake.skip_until(after)
        self._from_engine.skip_until(after)
        self.channels.add(channel)
        self.alone.clear()
        self._output.attach(channel, channel)
        self._intake.set_linked(linked=True)

    def detach(self, channel: GatewayChannel) -> None:
        """A gateway left."""
        self.channels.discard(channel)
        self._output.detach(channel)
        if not self.channels:
            self.alone.set()
            self._intake.set_linked(linked=False)

    def set_codecs(self, channel: GatewayChannel, codecs: frozenset[Codec]) -> None:
        """A gateway's viewers need these codecs now."""
        channel.want(codecs)
        self._output.attach(channel, channel)

    def ask_idr(self, codec: Codec) -> None:
        self._output.ask_idr(codec)

    def output_dropped(self, channel: GatewayChannel, codec: Codec) -> None:
        """The link to a gateway was too slow for the output."""
        self._output.gap(channel, codec)

    def push(self, unit: SourceUnit) -> None:
        """The publisher's next access unit."""
        self._intake.push(unit)

    def nudge(self) -> None:
        """There is something new in the control stream."""
        self._steering.nudge()

    def _ask_publisher(self, codec: Codec) -> None:
        for channel in self.channels:
            if channel.publisher:
                channel.request_key_frame(codec)

    # -- while it runs ------------------------------------------------------------------------------------------------

    async def _intake_loop(self) -> None:
        try:
            await self._intake.run()
        except SourceFailed as failure:
            self._end(End(Phase.FAILED, str(failure)))
            return
        while not await self._is_drained():  # noqa: ASYNC110 - engine and output have no common event
            await asyncio.sleep(DRAINED_POLL_S)
        self._end(End(Phase.ENDED, "the source has ended"))

    async def _is_drained(self) -> bool:
        return await self._services.engine.is_idle(self._engine_name) and self._output.is_drained

    def _steer(self, now: RequestedSettings, before: RequestedSettings) -> None:
        self._intake.paused = now.paused
        change = now.difference(before)
        if change.reset is not None:
            self._from_engine.expect_reset(change.reset)
            change = replace(change, prompt=now.prompt)  # is prepared again if the engine has forgotten it
        self._services.engine.apply(self._engine_name, change)

    def record_again(self) -> SessionRecord:
        """The record as it must be written back after Redis lost it; the phase is written with the next report."""
        self._reports.write_again()
        return replace(self.record, control=self._steering.requested.as_control())

    def _sent(self, frame: SentFrame) -> None:
        self.figures.sent(frame)
        if self.figures.frames_sent == 1:
            self._tasks.start(self._reports.write_live(), name=f"live phase of {self.name}")

    def _report(self) -> StreamReport:
        requested = self._steering.requested
        return self.figures.report(
            prompt=requested.prompt,
            requested_steps=requested.steps,
            paused=requested.paused,
            encoders=" ".join(self._output.encoder_names),
            snapshot=self._writer.report if self._writer is not None else SnapshotReport(),
        )

    # -- the end ------------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Have the newest checkpoint stored before the session moves."""
        if self._writer is not None:
            await self._writer.flush(FLUSH_S)

    def hand_over(self, *, epoch: int, address: str) -> None:
        """Another worker owns it now: tell the gateways where, and go on until they have left."""
        if self.state in (State.OPENING, State.RUNNING):
            self.state = State.HANDED_OVER
            self._from_engine.stop_snapshots()
            logger.info("%s: handed over to %s, epoch %d", self.name, address, epoch)
            for channel in self.channels:
                channel.hand_over(epoch=epoch, address=address)

    def _end(self, end: End) -> None:
        if not self._ended and self.state is not State.CLOSED:
            self._ended = True
            self._on_end(self, end)

    async def close(self, reason: str) -> None:
        """Leave: no frame and no write of this session after this."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._from_engine.close()
        self._services.engine.close(self._engine_name)  # at once: its slot is another one's from now on
        if not self.opened.done():
            self.opened.set_exception(ChannelRefusal(RefusalReason.NOT_OWNER, reason, epoch=self.epoch))
            self.opened.exception()
        for channel in list(self.channels):
            channel.close(reason)
        self.channels.clear()
        await self._tasks.end()
        self._executor.shutdown(wait=False, cancel_futures=True)
        logger.info("%s: left (%s)", self.name, reason)
