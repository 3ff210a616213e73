"""One opening of a session in the engine, from `open` or `restore` to `close`, and what is under way of it.

A session that fails is closed and opened again: another generation, under another name. Whatever comes back under the
old name is nobody's. Pure bookkeeping beside `SessionRows`, moved by the engine loop.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from genlock_core.media import SourcePosition
from genlock_worker.engines.contract import Change, EngineFailure, EngineState, Frames, StreamSettings
from genlock_worker.engines.readiness import Needs
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.listener import EngineListener
from genlock_worker.rows.prompt_queue import merged
from genlock_worker.rows.session_rows import SessionChunk, SessionPlan, SessionRows

MAX_RESTORES = 2
"""A session that fails more often than this without a finished chunk between starts anew: its state may be at fault."""
MAX_FAILURES = 4
"""After this many failures without a finished chunk between them a session is given up."""


@dataclass(slots=True, eq=False)
class FinishingChunk:
    """A chunk whose last row was submitted, until its verdict, its pictures and the state after it are there."""

    chunk: SessionChunk
    state: Future[EngineState]
    positions: dict[int, tuple[SourcePosition, ...]]
    source: SourcePosition | None
    pictures: Future[Frames] | None = None
    """None until the verdict of its last row, and of all rows before it, is in."""
    collected_s: float = 0.0
    """When that was (monotonic seconds)."""

    @property
    def is_ready(self) -> bool:
        return self.pictures is not None and self.pictures.done() and self.state.done()

    @property
    def failure(self) -> str | None:
        """Why it cannot be shown, once it is ready."""
        for awaited in (self.pictures, self.state):
            failure = None if awaited is None else awaited.exception()
            if failure is not None:
                return failure.reason if isinstance(failure, EngineFailure) else f"{type(failure).__name__}: {failure}"
        return None

    def frames(self) -> Frames:
        """Its pictures, once it is ready and did not fail. Raises ValueError before its verdict is in."""
        if self.pictures is None:
            raise ValueError(f"chunk {self.chunk.index} is not complete")
        return self.pictures.result()

    def checkpoint(self) -> Checkpoint:
        """What the session goes on from after it, once it is ready and did not fail."""
        return Checkpoint(self.state.result(), self.positions, self.source)


@dataclass(slots=True, eq=False)
class OpenSession:
    """A session as the engine loop has it: its rows, its generation, and what it goes back to."""

    plan: SessionPlan
    listener: EngineListener
    rows: SessionRows
    generation: int = 0
    is_restoring: bool = False
    """Nothing may be submitted of it before its restoration has ended."""
    began: Callable[[str | None], None] = field(default=lambda _: None)
    """Is told once when the generation can go on, or why its checkpoint cannot be used."""
    awaited_reset: str | None = None
    """The request for a fresh start that came while it was being restored."""
    finishing: deque[FinishingChunk] = field(default_factory=deque)
    checkpoint: Checkpoint | None = None
    failures: int = 0
    """Since its last finished chunk."""
    requested: Change = field(default_factory=Change)
    """What users want that a checkpoint may not know, which may be older: applied after it."""
    memory_bytes: int | None = None
    """What the listener was told of the engine's memory."""
    told_every: int = 1
    """What the listener was told: of so many frames of the source one is used."""

    @classmethod
    def of(cls, plan: SessionPlan, listener: EngineListener, *, needs: Needs, now_s: float) -> "OpenSession":
        rows = SessionRows(plan, needs=needs, now_s=now_s)
        return cls(plan, listener, rows, requested=Change(noise_scale=plan.settings.noise_scale))

    @property
    def name(self) -> str:
        """What the engine calls this generation."""
        return f"{self.plan.session}#{self.generation}"

    @property
    def is_new(self) -> bool:
        """No chunk of it was ever finished: what the engine does once for it, it does now."""
        return self.checkpoint is None and not self.is_restoring

    @property
    def settings(self) -> StreamSettings:
        """What it is opened with now: its plan, and what users have changed since."""
        planned = self.plan.settings
        return replace(
            planned,
            prompt=planned.prompt if self.requested.prompt is None else self.requested.prompt,
            noise_scale=planned.noise_scale if self.requested.noise_scale is None else self.requested.noise_scale,
            steps=self.rows.ceiling.steps,
        )

    def note(self, change: Change, now_s: float) -> None:
        """Remember what the user wants from the next chunk on."""
        if change.steps is not None:
            self.rows.request_steps(change.steps, now_s)
        self.requested = merged(self.requested, replace(change, steps=None, reset=None))

    def turn(self, width: int, height: int) -> None:
        """Its pictures have this size from the next generation on."""
        self.plan = replace(self.plan, settings=replace(self.plan.settings, width=width, height=height))
        self.rows.plan = self.plan
        self.rows.waiting = None

    def begin_generation(
        self, checkpoint: Checkpoint | None, now_s: float, began: Callable[[str | None], None]
    ) -> None:
        """Go on from a checkpoint, or from nothing, under another name; what was in flight counts as complete now."""
        self.generation += 1
        self.is_restoring = checkpoint is not None
        self.began = began
        self.awaited_reset = None
        self.checkpoint = checkpoint
        self.finishing.clear()
        if checkpoint is None:
            self.rows.go_back()
            return

        in_flight = [
            SessionChunk(
                index=state.index,
                steps=state.steps,
                rows=state.rows,
                complete_s=now_s,
                positions=checkpoint.positions[state.index],
                submitted=state.done,
                collected=state.done,
            )
            for state in checkpoint.state.in_flight
        ]
        self.rows.go_back(next_chunk=checkpoint.state.chunk + 1, in_flight=in_flight, last_fed=checkpoint.source)

    def finish(self, chunk: SessionChunk, state: Future[EngineState]) -> FinishingChunk:
        """A chunk's last row was submitted; `state` is what the engine will have been then."""
        positions = {one.index: one.positions for one in self.rows.in_flight if one is not chunk}
        finishing = FinishingChunk(chunk, state, positions, self.rows.last_fed)
        self.finishing.append(finishing)
        return finishing

    def after_failure(self) -> Checkpoint | None:
        """What to go back to after one more failure; None: to the start. Ask `is_given_up` first."""
        return self.checkpoint if self.failures <= MAX_RESTORES else None

    @property
    def is_given_up(self) -> bool:
        return self.failures > MAX_FAILURES
