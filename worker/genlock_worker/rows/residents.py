"""A session as the engine loop has it: its plan, its lane, the requested changes, its last state."""

import logging
from dataclasses import dataclass, field, replace
from threading import Condition

from genlock_worker.engines.contract import BatchShape, Change, Engine, EngineFailure, StreamSettings, chunk_frames
from genlock_worker.rows.approximation import StepPolicy
from genlock_worker.rows.checkpoint import Checkpoint, InFlightMark
from genlock_worker.rows.lanes import Lane, LaneChunk
from genlock_worker.rows.listener import EngineListener
from genlock_worker.rows.prompt_queue import merged

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What the engine loop must know of a session."""

    session: str
    """Its name in the engine. It has the epoch in it: a session that has come back is another one for the engine."""

    model: str

    settings: StreamSettings

    deadline_s: float
    """How long after its chunk was complete the chunk's first frame is due."""

    min_steps: int | None
    """Overload lowers the denoising steps to no fewer; None: they are never lowered."""

    @property
    def period_s(self) -> float:
        return 1 / self.settings.frame_rate


@dataclass(slots=True)
class Resident:
    """One session in the engine; touched by the engine thread, its lane also under the loop's lock, `lanes_lock`.

    `requested` is what users have changed since the session is here. A checkpoint may be older than that, so the
    changes are applied after it.
    """

    plan: SessionPlan
    listener: EngineListener
    now_s: float
    lanes_lock: Condition = field(default_factory=Condition)
    lane: Lane = field(init=False)
    policy: StepPolicy | None = field(init=False)
    requested: Change = field(init=False)
    checkpoint: Checkpoint | None = None
    failures: int = 0
    memory_bytes: int | None = None
    """What the listener was told of the engine's memory."""
    _engine_steps: int = field(init=False)

    def __post_init__(self) -> None:
        settings = self.plan.settings
        self.lane = Lane(
            self.plan.session,
            shape=BatchShape(self.plan.model, settings.width, settings.height, chunk_frames(1)),
            deadline_s=self.plan.deadline_s,
            steps=settings.steps,
            period_s=self.plan.period_s,
        )
        self.policy = None
        if self.plan.min_steps is not None:
            self.policy = StepPolicy(requested=settings.steps, minimum=self.plan.min_steps, now_s=self.now_s)
        self.requested = Change(steps=settings.steps, noise_scale=settings.noise_scale)
        self._engine_steps = settings.steps

    def begin(self, engine: Engine, checkpoint: Checkpoint | None, *, now_s: float) -> bool:
        """Start from the checkpoint, or from nothing if there is none or it cannot be used; whether it was used.

        Raises EngineFailure, ValueError.
        """
        if checkpoint is not None and self.restore(engine, checkpoint, now_s=now_s):
            return True
        self.start(engine, None, now_s=now_s)
        return False

    def restore(self, engine: Engine, checkpoint: Checkpoint, *, now_s: float) -> bool:
        """Start from the checkpoint, under its prompt; False if it cannot be used, and nothing is left of it then."""
        try:
            self.start(engine, checkpoint, now_s=now_s)
        except (EngineFailure, ValueError) as failure:
            logger.error("%s: cannot be restored, starting anew: %s", self.plan.session, failure)
            engine.close(self.plan.session)
            return False
        return True

    def start(self, engine: Engine, checkpoint: Checkpoint | None, *, now_s: float) -> None:
        """Open or restore it in the engine; what was in flight counts as complete now.

        Raises EngineFailure, ValueError.
        """
        session = self.plan.session
        settings = replace(
            self.plan.settings,
            prompt=self.requested.prompt or self.plan.settings.prompt,
            noise_scale=self.requested.noise_scale or self.plan.settings.noise_scale,
            steps=self.requested.steps or self.plan.settings.steps,
        )

        if checkpoint is None:
            engine.open(session, settings)
            with self.lanes_lock:
                self.lane.reset(next_chunk=0, chunks_in_flight=[], last_fed=None)
        else:
            engine.restore(session, settings, checkpoint.state)
            chunks_in_flight = [
                LaneChunk(m.index, m.steps, m.done, now_s, m.last, None) for m in checkpoint.chunks_in_flight
            ]
            with self.lanes_lock:
                self.lane.reset(
                    next_chunk=checkpoint.state.chunk + 1, chunks_in_flight=chunks_in_flight, last_fed=checkpoint.source
                )
            engine.apply(session, replace(self.requested, steps=None))

        self.checkpoint = checkpoint
        self._engine_steps = 0

    def note(self, change: Change, *, now_s: float) -> None:
        """Remember what the user wants from the next chunk on; the engine is told its steps with that."""
        self.requested = merged(self.requested, replace(change, reset=None))
        if change.steps is not None:
            self.lane.steps = change.steps
            if self.policy is not None:
                self.policy.request(change.steps, now_s)

    def change(self, engine: Engine, change: Change, *, now_s: float) -> None:
        """The user wants something else, from the next chunk on."""
        self.note(change, now_s=now_s)
        if change.prompt is not None or change.noise_scale is not None:
            engine.apply(self.plan.session, replace(change, steps=None, reset=None))

    def set_engine_steps(self, engine: Engine, steps: int) -> None:
        """Tell the engine the next chunk's steps, if it does not know them."""
        if steps != self._engine_steps:
            engine.apply(self.plan.session, Change(steps=steps))
            self._engine_steps = steps

    def take_checkpoint(self, engine: Engine) -> Checkpoint:
        """The session's state now, right after a chunk was finished."""
        chunks_in_flight = tuple(InFlightMark(f.index, f.steps, f.done, f.last) for f in self.lane.chunks_in_flight)
        return Checkpoint(engine.snapshot(self.plan.session), chunks_in_flight, self.lane.last_fed)
