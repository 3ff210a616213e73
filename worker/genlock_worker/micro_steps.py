"""One micro-step of many sessions, and what comes of it: chunks that are finished, sessions that must go back.

On the engine's thread only, under `engine_loop`, which decides what runs and when.
"""

import logging
from collections.abc import Callable
from threading import Condition

from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.cost_model import CostModel
from genlock_worker.engine import Chunk, Engine, EngineFailure, Row, RowResult
from genlock_worker.engine_listener import GeneratedChunk
from genlock_worker.residents import Resident
from genlock_worker.scheduler import Batch

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""After this many failures without a finished chunk between them a session is given up."""


class MicroSteps:
    """Runs batches in the engine. `lanes_lock` guards the lanes and the table of residents, and is never held while the
    engine works; `tell` calls back on the asyncio thread."""

    def __init__(
        self,
        engine: Engine,
        residents: dict[str, Resident],
        *,
        lanes_lock: Condition,
        tell: Callable[[Callable[[], object]], None],
        clock: Clock,
        cost: CostModel,
        metrics: WorkerMetrics,
    ) -> None:
        self._engine, self._residents, self._lanes_lock, self._tell = engine, residents, lanes_lock, tell
        self._clock, self._cost, self._metrics = clock, cost, metrics
        self.ended = 0
        """How many have come back from the engine, with results or with a failure."""
        self.busy_s = 0.0
        """The engine's time in those that gave results."""

    def run(self, batch: Batch) -> None:
        """Run a batch; a failure takes the sessions that it touches back to their last checkpoint."""
        rows = [row for row in batch.rows if self._prepare(row)]
        if not rows:
            return
        started_s = self._clock.monotonic()
        self._mark_started(rows, started_s)
        try:
            results = self._engine.run(rows)
        except EngineFailure as failure:
            self._reset(failure.session, failure.reason)
            return
        except Exception as error:
            logger.exception("a micro-step failed")
            for session in {row.session for row in rows}:
                self._reset(session, f"{type(error).__name__}: {error}")
            return
        finally:
            self.ended += 1
        seconds = self._clock.monotonic() - started_s
        self.busy_s += seconds
        self._cost.observe(batch.shape, len(rows), seconds)
        self._metrics.micro_step.observe(seconds)
        self._metrics.micro_step_rows.observe(len(rows))
        for result in results:
            self._finish(result, seconds=seconds, rows=len(rows))

    def _prepare(self, row: Row) -> bool:
        """Feed the row's chunk if it is a new one; False if the row cannot run now."""
        resident = self._residents.get(row.session)
        if resident is None:
            return False
        lane = resident.lane
        if row.chunk != lane.next_chunk:
            return True
        with self._lanes_lock:
            flight = lane.begin(lane.steps)
        chunk = flight.source
        try:
            resident.set_engine_steps(self._engine, lane.steps)
            flight.steps = self._engine.feed(row.session, Chunk(flight.chunk, chunk.pixels() if chunk else None))
        except EngineFailure as failure:
            self._reset(failure.session, failure.reason)
            return False
        return any(candidate.row == row for candidate in lane.candidates())

    def _mark_started(self, rows: list[Row], now_s: float) -> None:
        for row in rows:
            flight = self._residents[row.session].lane.flight(row.chunk)
            if not flight.started_s:
                flight.started_s = now_s
                self._metrics.queue_seconds.observe(max(0.0, now_s - flight.complete_s))

    def _finish(self, result: RowResult, *, seconds: float, rows: int) -> None:
        resident = self._residents[result.row.session]
        listener, steps = resident.listener, resident.lane.steps
        with self._lanes_lock:
            flight = resident.lane.done(result.row)
        self._tell(lambda: listener.micro_step(seconds=seconds, rows=rows, steps=steps))
        if flight is None:
            return
        if result.output is None:
            self._reset(result.row.session, f"no pictures for chunk {flight.chunk}")
            return
        generated_s = self._clock.monotonic()
        if resident.policy is not None and generated_s > flight.complete_s + resident.plan.deadline_s:
            resident.policy.trouble(generated_s)
        resident.failures = 0
        resident.checkpoint = resident.take_checkpoint(self._engine)
        generated = GeneratedChunk(
            frames=result.output,
            flight=flight,
            generated_s=generated_s,
            checkpoint=resident.checkpoint,
            sink_digest=self._engine.sink_digest(result.row.session),
        )
        self._tell(lambda: listener.generated(generated))

    def _reset(self, session: str, reason: str) -> None:
        """Take one session back to its last checkpoint; the others do not notice."""
        resident = self._residents.get(session)
        if resident is None:
            return
        self._metrics.engine_failures.inc()
        resident.failures += 1
        self._engine.close(session)
        if resident.failures <= MAX_FAILURES:
            try:
                with self._lanes_lock:
                    resident.start(self._engine, resident.checkpoint, now_s=self._clock.monotonic())
            except (EngineFailure, ValueError) as failure:
                reason = f"{reason}; then {failure}"
            else:
                self._tell(lambda: resident.listener.was_reset(reason))
                return
        with self._lanes_lock:
            self._residents.pop(session, None)
        self._engine.close(session)
        self._tell(lambda: resident.listener.gave_up(reason))
