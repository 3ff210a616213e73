"""One micro-step of many sessions, and what comes of it: chunks that are finished, sessions that must go back.

On the engine's thread, under `engine_loop`, which decides what runs and when; only the pictures of finished chunks come
in on the thread that decoded them.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Condition

from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.engines.contract import Chunk, Engine, EngineFailure, Frames, Row, RowResult
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.lanes import LaneChunk
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.residents import Resident
from genlock_worker.rows.scheduler import Batch

logger = logging.getLogger(__name__)

MAX_RESTORES = 2
"""A session that fails more often than this without a finished chunk between starts anew: its state may be at fault."""
MAX_FAILURES = 4
"""After this many failures without a finished chunk between them a session is given up."""


class MicroSteps:
    """Runs batches in the engine.

    `lanes_lock` guards the lanes and the table of residents; it is never held while the engine works. `tell` calls back
    on the asyncio thread, `later` on the engine's.
    """

    def __init__(
        self,
        engine: Engine,
        residents: dict[str, Resident],
        *,
        lanes_lock: Condition,
        tell: Callable[[Callable[[], object]], None],
        later: Callable[[Callable[[], None]], None],
        clock: Clock,
        cost: CostModel,
        metrics: WorkerMetrics,
    ) -> None:
        self._engine = engine
        self._residents = residents
        self._lanes_lock = lanes_lock
        self._tell = tell
        self._later = later
        self._clock = clock
        self._cost = cost
        self._metrics = metrics
        self.ended = 0
        """How many have come back from the engine, with results or with a failure."""
        self._apart: set[str] = set()
        """Sessions that failed together: each runs alone until it finished a chunk, which shows who is at fault."""
        self.busy_s = 0.0
        """The engine's time in those that gave results."""

    def run(self, batch: Batch) -> None:
        """Run a batch; a failure takes the sessions that it touches back to their last checkpoint."""
        rows = self._prepare(batch.rows)
        if not rows:
            return

        started_s = self._clock.monotonic()
        self._mark_started(rows, started_s)

        # A failure that names its session is that session's; any other may be anybody's.
        try:
            results = self._engine.run(rows)
        except EngineFailure as failure:
            self.reset(failure.session, failure.reason)
            return
        except Exception as error:
            logger.exception("a micro-step failed")
            self._reset_all({row.session for row in rows}, f"{type(error).__name__}: {error}")
            return
        finally:
            self.ended += 1

        # Only micro-steps that gave results teach what one costs.
        seconds = self._clock.monotonic() - started_s
        self.busy_s += seconds
        self._cost.observe(batch.shape, len(rows), seconds)
        self._metrics.micro_step.observe(seconds)
        self._metrics.micro_step_rows.observe(len(rows))
        self._note(results, seconds=seconds)

    def _prepare(self, wanted: Sequence[Row]) -> list[Row]:
        """Feed the chunks that are new with these rows; returns the rows that can run now."""
        # A session that may be at fault runs alone, so that its next failure is no other session's.
        self._apart &= self._residents.keys()
        if any(row.session in self._apart for row in wanted):
            wanted = [row for row in wanted if row.session == wanted[0].session]
        for row in wanted:
            self._feed(row)

        # A session whose chunk could not be fed was reset: it has other rows now, and perhaps a new chunk that waits.
        ready = set()
        with self._lanes_lock:
            for session in {row.session for row in wanted} & self._residents.keys():
                lane = self._residents[session].lane
                ready |= {found.row for found in lane.candidates() if found.row.chunk < lane.next_chunk}

        return [row for row in wanted if row in ready]

    def _feed(self, row: Row) -> None:
        """Feed the row's chunk if it is a new one."""
        resident = self._residents.get(row.session)
        if resident is None or row.chunk != resident.lane.next_chunk:
            return

        lane = resident.lane
        with self._lanes_lock:
            chunk = lane.begin(lane.steps)

        pixels = chunk.source.pixels() if chunk.source else None
        try:
            resident.set_engine_steps(self._engine, lane.steps)
            chunk.steps = self._engine.feed(row.session, Chunk(chunk.index, pixels))
        except (EngineFailure, ValueError) as failure:
            self.reset(row.session, str(failure))

    def _mark_started(self, rows: list[Row], now_s: float) -> None:
        for row in rows:
            chunk = self._residents[row.session].lane.in_flight(row.chunk)
            if not chunk.started_s:
                chunk.started_s = now_s
                self._metrics.queue_seconds.observe(max(0.0, now_s - chunk.complete_s))

    def _note(self, results: Sequence[RowResult], *, seconds: float) -> None:
        """Count the rows that were run, then take the checkpoints: each must know all rows of its session."""
        finished: list[tuple[RowResult, LaneChunk]] = []
        for result in results:
            resident = self._residents[result.row.session]
            with self._lanes_lock:
                chunk = resident.lane.done(result.row)
            if chunk is not None:
                finished.append((result, chunk))
            steps = self._engine.steps_in_use(result.row.session)
            self._tell(partial(resident.listener.micro_step, seconds=seconds, rows=len(results), steps=steps))

        for result, chunk in finished:
            self._finish(result, chunk)
        for session in {result.row.session for result in results} & self._residents.keys():
            self.tell_memory(self._residents[session])

    def tell_memory(self, resident: Resident) -> None:
        """Tell a session what the engine sets aside for it, if that has changed."""
        size_bytes = self._engine.session_memory(resident.plan.session)
        if size_bytes != resident.memory_bytes:
            resident.memory_bytes = size_bytes
            self._tell(partial(resident.listener.memory, size_bytes))

    def _finish(self, result: RowResult, chunk: LaneChunk) -> None:
        """All rows of a chunk were run: note the session's state right after it, and wait for the pictures."""
        session = result.row.session
        resident = self._residents[session]
        if result.pictures is None:
            self.reset(session, f"no pictures for chunk {chunk.index}")
            return

        checkpoint = resident.take_checkpoint(self._engine)
        digest = self._engine.sink_digest(session)
        with self._lanes_lock:
            resident.lane.decoding(chunk, self._clock.monotonic())

        result.pictures.add_done_callback(partial(self._decoded, resident, chunk, checkpoint, digest))

    def _decoded(
        self, resident: Resident, chunk: LaneChunk, checkpoint: Checkpoint, digest: str, pictures: Future[Frames]
    ) -> None:
        """A chunk's pictures are there, or the reason why there are none; on any thread.

        Pictures of a session that was closed or went back meanwhile are dropped: the session makes them again. The
        checkpoint counts from now on and not earlier: a chunk that cannot be shown must not be a session's past.
        """
        session = resident.plan.session
        now_s = self._clock.monotonic()
        failure = pictures.exception()

        with self._lanes_lock:
            if self._residents.get(session) is not resident or not resident.lane.shown(chunk, now_s):
                return
            if failure is None:
                resident.checkpoint = checkpoint
                resident.failures = 0
                self._apart.discard(session)
                if resident.policy is not None and now_s > chunk.complete_s + resident.plan.deadline_s:
                    resident.policy.trouble(now_s)
            self._lanes_lock.notify()

        if failure is not None:
            reason = failure.reason if isinstance(failure, EngineFailure) else f"{type(failure).__name__}: {failure}"
            self._later(partial(self._reset_resident, resident, reason))
            return

        generated = GeneratedChunk(
            frames=pictures.result(), chunk=chunk, generated_s=now_s, checkpoint=checkpoint, sink_digest=digest
        )
        self._tell(partial(resident.listener.generated, generated))

    def _reset_resident(self, resident: Resident, reason: str) -> None:
        """Reset a session unless it was closed meanwhile, and perhaps opened again."""
        if self._residents.get(resident.plan.session) is resident:
            self.reset(resident.plan.session, reason)

    def _reset_all(self, sessions: set[str], reason: str) -> None:
        """Reset sessions of which any may be at fault; if they are several, no session's failures are counted yet."""
        if len(sessions) > 1:
            self._apart |= sessions
            for session in sessions:
                self._residents[session].failures -= 1
        for session in sessions:
            self.reset(session, reason)

    def reset(self, session: str, reason: str) -> None:
        """Take one session back to its last checkpoint, else to the start; the others do not notice."""
        resident = self._residents.get(session)
        if resident is None:
            return

        self._metrics.engine_failures.inc()
        with self._lanes_lock:
            resident.failures += 1
            resident.lane.forget_decoding()

        # First back to the checkpoint, after more failures to the start, and in the end it is given up.
        self._engine.close(session)
        if resident.failures <= MAX_FAILURES:
            checkpoint = resident.checkpoint if resident.failures <= MAX_RESTORES else None
            try:
                restored = resident.begin(self._engine, checkpoint, now_s=self._clock.monotonic())
            except (EngineFailure, ValueError) as failure:
                reason = f"{reason}; then {failure}"
            else:
                self._tell(partial(resident.listener.was_reset, reason, restored=restored))
                self.tell_memory(resident)
                return

        with self._lanes_lock:
            self._residents.pop(session, None)

        self._engine.close(session)
        self._tell(partial(resident.listener.gave_up, reason))
