"""The engine's one thread: it takes changes, chooses rows, submits them, collects what has come back, and tells of it.

Everything before it (decoding, preparing prompts) and after it (encoding) may be late; it never waits for either. It is
the only class that calls the engine, and holds the one lock: over the open sessions and their rows, which the way in
and the decoder's thread touch, too. The lock is never held while the engine works.

`progress` goes into the worker's heartbeats, which stop when it stands still. While anything is under way in the engine
only parts that a device has finished count; turns of this loop count only while nothing is.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from genlock_core.claims.pulse import EnginePhase
from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.engines.contract import (
    BatchResult,
    Change,
    Chunk,
    DeviceSeconds,
    Engine,
    EngineFailure,
    RestoreResult,
    Row,
    RowResult,
    StreamSettings,
)
from genlock_worker.intake.chunks import InputChunk
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.generation import FinishingChunk, OpenSession
from genlock_worker.rows.listener import EngineListener, GeneratedChunk
from genlock_worker.rows.load import EngineLoad
from genlock_worker.rows.scheduler import MAX_ROWS, Batch, Wait, next_batch
from genlock_worker.rows.session_rows import SessionChunk, SessionPlan
from genlock_worker.rows.suspects import Suspects
from genlock_worker.rows.under_way import BatchUnderWay, UnderWay
from genlock_worker.rows.warm_up import run_first_chunks

logger = logging.getLogger(__name__)

IDLE_TICK_S = 0.1
"""The longest that the loop sleeps: an idle worker's progress advances ten times a second."""


