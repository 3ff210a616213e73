"""The one thread that owns the engine: takes input chunks and changes in, runs micro-steps, hands results to asyncio.

Everything before it (decoding, preparing prompts) and after it (encoding) may be late; it never waits for either.

Its `progress` counter goes into the worker's heartbeats, so these stop when the engine is stuck. It advances with every
turn, every session that was opened or restored, every micro-step, and every part of one that the engine says it
finished: a restore on a slow device takes many parts' time. Turns do not count while a chunk is being decoded for
longer than any takes: the engine decodes beside this thread, which would not notice.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.engines.contract import Change, Engine, EngineFailure, StreamSettings
from genlock_worker.intake.chunks import InputChunk
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.listener import EngineListener
from genlock_worker.rows.load import EngineLoad
from genlock_worker.rows.micro_steps import MicroSteps
from genlock_worker.rows.prompt_queue import PromptQueue
from genlock_worker.rows.residents import Resident, SessionPlan
from genlock_worker.rows.scheduler import MAX_ROWS, Wait, next_batch
from genlock_worker.rows.warm_up import run_first_chunks

logger = logging.getLogger(__name__)

T = TypeVar("T")

IDLE_TICK_S = 0.1
"""The longest that the loop sleeps: an idle worker's progress advances ten times a second."""
LONGEST_DECODE_S = 2.0
"""Pictures that are not there after so long will not come: the decoder is stuck."""


