"""A turn of the engine's thread: it takes changes, chooses rows, submits them, collects what is back, and tells of it.

Everything before it (decoding, preparing prompts) and after it (encoding) may be late; it never waits for either. Only
this and `open_sessions` call the engine.

`progress` goes into the worker's heartbeats, which stop when it stands still. While anything is under way in the engine
only parts that a device has finished count; turns of this loop count only while nothing is.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from genlock_core.claims.pulse import EnginePhase
from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.engines.contract import (
    BatchResult,
    Chunk,
    DeviceSeconds,
    Engine,
    EngineFailure,
    Row,
    RowResult,
)
from genlock_worker.intake.chunks import InputChunk
from genlock_worker.rows.cost_model import CostModel, LearnedBatches
from genlock_worker.rows.engine_thread import IDLE_TICK_S, EngineThread
from genlock_worker.rows.generation import FinishingChunk, OpenSession
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.load import EngineLoad
from genlock_worker.rows.open_sessions import OpenSessions
from genlock_worker.rows.scheduler import MAX_ROWS, Batch, Wait, next_batch
from genlock_worker.rows.session_rows import SessionChunk
from genlock_worker.rows.suspects import Suspects
from genlock_worker.rows.under_way import BatchUnderWay, UnderWay
from genlock_worker.rows.warm_up import WarmedUp, WarmUp, WarmUpPlan

logger = logging.getLogger(__name__)


class EngineLoop:
    """Owns the engine, its thread and its open sessions. What a session asks of them goes through `engine_client`."""

    def __init__(
        self, engine: Engine, *, clock: Clock, cost: CostModel, metrics: WorkerMetrics, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._cost = cost
        self._metrics = metrics
        self.thread = EngineThread(self._step, ended=engine.stop, loop=loop)
        self.sessions = OpenSessions(engine, self.thread, clock=clock, metrics=metrics)
        self._under_way = UnderWay(cost)
        self._suspects = Suspects()
        """Under the thread's lock."""
        self._load = EngineLoad(cost=cost, metrics=metrics, now_s=clock.monotonic())
        self._turns = 0

    @property
    def progress(self) -> int:
        """Never falls while the engine's does not; may be read on any thread."""
        return self._turns + self._engine.progress

    @property
    def exhausted(self) -> bool:
        """Its sessions come late, and none can give way further; may be read on any thread."""
        return self._load.exhausted

    def learned(self) -> list[LearnedBatches]:
        """What batches cost here; on the engine's thread."""
        return self._cost.learned()

    @property
    def engine(self) -> Engine:
        """For what may be asked on any thread: its model, `prepare`."""
        return self._engine

    async def start(
        self, warm_up: WarmUpPlan | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> WarmedUp | None:
        """Start the thread; with `warm_up`, pay first what no user shall pay for, and say what it took.

        `tell` is told on the engine's thread what is being done.
        """
        warmed_up: WarmedUp | None = None

        def first() -> None:
            nonlocal warmed_up
            if warm_up is not None:
                warmed_up = WarmUp(self._engine, self._clock, tell).run(warm_up)
                self._metrics.warm_up_seconds.set(warmed_up.seconds)
                self._metrics.warm_up_lacks.set(len(warmed_up.lacks))
            self._engine.call_when_ready(self.thread.wake)

        await self.thread.start(first)
        return warmed_up

    async def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread, and the engine's; one that is stuck in the engine is left behind."""
        await self.thread.stop(timeout_s)

    def offer(self, session: str, chunk: InputChunk) -> int:
        """Hand an input chunk in; it takes the place of one that still waits. Returns the frames dropped by that.

        On any thread.
        """
        with self.thread.lock:
            found = self.sessions.get(session)
            if found is None:
                return len(chunk.frames)
            dropped = found.rows.offer(chunk)
            self.thread.wake()
        return dropped

    # -- a turn -------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Take changes, feed, choose rows, submit them, collect what has come back, and tell of it; then sleep."""
        self.thread.take_commands()
        self._feed_ahead()
        batch, sleep_s = self._choose()
        if batch is not None:
            self._submit(batch)
        answers = self._engine.collect()
        for answer in answers:
            if isinstance(answer, BatchResult):
                self._take_batch(answer)
            else:
                self.sessions.take_restoration(answer)
        self._show_memory()

        self.thread.phase = self._phase_now()
        if not self._is_busy:
            self._turns += 1
        if batch is None and not answers:
            self.thread.sleep(sleep_s)

    def _feed_ahead(self) -> None:
        """Feed the chunks whose first rows would be in the next batch if they were encoded, so that they are by then.

        The others wait: until it is fed a chunk may give way to a newer one.
        """
        with self.thread.lock:
            able = [session for session in self.sessions.all() if not session.is_restoring]
            waiting = [candidate for session in able if (candidate := session.rows.ahead()) is not None]
            if not waiting:
                return
            candidates = [candidate for session in able for candidate in session.rows.candidates()]
        decision = next_batch(
            [*candidates, *waiting],
            self._cost,
            max(self._clock.monotonic(), self._under_way.free_s),
            max_rows=self._max_rows,
        )
        if isinstance(decision, Batch):
            fed_ahead = {candidate.row for candidate in waiting}.intersection(decision.rows)
            for row in sorted(fed_ahead, key=decision.rows.index):
                self._feed(self.sessions[row.session])

    @property
    def _max_rows(self) -> int:
        return min(self._engine.most_rows or MAX_ROWS, MAX_ROWS)

    def _choose(self) -> tuple[Batch | None, float]:
        """The batch to submit now, or how long there is none unless something new arrives."""
        if len(self._under_way) >= self._engine.depth:
            return None, IDLE_TICK_S

        with self.thread.lock:
            now_s = self._clock.monotonic()
            able = [session for session in self.sessions.all() if not session.is_restoring]
            self._load.measure(self._under_way.busy_s, now_s)
            self._load.decide_levels([session.rows for session in able], now_s)
            for session in able:
                self.sessions.tell_pace(session)

            # Every row that could run now, and the rows that should come soon.
            candidates = [candidate for session in able for candidate in session.rows.candidates()]
            expected = [arrival for session in able if (arrival := session.rows.expected()) is not None]
        self._metrics.queued_rows.set(len(candidates))
        decision = next_batch(
            candidates,
            self._cost,
            now_s,
            expected=expected,
            load=self._load.share,
            free_s=self._under_way.free_s,
            max_rows=self._max_rows,
        )
        if isinstance(decision, Wait):
            return None, IDLE_TICK_S if decision.until_s is None else max(0.0, decision.until_s - now_s)
        with self.thread.lock:
            self._suspects.keep(self.sessions.names)
            return self._suspects.allowed(decision, under_way=self._under_way.sessions), IDLE_TICK_S

    def _phase_now(self) -> EnginePhase:
        """Of several sessions the one for which the engine may take longest without showing progress decides."""
        sessions = self.sessions.all()
        if any(session.is_restoring for session in sessions):
            return EnginePhase.RESTORING
        working = self._under_way.sessions | {session.plan.session for session in sessions if session.rows.is_encoding}
        if any(session.is_new and session.plan.session in working for session in sessions):
            return EnginePhase.WARMING_UP
        return EnginePhase.STEPPING

    @property
    def _is_busy(self) -> bool:
        """Whether the engine has work that it was given and that has not come back."""
        return bool(self._under_way) or any(
            session.is_restoring or session.finishing or session.rows.is_encoding for session in self.sessions.all()
        )

    # -- submit -------------------------------------------------------------------------------------------------------

    def _submit(self, batch: Batch) -> None:
        """Feed the chunks that are new with these rows, and hand the rows over."""
        begun = 0
        ended: list[tuple[OpenSession, SessionChunk]] = []
        sessions = {row.session: self.sessions[row.session] for row in batch.rows}
        names = {name: session.name for name, session in sessions.items()}
        for row in batch.rows:
            if row.step == 0 and row.chunk == sessions[row.session].rows.next_chunk:
                begun += self._feed(sessions[row.session])

        # A session whose chunk could not be fed was reset: rows that were chosen before are of an older generation.
        rows = tuple(row for row in batch.rows if self.sessions.current(row.session, names[row.session]) is not None)
        if not rows:
            return

        number = self._under_way.next_number()
        try:
            self._engine.submit(number, [Row(names[row.session], row.step, row.chunk) for row in rows])
        except EngineFailure as failure:
            self.sessions.reset(
                sessions[next(name for name in names if names[name] == failure.session)], failure.reason
            )
            return
        except Exception as error:
            logger.exception("a batch could not be submitted")
            concerned = {row.session for row in rows}
            is_alone = len(concerned | self._under_way.sessions) == 1
            self._lose([sessions[name] for name in concerned], f"{type(error).__name__}: {error}", is_alone=is_alone)
            return

        now_s = self._clock.monotonic()
        beside = frozenset(self._under_way.sessions)
        self._under_way.add(BatchUnderWay(number, rows, names, batch.shape, begun, beside), now_s)
        with self.thread.lock:
            for row in rows:
                session = sessions[row.session]
                if row.step == 0:
                    waited_s = now_s - session.rows.chunk(row.chunk).complete_s
                    self._metrics.queue_seconds.observe(max(0.0, waited_s))
                if (chunk := session.rows.submitted(row, now_s)) is not None:
                    ended.append((session, chunk))

        # The state after a chunk is the state after all rows of its last batch.
        for session, chunk in ended:
            try:
                state = self._engine.snapshot(session.name)
            except (EngineFailure, ValueError) as failure:
                self.sessions.reset(session, f"its state cannot be taken: {failure}")
                continue
            with self.thread.lock:
                session.finish(chunk, state)

    def _feed(self, session: OpenSession) -> bool:
        """Feed the chunk that waits; False if that failed, and then its session was reset."""
        with self.thread.lock:
            chunk = session.rows.begin()
        pixels = chunk.source.pixels() if chunk.source else None
        try:
            fed = self._engine.feed(session.name, Chunk(chunk.index, pixels), steps=chunk.steps)
        except (EngineFailure, ValueError) as failure:
            self.sessions.reset(session, str(failure))
            return False
        chunk.steps = fed.steps
        chunk.rows = fed.rows
        if not fed.encoded.done():
            chunk.encoding = True
            fed.encoded.add_done_callback(partial(self._encoded, chunk))
        return True

    def _encoded(self, chunk: SessionChunk, _: Future[None]) -> None:
        """A chunk's first row may be submitted; on any thread."""
        with self.thread.lock:
            chunk.encoding = False
        self.thread.wake()

    # -- collect, and tell --------------------------------------------------------------------------------------------

    def _take_batch(self, result: BatchResult) -> None:
        """Move the sessions of a batch on, each by its own rows' verdicts."""
        now_s = self._clock.monotonic()
        batch = self._under_way.take(result.number, now_s)
        if batch is None:
            logger.error("the engine gave results of batch %d, which is not under way; dropped", result.number)
            return

        sessions = [found for pair in batch.names.items() if (found := self.sessions.current(*pair)) is not None]
        if result.lost is not None:
            # What shared the device with it, before or after, may be at fault as well.
            company = (batch.sessions | batch.beside | self._under_way.sessions) - {batch.rows[0].session}
            self._lose(sessions, result.lost, is_alone=not company)
            return

        self._under_way.learn(batch, result.seconds, encoded=result.encoded, decoded=result.decoded)
        self._metrics.micro_step.observe(self._taken_s(result.seconds))
        self._metrics.micro_step_rows.observe(len(batch.rows))
        answers = {answer.row: answer for answer in result.rows}
        for session in sessions:
            rows = [row for row in batch.rows if row.session == session.plan.session]
            own = [answers.get(Row(session.name, row.step, row.chunk), _no_answer(row)) for row in rows]
            failure = next((answer.failure for answer in own if answer.failure is not None), None)
            if failure is not None:
                self.sessions.reset(session, failure)
            elif self._move_on(session, zip(rows, own, strict=True), now_s):
                self._tell_micro_step(session, result.seconds, rows=len(batch.rows))

    def _lose(self, sessions: Sequence[OpenSession], reason: str, *, is_alone: bool) -> None:
        """A batch was lost. Unless it had the device for one session alone, nobody is known to be at fault: no failure
        is counted yet, and each runs apart until it is shown."""
        if not is_alone:
            with self.thread.lock:
                self._suspects.suspect([session.plan.session for session in sessions])
        for session in sessions:
            self.sessions.reset(session, reason, is_at_fault=is_alone)

    def _move_on(self, session: OpenSession, answers: Iterable[tuple[Row, RowResult]], now_s: float) -> bool:
        """Rows of a session have come back well; False where the session had to go back all the same.

        A chunk that is complete now waits for its pictures.
        """
        for row, answer in answers:
            with self.thread.lock:
                chunk = session.rows.collected(row)
            if not chunk.is_complete:
                continue
            if answer.pictures is None:
                self.sessions.reset(session, f"the engine gave no pictures of chunk {chunk.index}")
                return False

            finishing = next(one for one in session.finishing if one.chunk is chunk)
            finishing.collected_s = now_s
            finishing.pictures = answer.pictures
            settle = partial(self._settle, session, session.name)
            for awaited in (answer.pictures, finishing.state):
                awaited.add_done_callback(settle)
        return True

    def _settle(self, session: OpenSession, generation: str, _: Future[Any]) -> None:
        """Pictures of a chunk, or the state after it, are there, or the reason why they are not; on any thread.

        What comes of a generation that was closed meanwhile is dropped: the session makes it again. A checkpoint counts
        from now on and not earlier: a chunk that cannot be shown must not be a session's past.
        """
        with self.thread.lock:
            if self.sessions.current(session.plan.session, generation) is not session:
                return
            while session.finishing and session.finishing[0].is_ready:
                finishing = session.finishing[0]
                failure = finishing.failure
                if failure is not None:
                    self.thread.command(partial(self.sessions.reset_generation, session, generation, failure))
                    return
                session.finishing.popleft()
                self._show(session, finishing)
            self.thread.wake()

    def _show(self, session: OpenSession, finishing: FinishingChunk) -> None:
        """A chunk is finished. With the lock held."""
        now_s = self._clock.monotonic()
        checkpoint, frames = finishing.checkpoint(), finishing.frames()
        session.rows.shown(finishing.chunk, now_s, since_s=finishing.collected_s)
        session.checkpoint = checkpoint
        session.failures = 0
        self._suspects.clear(session.plan.session)
        generated = GeneratedChunk(frames, finishing.chunk, now_s, checkpoint)
        self.thread.tell(partial(session.listener.generated, generated))

    # -- figures ------------------------------------------------------------------------------------------------------

    def _tell_micro_step(self, session: OpenSession, seconds: DeviceSeconds, *, rows: int) -> None:
        steps = session.rows.running_steps or session.rows.next_steps
        taken_s = self._taken_s(seconds)
        self.thread.tell(partial(session.listener.micro_step, seconds=taken_s, rows=rows, steps=steps))
        self.sessions.tell_memory(session)

    def _taken_s(self, seconds: DeviceSeconds) -> float:
        """How long a micro-step took: with the encoding of its chunks where that comes before the rows."""
        return seconds.rows if self._engine.needs.encoded else seconds.rows + seconds.encode

    def _show_memory(self) -> None:
        memory = self._engine.memory
        if memory is not None:
            shown = self._metrics.engine_memory
            shown.labels("resident").set(memory.resident_bytes)
            shown.labels("sessions").set(memory.taken_bytes)
            shown.labels("free").set(memory.free_bytes)


def _no_answer(row: Row) -> RowResult:
    return RowResult(row, failure=f"the engine gave no answer for row {row.step} of chunk {row.chunk}")