class EngineLoop:
    """Owns the engine. What sessions ask of it goes through `engine_client`, as commands."""

    def __init__(
        self, engine: Engine, *, clock: Clock, cost: CostModel, metrics: WorkerMetrics, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._cost = cost
        self._metrics = metrics
        self._loop = loop
        self._lock = threading.Condition()
        """Guards what follows up to `_woken`."""
        self._sessions: dict[str, OpenSession] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._woken = False
        self._stopping = False
        self._under_way = UnderWay(cost)
        self._suspects = Suspects()
        self._load = EngineLoad(cost=cost, metrics=metrics, now_s=clock.monotonic())
        self._turns = 0
        self.phase = EnginePhase.STEPPING
        """What the engine is doing; written on its thread, read on any."""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.crashed: asyncio.Future[str] = loop.create_future()
        """Done, with the reason, if the thread ended by a fault of its own."""

    @property
    def progress(self) -> int:
        """Never falls while the engine's does not; may be read on any thread."""
        return self._turns + self._engine.progress

    @property
    def engine(self) -> Engine:
        """For what may be asked on any thread: its model, `prepare`."""
        return self._engine

    async def start(self, warm_up: StreamSettings | None = None) -> None:
        """Start the thread; with `warm_up`, run a little of such a session first, so that no user pays for it."""
        done: asyncio.Future[None] = self._loop.create_future()

        def work() -> None:
            if warm_up is not None:
                run_first_chunks(self._engine, warm_up)
            self._engine.call_when_ready(self._wake)
            self.tell(lambda: None if done.done() else done.set_result(None))

        self.command(work)
        self._thread.start()
        either: list[asyncio.Future[Any]] = [done, self.crashed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread, and the engine's; one that is stuck in the engine is left behind (it is a daemon)."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        await asyncio.to_thread(self._thread.join, timeout_s)

    # -- on any thread ------------------------------------------------------------------------------------------------

    def command(self, work: Callable[[], None]) -> None:
        """Have this done on the engine's thread, after what was asked for before."""
        with self._lock:
            self._commands.append(work)
            self._lock.notify()

    def tell(self, callback: Callable[[], object]) -> None:
        """Call back on the asyncio thread."""
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(callback)

    def offer(self, session: str, chunk: InputChunk) -> int:
        """Hand an input chunk in; it takes the place of one that still waits. Returns the frames dropped by that."""
        with self._lock:
            found = self._sessions.get(session)
            if found is None:
                return len(chunk.frames)
            dropped = found.rows.offer(chunk)
            self._wake()
        return dropped

    def _wake(self) -> None:
        """Go round once more: what there is to choose from has changed since it was last looked at."""
        with self._lock:
            self._woken = True
            self._lock.notify()

    # -- commands, on the engine's thread -----------------------------------------------------------------------------

    def open(
        self,
        plan: SessionPlan,
        listener: EngineListener,
        *,
        checkpoint: Checkpoint | None,
        opened: Callable[[str | None], None],
    ) -> None:
        """Start a session; `opened` is told why its checkpoint cannot be used (it is not started then), or None.

        Raises EngineFailure, ValueError if it is open.
        """
        if plan.session in self._sessions:
            raise ValueError(f"{plan.session} is open already")

        now_s = self._clock.monotonic()
        session = OpenSession.of(plan, listener, needs=self._engine.needs, now_s=now_s)
        with self._lock:
            self._sessions[plan.session] = session
        try:
            self._begin_generation(session, checkpoint, began=partial(self._opened, session, opened))
        except (EngineFailure, ValueError):
            self._leave(session)
            raise

    def _opened(self, session: OpenSession, opened: Callable[[str | None], None], failure: str | None) -> None:
        if failure is not None:
            self._leave(session)
        else:
            self._tell_memory(session)
        opened(failure)

    def change(self, name: str, change: Change) -> None:
        """The user wants something else from the next chunk on, or to begin anew."""
        session = self._sessions.get(name)
        if session is None:
            return

        with self._lock:
            session.note(change, self._clock.monotonic())
        if change.steps is not None:
            self._metrics.step_changes.labels("control").inc()

        # After a restoration all that was requested meanwhile is applied.
        if session.is_restoring:
            session.awaited_reset = change.reset or session.awaited_reset
            return
        try:
            if change.reset is not None:
                self._begin_anew(session, change.reset)
            else:
                self._engine.apply(session.name, Change(prompt=change.prompt, noise_scale=change.noise_scale))
        except (EngineFailure, ValueError) as failure:
            self._reset(session, f"a change failed: {failure}")

    def close(self, name: str) -> None:
        """Forget a session; what it has under way is lost."""
        session = self._sessions.get(name)
        if session is not None:
            self._leave(session)

    def is_idle(self, name: str) -> bool:
        """Nothing of the session is in flight or ready, and every chunk that it generated was told."""
        with self._lock:
            session = self._sessions.get(name)
            return session is None or (session.rows.is_idle and not session.is_restoring)

    def _begin_anew(self, session: OpenSession, request: str) -> None:
        """Forget all frames so far; what the user wants stays. Raises EngineFailure, ValueError."""
        self.tell(partial(session.listener.began_anew, request))
        self._begin_generation(session, None, began=lambda _: self._tell_memory(session))

    def turn(self, name: str, *, width: int, height: int) -> None:
        """Begin anew with pictures of this size: an engine's memory of a session has one shape."""
        session = self._sessions.get(name)
        if session is None:
            return
        with self._lock:
            session.turn(width, height)
        try:
            self._begin_generation(session, None, began=lambda _: self._tell_memory(session))
        except (EngineFailure, ValueError) as failure:
            self._reset(session, f"it cannot be turned to {width}x{height}: {failure}")
        self.tell(partial(session.listener.began_anew, None))

    def _leave(self, session: OpenSession) -> None:
        with self._lock:
            self._sessions.pop(session.plan.session, None)
        self._engine.close(session.name)
        if session.is_restoring:
            session.is_restoring = False
            session.began("it was closed before it was open")

    def _begin_generation(
        self, session: OpenSession, checkpoint: Checkpoint | None, *, began: Callable[[str | None], None]
    ) -> None:
        """Close what is open of a session, and go on from a checkpoint or from nothing.

        `began` is told once it can go on, or why its checkpoint cannot be used. Raises EngineFailure, ValueError.
        """
        self.phase = EnginePhase.OPENING if checkpoint is None else EnginePhase.RESTORING
        self._engine.close(session.name)
        with self._lock:
            session.begin_generation(checkpoint, self._clock.monotonic(), began)
        if checkpoint is not None:
            self._engine.restore(session.name, session.settings, checkpoint.state)
        else:
            self._engine.open(session.name, session.settings)
            began(None)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._step()
        except Exception as error:
            logger.critical("the engine thread ended: %s", error, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            self.tell(lambda: None if self.crashed.done() else self.crashed.set_result(reason))
        finally:
            self._engine.stop()

    def _step(self) -> None:
        """Take changes, choose rows, submit them, collect what has come back, and tell of it; then sleep."""
        self._take_commands()
        batch, sleep_s = self._choose()
        if batch is not None:
            self._submit(batch)
        answers = self._engine.collect()
        for answer in answers:
            if isinstance(answer, BatchResult):
                self._take_batch(answer)
            else:
                self._take_restoration(answer)
        self._show_memory()

        self.phase = self._phase_now()
        if not self._is_busy:
            self._turns += 1
        if batch is None and not answers:
            self._sleep(sleep_s)

    def _take_commands(self) -> None:
        while self._commands:
            self._commands.popleft()()

    def _choose(self) -> tuple[Batch | None, float]:
        """The batch to submit now, or how long there is none unless something new arrives."""
        if len(self._under_way) >= self._engine.depth:
            return None, IDLE_TICK_S

        with self._lock:
            now_s = self._clock.monotonic()
            able = [session for session in self._sessions.values() if not session.is_restoring]
            self._load.measure(self._under_way.busy_s, now_s)
            self._load.decide_steps([session.rows for session in able], now_s)

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
            max_rows=min(self._engine.most_rows or MAX_ROWS, MAX_ROWS),
        )
        if isinstance(decision, Wait):
            return None, IDLE_TICK_S if decision.until_s is None else max(0.0, decision.until_s - now_s)
        with self._lock:
            self._suspects.keep(self._sessions.keys())
            return self._suspects.allowed(decision, under_way=self._under_way.sessions), IDLE_TICK_S

    def _sleep(self, seconds: float) -> None:
        """Sleep until something new arrives, or until the moment that the scheduler named."""
        with self._lock:
            if not (self._commands or self._stopping or self._woken):
                self._lock.wait(min(IDLE_TICK_S, seconds))
            self._woken = False

    def _phase_now(self) -> EnginePhase:
        """Of several sessions the one for which the engine may take longest without showing progress decides."""
        with self._lock:
            sessions = list(self._sessions.values())
        if any(session.is_restoring for session in sessions):
            return EnginePhase.RESTORING
        working = self._under_way.sessions
        if any(session.is_new and session.plan.session in working for session in sessions):
            return EnginePhase.WARMING_UP
        return EnginePhase.STEPPING

    @property
    def _is_busy(self) -> bool:
        """Whether the engine has work that it was given and that has not come back."""
        with self._lock:
            sessions = list(self._sessions.values())
        return bool(self._under_way) or any(session.is_restoring or session.finishing for session in sessions)

    # -- submit -------------------------------------------------------------------------------------------------------

    def _submit(self, batch: Batch) -> None:
        """Feed the chunks that are new with these rows, and hand the rows over."""
        begun = 0
        ended: list[tuple[OpenSession, SessionChunk]] = []
        sessions = {row.session: self._sessions[row.session] for row in batch.rows}
        names = {name: session.name for name, session in sessions.items()}
        for row in batch.rows:
            if row.step == 0 and row.chunk == sessions[row.session].rows.next_chunk:
                begun += self._feed(sessions[row.session])

        # A session whose chunk could not be fed was reset: rows that were chosen before are of an older generation.
        rows = tuple(row for row in batch.rows if self._current(row.session, names[row.session]) is not None)
        if not rows:
            return

        number = self._under_way.next_number()
        try:
            self._engine.submit(number, [Row(names[row.session], row.step, row.chunk) for row in rows])
        except EngineFailure as failure:
            self._reset(sessions[next(name for name in names if names[name] == failure.session)], failure.reason)
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
        with self._lock:
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
                self._reset(session, f"its state cannot be taken: {failure}")
                continue
            with self._lock:
                session.finish(chunk, state)

    def _current(self, name: str, generation: str) -> OpenSession | None:
        """The session, if this generation of it is still open."""
        session = self._sessions.get(name)
        return session if session is not None and session.name == generation else None

    def _feed(self, session: OpenSession) -> bool:
        """Feed the chunk that waits; False if that failed, and then its session was reset."""
        with self._lock:
            chunk = session.rows.begin()
        pixels = chunk.source.pixels() if chunk.source else None
        try:
            fed = self._engine.feed(session.name, Chunk(chunk.index, pixels), steps=chunk.steps)
        except (EngineFailure, ValueError) as failure:
            self._reset(session, str(failure))
            return False
        chunk.steps = fed.steps
        chunk.rows = fed.rows
        return True

    # -- collect, and tell --------------------------------------------------------------------------------------------

    def _take_batch(self, result: BatchResult) -> None:
        """Move the sessions of a batch on, each by its own rows' verdicts."""
        now_s = self._clock.monotonic()
        batch = self._under_way.take(result.number, now_s)
        if batch is None:
            logger.error("the engine gave results of batch %d, which is not under way; dropped", result.number)
            return

        sessions = [found for pair in batch.names.items() if (found := self._current(*pair)) is not None]
        if result.lost is not None:
            # What shared the device with it, before or after, may be at fault as well.
            company = (batch.sessions | batch.beside | self._under_way.sessions) - {batch.rows[0].session}
            self._lose(sessions, result.lost, is_alone=not company)
            return

        self._under_way.learn(batch, result.seconds, decoded=result.decoded)
        self._metrics.micro_step.observe(result.seconds.rows + result.seconds.encode)
        self._metrics.micro_step_rows.observe(len(batch.rows))
        answers = {answer.row: answer for answer in result.rows}
        for session in sessions:
            rows = [row for row in batch.rows if row.session == session.plan.session]
            own = [answers.get(Row(session.name, row.step, row.chunk), _no_answer(row)) for row in rows]
            failure = next((answer.failure for answer in own if answer.failure is not None), None)
            if failure is not None:
                self._reset(session, failure)
            elif self._move_on(session, zip(rows, own, strict=True), now_s):
                self._tell_micro_step(session, result.seconds, rows=len(batch.rows))

    def _move_on(self, session: OpenSession, answers: Iterable[tuple[Row, RowResult]], now_s: float) -> bool:
        """Rows of a session have come back well; False where the session had to go back all the same.

        A chunk that is complete now waits for its pictures.
        """
        for row, answer in answers:
            with self._lock:
                chunk = session.rows.collected(row)
            if not chunk.is_complete:
                continue
            if answer.pictures is None:
                self._reset(session, f"the engine gave no pictures of chunk {chunk.index}")
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
        with self._lock:
            if self._current(session.plan.session, generation) is not session:
                return
            while session.finishing and session.finishing[0].is_ready:
                finishing = session.finishing[0]
                failure = finishing.failure
                if failure is not None:
                    self.command(partial(self._reset_generation, session, generation, failure))
                    return
                session.finishing.popleft()
                self._show(session, finishing)
            self._wake()

    def _show(self, session: OpenSession, finishing: FinishingChunk) -> None:
        """A chunk is finished. With the lock held."""
        now_s = self._clock.monotonic()
        checkpoint, frames = finishing.checkpoint(), finishing.frames()
        session.rows.shown(finishing.chunk, now_s, since_s=finishing.collected_s)
        session.checkpoint = checkpoint
        session.failures = 0
        self._suspects.clear(session.plan.session)
        generated = GeneratedChunk(frames, finishing.chunk, now_s, checkpoint)
        self.tell(partial(session.listener.generated, generated))

    def _take_restoration(self, result: RestoreResult) -> None:
        """A session can go on, or its checkpoint cannot be used."""
        session = next((one for one in self._sessions.values() if one.name == result.session), None)
        if session is None or not session.is_restoring:
            return

        session.is_restoring = False
        reset = session.awaited_reset
        if result.failure is not None:
            session.began(result.failure)
            if reset is not None:  # it begins anew as it is
                self.tell(partial(session.listener.began_anew, reset))
            return
        try:
            session.began(None)  # first: somebody waits for it, whatever becomes of the session then
            self._engine.apply(session.name, session.requested)
            if reset is not None:
                self._begin_anew(session, reset)
        except (EngineFailure, ValueError) as failure:
            self._reset(session, f"a change failed: {failure}")

    # -- going back ---------------------------------------------------------------------------------------------------

    def _lose(self, sessions: Sequence[OpenSession], reason: str, *, is_alone: bool) -> None:
        """A batch was lost. Unless it had the device for one session alone, nobody is known to be at fault: no failure
        is counted yet, and each runs apart until it is shown."""
        if not is_alone:
            with self._lock:
                self._suspects.suspect([session.plan.session for session in sessions])
            for session in sessions:
                session.failures -= 1
        for session in sessions:
            self._reset(session, reason)

    def _reset_generation(self, session: OpenSession, generation: str, reason: str) -> None:
        """Reset a session unless it was closed meanwhile, or has gone back already."""
        if self._current(session.plan.session, generation) is session:
            self._reset(session, reason)

    def _reset(self, session: OpenSession, reason: str) -> None:
        """Take one session back to its last checkpoint, else to the start; the others do not notice."""
        self._metrics.engine_failures.inc()
        with self._lock:
            session.failures += 1
        if session.is_given_up:
            self._give_up(session, reason)
            return

        checkpoint = session.after_failure()
        try:
            self._begin_generation(session, checkpoint, began=partial(self._went_back, session, reason, checkpoint))
        except (EngineFailure, ValueError) as failure:
            self._give_up(session, f"{reason}; then {failure}")

    def _went_back(self, session: OpenSession, reason: str, checkpoint: Checkpoint | None, failure: str | None) -> None:
        """A session that was reset can go on; or its checkpoint cannot be used: then it starts from nothing."""
        if self._sessions.get(session.plan.session) is not session:
            return
        if failure is None:
            self.tell(partial(session.listener.was_reset, reason, restored=checkpoint is not None))
            self._tell_memory(session)
            return

        reason = f"{reason}; its checkpoint cannot be used: {failure}"
        try:
            self._begin_generation(session, None, began=partial(self._went_back, session, reason, None))
        except (EngineFailure, ValueError) as refusal:
            self._give_up(session, f"{reason}; then {refusal}")

    def _give_up(self, session: OpenSession, reason: str) -> None:
        self._leave(session)
        self.tell(partial(session.listener.gave_up, reason))

    # -- figures ------------------------------------------------------------------------------------------------------

    def _tell_micro_step(self, session: OpenSession, seconds: DeviceSeconds, *, rows: int) -> None:
        steps = session.rows.running_steps or session.rows.next_steps
        taken_s = seconds.rows + seconds.encode
        self.tell(partial(session.listener.micro_step, seconds=taken_s, rows=rows, steps=steps))
        self._tell_memory(session)

    def _tell_memory(self, session: OpenSession) -> None:
        """Say what the session has set aside, if that has changed."""
        size_bytes = self._engine.session_memory(session.name)
        if size_bytes != session.memory_bytes:
            session.memory_bytes = size_bytes
            self.tell(partial(session.listener.memory, size_bytes))

    def _show_memory(self) -> None:
        memory = self._engine.memory
        if memory is not None:
            shown = self._metrics.engine_memory
            shown.labels("resident").set(memory.resident_bytes)
            shown.labels("sessions").set(memory.taken_bytes)
            shown.labels("free").set(memory.free_bytes)


def _no_answer(row: Row) -> RowResult:
    return RowResult(row, failure=f"the engine gave no answer for row {row.step} of chunk {row.chunk}")
