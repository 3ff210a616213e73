"""The sessions that are open in the engine: how each begins, is changed, goes back after a failure, and ends.

Used on the engine's thread only, but for what says otherwise. Of the engine it calls what concerns a whole session;
rows and chunks pass through the engine loop.
"""

from collections.abc import Callable, Set
from functools import partial

from genlock_core.approximation.levels import Level
from genlock_core.claims.pulse import EnginePhase
from genlock_core.clock import Clock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.engines.contract import Change, Engine, EngineFailure, RestoreResult
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.engine_thread import EngineThread
from genlock_worker.rows.generation import OpenSession
from genlock_worker.rows.listener import EngineListener
from genlock_worker.rows.load import note_change
from genlock_worker.rows.session_rows import SessionPlan


class OpenSessions:
    """By name; each is one `OpenSession`, which is in its first generation or a later one.

    A session begins a generation from nothing or from a checkpoint: when it is opened, begins anew or is turned, and
    after each failure. One that fails too often is given up: it leaves like one that is closed.
    """

    def __init__(self, engine: Engine, thread: EngineThread, *, clock: Clock, metrics: WorkerMetrics) -> None:
        self._engine = engine
        self._thread = thread
        self._clock = clock
        self._metrics = metrics
        self._sessions: dict[str, OpenSession] = {}
        """Under the thread's lock."""

    # -- on any thread ------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> OpenSession:
        """Raises KeyError if it is not open."""
        return self._sessions[name]

    def get(self, name: str) -> OpenSession | None:
        """The session of this name, if it is open."""
        return self._sessions.get(name)

    @property
    def names(self) -> Set[str]:
        """Of the open ones. With the lock held."""
        return self._sessions.keys()

    def all(self) -> list[OpenSession]:
        """In the order in which they were opened."""
        with self._thread.lock:
            return list(self._sessions.values())

    def current(self, name: str, generation: str) -> OpenSession | None:
        """The session, if this generation of it is still open."""
        session = self._sessions.get(name)
        return session if session is not None and session.name == generation else None

    def is_idle(self, name: str) -> bool:
        """Nothing of the session is in flight or ready, and every chunk that it generated was told."""
        with self._thread.lock:
            session = self._sessions.get(name)
            return session is None or (session.rows.is_idle and not session.is_restoring)

    # -- what is asked for --------------------------------------------------------------------------------------------

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
        with self._thread.lock:
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
            self.tell_memory(session)
            with self._thread.lock:
                self.tell_pace(session)
        opened(failure)

    def change(self, name: str, change: Change) -> None:
        """The user wants something else from the next chunk on, or to begin anew."""
        session = self._sessions.get(name)
        if session is None:
            return

        with self._thread.lock:
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
            self.reset(session, f"a change failed: {failure}")

    def limit(self, name: str, level: Level) -> Level | None:
        """No chunk begins with more steps from now on, and its source is told how many frames are wanted.

        What the next chunk runs with, if that is another level than before.
        """
        session = self._sessions.get(name)
        if session is None:
            return None
        with self._thread.lock:
            before = session.rows.next_running
            after = session.rows.grant(level, self._clock.monotonic())
            self.tell_pace(session)
        if after is not None:
            note_change(session.rows, before, after, cause="granted", metrics=self._metrics)
        return after

    def turn(self, name: str, *, width: int, height: int) -> None:
        """Begin anew with pictures of this size: an engine's memory of a session has one shape."""
        session = self._sessions.get(name)
        if session is None:
            return
        with self._thread.lock:
            session.turn(width, height)
        try:
            self._begin_generation(session, None, began=lambda _: self.tell_memory(session))
        except (EngineFailure, ValueError) as failure:
            self.reset(session, f"it cannot be turned to {width}x{height}: {failure}")
        self._thread.tell(partial(session.listener.began_anew, None))

    def _begin_anew(self, session: OpenSession, request: str) -> None:
        """Forget all frames so far; what the user wants stays. Raises EngineFailure, ValueError."""
        self._thread.tell(partial(session.listener.began_anew, request))
        self._begin_generation(session, None, began=lambda _: self.tell_memory(session))

    def close(self, name: str) -> None:
        """Forget a session; what it has under way is lost."""
        session = self._sessions.get(name)
        if session is not None:
            self._leave(session)

    def _leave(self, session: OpenSession) -> None:
        with self._thread.lock:
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
        self._thread.phase = EnginePhase.OPENING if checkpoint is None else EnginePhase.RESTORING
        self._engine.close(session.name)
        with self._thread.lock:
            session.begin_generation(checkpoint, self._clock.monotonic(), began)
        if checkpoint is not None:
            self._engine.restore(session.name, session.settings, checkpoint.state)
        else:
            self._engine.open(session.name, session.settings)
            began(None)

    # -- what comes back ----------------------------------------------------------------------------------------------

    def take_restoration(self, result: RestoreResult) -> None:
        """A session can go on, or its checkpoint cannot be used."""
        session = next((one for one in self._sessions.values() if one.name == result.session), None)
        if session is None or not session.is_restoring:
            return

        session.is_restoring = False
        reset = session.awaited_reset
        if result.failure is not None:
            session.began(result.failure)
            if reset is not None:  # it begins anew as it is
                self._thread.tell(partial(session.listener.began_anew, reset))
            return
        try:
            session.began(None)  # first: somebody waits for it, whatever becomes of the session then
            self._engine.apply(session.name, session.requested)
            if reset is not None:
                self._begin_anew(session, reset)
        except (EngineFailure, ValueError) as failure:
            self.reset(session, f"a change failed: {failure}")

    # -- going back ---------------------------------------------------------------------------------------------------

    def reset(self, session: OpenSession, reason: str, *, is_at_fault: bool = True) -> None:
        """Take one session back to its last checkpoint, else to the start; the others do not notice.

        It is given up after too many failures that were its own: one that may be another session's is not counted.
        """
        self._metrics.engine_failures.inc()
        if is_at_fault:
            with self._thread.lock:
                session.failures += 1
        if session.is_given_up:
            self._give_up(session, reason)
            return

        checkpoint = session.after_failure()
        try:
            self._begin_generation(session, checkpoint, began=partial(self._went_back, session, reason, checkpoint))
        except (EngineFailure, ValueError) as failure:
            self._give_up(session, f"{reason}; then {failure}")

    def reset_generation(self, session: OpenSession, generation: str, reason: str) -> None:
        """Reset a session unless it was closed meanwhile, or has gone back already."""
        if self.current(session.plan.session, generation) is session:
            self.reset(session, reason)

    def _went_back(self, session: OpenSession, reason: str, checkpoint: Checkpoint | None, failure: str | None) -> None:
        """A session that was reset can go on; or its checkpoint cannot be used: then it starts from nothing."""
        if self._sessions.get(session.plan.session) is not session:
            return
        if failure is None:
            self._thread.tell(partial(session.listener.was_reset, reason, restored=checkpoint is not None))
            self.tell_memory(session)
            return

        reason = f"{reason}; its checkpoint cannot be used: {failure}"
        try:
            self._begin_generation(session, None, began=partial(self._went_back, session, reason, None))
        except (EngineFailure, ValueError) as refusal:
            self._give_up(session, f"{reason}; then {refusal}")

    def _give_up(self, session: OpenSession, reason: str) -> None:
        self._leave(session)
        self._thread.tell(partial(session.listener.gave_up, reason))

    # -- what it is told ----------------------------------------------------------------------------------------------

    def tell_memory(self, session: OpenSession) -> None:
        """Say what the session has set aside, if that has changed."""
        size_bytes = self._engine.session_memory(session.name)
        if size_bytes != session.memory_bytes:
            session.memory_bytes = size_bytes
            self._thread.tell(partial(session.listener.memory, size_bytes))

    def tell_pace(self, session: OpenSession) -> None:
        """Say how many frames of its source the session wants, if that has changed. With the lock held."""
        every = session.rows.next_running.every
        if every != session.told_every:
            session.told_every = every
            self._thread.tell(partial(session.listener.paced, every))
