"""One session on this worker, under one epoch: its life, from taking it over to leaving it.

The agent makes one for each claim and ends it; the link server attaches gateways to it, and hands what they send to the
parts of the session themselves: `intake`, `output` and `control`. The parts live and die with it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import Any

from genlock_core.claims.record import SessionRecord
from genlock_core.errors import StaleEpoch
from genlock_core.link.messages import RefusalReason
from genlock_core.media import Codec, SourcePosition
from genlock_core.process.tasks import OwnedTasks
from genlock_core.spec.session import Phase
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.intake.intake import Intake
from genlock_worker.intake.source import SourceFailed
from genlock_worker.output.gateway_channel import ChannelRefusal, GatewayChannel
from genlock_worker.output.pacing import OutputFrame
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.session.control_stream import ControlFollower
from genlock_worker.session.controls import RequestedSettings
from genlock_worker.session.engine_output import EngineOutput
from genlock_worker.session.figures import SessionFigures
from genlock_worker.session.granted_level import GrantedLevel
from genlock_worker.session.opening import Services, engine_name, output_for, plan_for, read_state, snapshot_writer
from genlock_worker.session.reports import Reports
from genlock_worker.session.turning import Turning
from genlock_worker.snapshots.writer import Restored, SnapshotWriter

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

    `elsewhere`: it may be this worker's fault, so another one is to try it first. `seen_epoch`: a higher one than its
    own is known, that of the fence.
    """

    phase: Phase | None
    reason: str
    elsewhere: bool = False
    seen_epoch: int = 0


OnEnd = Callable[["LiveSession", End], None]