class EngineLoop:
    """Owns the engine. All methods may be called from the asyncio thread; none of them waits for a micro-step."""

    def __init__(
        self, engine: Engine, *, clock: Clock, cost: CostModel, metrics: WorkerMetrics, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._cost = cost
        self._metrics = metrics
        self._loop = loop
        self._residents: dict[str, Resident] = {}
        self._commands: deque[Callable[[], None]] = deque()
        # Guards the lanes, the residents' table and the commands; never held while the engine works.
        self._changed = threading.Condition()
        self._stopping = False
        self._micro_steps = MicroSteps(
            engine,
            self._residents,
            lanes_lock=self._changed,
            tell=self._tell,
            later=self._command,
            clock=clock,
            cost=cost,
            metrics=metrics,
        )
        self._prompts = PromptQueue(engine.prepare, self._apply)
        self._opening: set[str] = set()
        """Sessions whose first prompt is being prepared."""
        self._turns = 0
        self._load = EngineLoad(cost=cost, metrics=metrics, now_s=clock.monotonic())
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.crashed: asyncio.Future[str] = loop.create_future()
        """Done, with the reason, if the thread ended by a fault of its own."""

    @property
    def progress(self) -> int:
        return self._turns + self._micro_steps.ended + self._engine.progress

    @property
    def model(self) -> str:
        return self._engine.model

    async def start(self, warm_up: StreamSettings | None = None) -> None:
        """Start the thread; with `warm_up`, run a little of such a session first, so that no user pays for it."""
        done: asyncio.Future[None] = self._loop.create_future()

        def work() -> None:
            if warm_up is not None:
                run_first_chunks(self._engine, warm_up)
            self._tell(lambda: None if done.done() else done.set_result(None))

        self._command(work)
        self._thread.start()
        either: list[asyncio.Future[Any]] = [done, self.crashed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread; one that is stuck in the engine is left behind (it is a daemon)."""
        self._prompts.stop()
        with self._changed:
            self._stopping = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, timeout_s)

    # -- from the asyncio thread --------------------------------------------------------------------------------------

    async def open(self, plan: SessionPlan, listener: EngineListener, *, checkpoint: Checkpoint | None = None) -> bool:
        """Start a session, from a checkpoint if there is one; False if it had to start from nothing.

        A checkpoint brings what its own prompt needs; where the plan names another one, that takes over as soon as it
        is prepared. Raises EngineFailure, ValueError if it is open.
        """
        session, prompt = plan.session, plan.settings.prompt
        if checkpoint is not None and await self._enter(plan, listener, checkpoint):
            self.apply(session, Change(prompt=prompt))
            return True

        # From nothing: the prompt comes first, and the session may be closed while it is prepared.
        self._opening.add(session)
        try:
            await self._prompts.ready(session, prompt)
            if session not in self._opening:
                raise EngineFailure(session, "it was closed before it was open")
        finally:
            self._opening.discard(session)

        await self._enter(plan, listener, None)
        return False

    async def _enter(self, plan: SessionPlan, listener: EngineListener, checkpoint: Checkpoint | None) -> bool:
        """Start a session on the engine's thread; False if its checkpoint cannot be used: it is not started then.

        Raises EngineFailure, ValueError if it is open.
        """

        def work() -> bool:
            if plan.session in self._residents:
                raise ValueError(f"{plan.session} is open already")

            now_s = self._clock.monotonic()
            resident = Resident(plan, listener, now_s=now_s, lanes_lock=self._changed)
            if checkpoint is None:
                resident.start(self._engine, None, now_s=now_s)
            elif not resident.restore(self._engine, checkpoint, now_s=now_s):
                return False

            with self._changed:
                self._residents[plan.session] = resident

            self._micro_steps.tell_memory(resident)
            return True

        return await self._ask(work)

    def offer(self, session: str, chunk: InputChunk) -> int:
        """Hand an input chunk in; it takes the place of one that still waits. Returns the frames dropped by that."""
        with self._changed:
            resident = self._residents.get(session)
            if resident is None:
                return len(chunk.frames)

            # What the lane counts as a loss is trouble for the session: it may have to run fewer steps.
            loss = resident.lane.loss
            dropped = resident.lane.offer(chunk)
            if resident.lane.loss > loss and resident.policy is not None:
                resident.policy.trouble(self._clock.monotonic())
            self._changed.notify()

        return dropped

    async def is_idle(self, session: str) -> bool:
        """Nothing of the session is in flight or ready, and every chunk that it generated was told."""

        def work() -> bool:
            with self._changed:
                resident = self._residents.get(session)
                return resident is None or resident.lane.is_idle

        return await self._ask(work)

    def apply(self, session: str, change: Change) -> None:
        """Change prompt, steps or noise scale from the next chunk on, once the prompt is prepared."""
        self._prompts.change(session, change)

    def _apply(self, session: str, change: Change) -> None:
        def work() -> None:
            if (resident := self._residents.get(session)) is not None:
                try:
                    if change.reset is not None:
                        self._begin_anew(resident, change)
                    else:
                        resident.change(self._engine, change, now_s=self._clock.monotonic())
                except (EngineFailure, ValueError) as failure:
                    self._micro_steps.reset(session, f"a change failed: {failure}")
                if change.steps is not None:
                    self._metrics.step_changes.labels("control").inc()

        self._command(work)

    def close(self, session: str) -> None:
        """Forget a session; what it has in flight is lost."""
        self._opening.discard(session)
        self._prompts.forget(session)

        def work() -> None:
            with self._changed:
                self._residents.pop(session, None)
            self._engine.close(session)

        self._command(work)

    async def _ask(self, work: Callable[[], T]) -> T:
        """Do this on the engine's thread. Raises EngineFailure and ValueError as `work` does."""
        answer: asyncio.Future[T] = self._loop.create_future()

        def settle(settles: Callable[[], None]) -> None:
            # Whoever asked may have been cancelled meanwhile.
            if not answer.done():
                settles()

        def on_the_thread() -> None:
            try:
                outcome = work()
            except (EngineFailure, ValueError) as error:
                self._tell(partial(settle, partial(answer.set_exception, error)))
            else:
                self._tell(partial(settle, partial(answer.set_result, outcome)))

        self._command(on_the_thread)
        return await answer

    def _command(self, work: Callable[[], None]) -> None:
        with self._changed:
            self._commands.append(work)
            self._changed.notify()

    # -- on the engine thread -----------------------------------------------------------------------------------------

    def _begin_anew(self, resident: Resident, change: Change) -> None:
        """Forget all frames so far; what the user wants stays. Raises EngineFailure, ValueError."""
        resident.note(change, now_s=self._clock.monotonic())
        with self._changed:
            resident.checkpoint = None
            resident.lane.forget_decoding()
        self._tell(partial(resident.listener.began_anew, change.reset or ""))
        self._engine.close(resident.plan.session)
        resident.start(self._engine, None, now_s=self._clock.monotonic())

    def _tell(self, callback: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(callback)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._count_turn()
                self._turn()
        except Exception as error:
            logger.critical("the engine thread ended: %s", error, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            self._tell(lambda: None if self.crashed.done() else self.crashed.set_result(reason))

    def _turn(self) -> None:
        while self._commands:
            self._commands.popleft()()
            self._count_turn()  # a session that was restored took as long as many micro-steps

        self._show_memory()

        with self._changed:
            now_s = self._clock.monotonic()
            residents = self._residents.values()
            self._load.measure(self._micro_steps.busy_s, now_s)
            self._load.decide_steps(residents, now_s)

            # Every row that could run now, and the rows that should come soon.
            candidates = [candidate for resident in residents for candidate in resident.lane.candidates()]
            expected = [arrival for resident in residents if (arrival := resident.lane.expected()) is not None]
            self._metrics.queued_rows.set(len(candidates))
            decision = next_batch(
                candidates,
                self._cost,
                now_s,
                expected=expected,
                load=self._load.share,
                max_rows=min(self._engine.most_rows or MAX_ROWS, MAX_ROWS),
            )
            if isinstance(decision, Wait):
                self._wait(decision, now_s)
                return

        self._micro_steps.run(decision)

    def _wait(self, decision: Wait, now_s: float) -> None:
        """Sleep until something new arrives, or until the moment that the scheduler named. With the lock held."""
        if self._commands or self._stopping:
            return
        hold_s = IDLE_TICK_S if decision.until_s is None else max(0.0, decision.until_s - now_s)
        self._changed.wait(min(IDLE_TICK_S, hold_s))

    def _count_turn(self) -> None:
        """Count a turn, unless a chunk has been waiting for its pictures longer than any takes."""
        with self._changed:
            since = [resident.lane.decoding_since_s for resident in self._residents.values()]
        oldest_s = min((begun_s for begun_s in since if begun_s is not None), default=None)
        if oldest_s is None or self._clock.monotonic() - oldest_s < LONGEST_DECODE_S:
            self._turns += 1

    def _show_memory(self) -> None:
        memory = self._engine.memory
        if memory is not None:
            shown = self._metrics.engine_memory
            shown.labels("resident").set(memory.resident_bytes)
            shown.labels("sessions").set(memory.taken_bytes)
            shown.labels("free").set(memory.free_bytes)