class LiveSession:
    """One session under one epoch.

    OPENING (`open`: the fence is raised, the snapshot read, the engine has it) -> RUNNING -> HANDED_OVER (`hand_over`:
    another worker owns it; frames go on for the gateways that are left, snapshots do not) -> CLOSED (`close`). From
    every state `close` leads to CLOSED. `on_end` is called once if the session must leave for a reason of its own.
    """

    def __init__(self, record: SessionRecord, *, epoch: int, services: Services, on_end: OnEnd) -> None:
        spec = record.made
        requested = RequestedSettings.of(spec, record.control)
        self.record = record
        self.name = record.name
        self.epoch = epoch
        self.state = State.OPENING
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is RUNNING; has the error if it cannot be opened."""
        self.alone = asyncio.Event()
        """Set while no gateway is attached."""
        self.restore_ms = 0
        """How long it took to take the session over, once it is open."""
        self.alone.set()
        self._spec = spec
        self._services = services
        self._engine_name = engine_name(self.name, epoch)
        self._turning = Turning(
            record, epoch=epoch, claims=services.claims, engine=services.engine, name=self._engine_name
        )
        self._on_end = on_end
        self._ended = False
        self._writer: SnapshotWriter | None = None
        self._tasks = OwnedTasks(self._part_failed)
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="media")

        # A frame's way: the intake offers chunks to the engine, which tells `_from_engine`, which adds to the output.
        self.figures = SessionFigures(
            session=self.name,
            clock=services.clock,
            metrics=services.metrics,
            counts=services.frame_counts,
            steps=requested.steps,
        )
        self.level = GrantedLevel(
            record,
            epoch=epoch,
            claims=services.claims,
            engine=services.engine,
            name=self._engine_name,
            figures=self.figures,
            clock=services.clock,
            metrics=services.metrics,
        )
        """The most that its claim pays for, and what it pays."""
        self.output = output_for(spec, services=services, executor=self._executor, on_sent=self.figures.sent)
        self.intake = Intake(
            spec,
            clock=services.clock,
            executor=self._executor,
            metrics=services.metrics,
            media_root=services.media_root,
            decoders=services.decoding.for_session(self.name),
            ask_key_frame=self._ask_publisher,
            settle=self._turning.settle,
            offer=partial(services.engine.offer, self._engine_name),
            on_rest=self.output.rest,
            meter=self.figures,
        )
        self.control = ControlFollower(
            self.name,
            requested,
            engine_name=self._engine_name,
            control=services.control,
            intake=self.intake,
            engine=services.engine,
        )
        self._from_engine = EngineOutput(
            spec,
            figures=self.figures,
            output=self.output,
            control=self.control,
            on_paced=self._paced,
            on_given_up=self._given_up,
        )
        self._reports = Reports(
            self.name,
            epoch=epoch,
            claims=services.claims,
            figures=self.figures,
            intake=self.intake,
            output=self.output,
            control=self.control,
            engine=services.engine,
            clock=services.clock,
            has_source=self._has_source,
        )

    # -- the beginning ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the session over from whoever had it; the outcome is in `opened`."""
        started_s = self._services.clock.monotonic()
        engine = self._services.engine
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                restored, requested = await read_state(self.record, epoch=self.epoch, services=self._services)
            self.control.begin(requested)
            checkpoint = self._usable(restored)

            # The session may have left while Redis was asked, and again while the engine opened it.
            if self._has_left():
                return
            plan = plan_for(self._spec, requested, model=engine.model, epoch=self.epoch, granted=self.level.level)
            kept = await engine.open(plan, self._from_engine, checkpoint=checkpoint)
            await self.level.opened(plan.granted)
        except (EngineFailure, StaleEpoch, ValueError, TimeoutError) as error:
            self._refuse(error)
            return

        if self._has_left():
            engine.close(self._engine_name)
            return

        self.state = State.RUNNING
        self.figures.restored = kept
        if checkpoint is not None:
            self._services.metrics.restores.labels("restored" if kept else "refused").inc()
            if not kept:
                self._services.metrics.snapshot_refusals.labels("engine").inc()

        self._start_parts(restored, kept=kept)
        restore_s = self._services.clock.monotonic() - started_s
        self.restore_ms = round(restore_s * 1_000)
        self.opened.set_result(None)
        self._services.metrics.restore_seconds.observe(restore_s)
        logger.info("%s: %s, epoch %d", self.name, "restored" if kept else "opened", self.epoch)

    def _usable(self, restored: Restored | None) -> Checkpoint | None:
        """What the engine is to go on from; None where a fresh start was asked for since, or nothing is stored."""
        if restored is None or self.control.requested.outdate(restored.control_id):
            return None
        return restored.checkpoint

    def _start_parts(self, restored: Restored | None, *, kept: bool) -> None:
        """Let frames in and out. `kept`: the engine goes on from what was restored."""
        writer = snapshot_writer(
            self.name,
            epoch=self.epoch,
            services=self._services,
            restored=restored,
            policy=self._spec.recovery.snapshot,
            on_stale=self._lost,
        )

        if restored is not None:
            # What was fed stays fed, also where the engine starts from nothing: viewers may have seen it.
            self.intake.skip_until(restored.checkpoint.source)
            if kept:
                self.intake.go_on()
            else:
                writer.start_over()

        self._from_engine.keep_snapshots(writer)
        self._writer = writer

        for part, work in (
            ("intake", self._take_in()),
            ("rests", self.intake.rest_when_silent()),
            ("output", self.output.run()),
            ("snapshots", writer.run()),
            ("reports", self._reports.run(writer)),
            ("live phase", self._reports.go_live()),
            ("control", self.control.run()),
        ):
            self._tasks.start(work, name=f"{part} of {self.name}")

    def _has_left(self) -> bool:
        return self.state is not State.OPENING

    def _refuse(self, error: Exception) -> None:
        logger.error("%s: cannot be opened: %s: %s", self.name, type(error).__name__, error)
        self._fail_opening(error)
        if isinstance(error, StaleEpoch):
            self._lost(error)
        elif isinstance(error, TimeoutError):
            self._end(End(Phase.PENDING, "its state could not be read in time"))
        else:
            self._end(End(Phase.FAILED, f"the engine cannot open it: {error}", elsewhere=True))

    def _fail_opening(self, error: Exception) -> None:
        """Let `opened` fail for those that wait for it."""
        if not self.opened.done():
            self.opened.set_exception(error)
            # Perhaps no gateway waits; asyncio would complain of an exception that was never asked for.
            self.opened.exception()

    # -- gateways -----------------------------------------------------------------------------------------------------

    def attach(self, channel: GatewayChannel, *, after: SourcePosition | None) -> None:
        """A gateway joins; nothing that its viewers have seen (`after`) is used or shown again."""
        self.intake.skip_until(after)
        self.output.skip_until(after)
        self.alone.clear()
        self.output.attach(channel)
        self.intake.set_linked(linked=True)

    def detach(self, channel: GatewayChannel) -> None:
        """A gateway left."""
        self.output.detach(channel)
        if not self.output.channels:
            self.alone.set()
            self.intake.set_linked(linked=False)

    def resume(self, channel: GatewayChannel, codec: Codec, *, after: SourcePosition) -> None:
        """The worker before is shown up to there at that gateway: what comes next begins after it, with an IDR."""
        covered = self.output.resume(channel, codec, after)
        if covered is not None:
            self.intake.skip_until(covered)

    def _has_source(self) -> bool:
        """Somebody publishes; a source of the worker's own is there while a gateway is."""
        if self.intake.publisher is None:
            return bool(self.output.channels)
        return any(channel.publisher for channel in self.output.channels)

    @property
    def is_owned(self) -> bool:
        """Whether it runs here, under an epoch that nobody has overtaken."""
        return self.state is State.RUNNING

    @property
    def shown(self) -> OutputFrame | None:
        """The last frame that went out, for whoever looks at it from beside."""
        return self.output.last

    def _ask_publisher(self, codec: Codec) -> None:
        for channel in self.output.channels:
            if channel.publisher:
                channel.connection.request_key_frame(channel.number, codec)

    # -- while it runs ------------------------------------------------------------------------------------------------

    async def _take_in(self) -> None:
        try:
            await self.intake.run()
        except SourceFailed as failure:
            self._end(End(Phase.FAILED, str(failure)))
            return

        # Engine and output have no event in common that says that both are done.
        while not await self._is_drained():  # noqa: ASYNC110
            await asyncio.sleep(DRAINED_POLL_S)

        self._end(End(Phase.ENDED, "the source has ended"))

    async def _is_drained(self) -> bool:
        return await self._services.engine.is_idle(self._engine_name) and self.output.is_drained

    def record_again(self) -> SessionRecord:
        """The record as it must be written back after Redis lost it; the phase is written with the next report."""
        self._reports.write_again()
        return self.level.noted_in(replace(self._turning.record, control=self.control.requested.as_control()))

    # -- the end ------------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Have the newest checkpoint stored before the session moves."""
        if self._writer is not None:
            await self._writer.flush(FLUSH_S)

    def hand_over(self, *, epoch: int, address: str) -> None:
        """Another worker owns it now: tell the gateways where, and go on until they have left."""
        if self.state not in (State.OPENING, State.RUNNING):
            return
        self.state = State.HANDED_OVER
        self._from_engine.stop_snapshots()
        self._reports.owned = False
        logger.info("%s: handed over to %s, epoch %d", self.name, address, epoch)
        for channel in self.output.channels:
            channel.connection.send_handover(channel.number, epoch=epoch, address=address)

    def _paced(self, every: int) -> None:
        """Other frames of the source are wanted: gateways hear of the frame rate before they see it."""
        self.intake.every = every
        self._reports.ask()

    def _given_up(self, reason: str) -> None:
        self._end(End(Phase.FAILED, f"the engine gave it up: {reason}", elsewhere=True))

    def _lost(self, stale: StaleEpoch) -> None:
        self._end(End(None, str(stale), seen_epoch=stale.current))

    def _part_failed(self, task: "asyncio.Task[Any]", error: BaseException) -> None:
        logger.error("%s failed", task.get_name(), exc_info=error)
        self._end(End(Phase.FAILED, f"{type(error).__name__}: {error}", elsewhere=True))

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
        self._reports.owned = False

        # At once: its slot is another session's from now on.
        self._services.engine.close(self._engine_name)

        self._fail_opening(ChannelRefusal(RefusalReason.NOT_OWNER, reason, epoch=self.epoch))
        for channel in self.output.channels:
            channel.connection.close_channel(channel.number, reason)

        self.output.channels.clear()
        self.alone.set()
        await self._tasks.end()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.output.close()
        logger.info("%s: left (%s)", self.name, reason)
