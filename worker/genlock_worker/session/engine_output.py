"""What the engine tells of one session, on its way to the viewers, the snapshots and the figures."""

import logging
from collections.abc import Callable

from genlock_core.media import SourcePosition
from genlock_core.spec.session import ResolvedSession, SnapshotPolicy
from genlock_worker.intake.intake import later
from genlock_worker.output.output import Output, output_frames
from genlock_worker.output.pacing import Pacer
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.session.figures import SessionFigures
from genlock_worker.snapshots.writer import SnapshotWriter

logger = logging.getLogger(__name__)


class EngineOutput:
    """The `EngineListener` of one session under one epoch.

    It keeps checkpoints from `keep_snapshots` to `stop_snapshots` (another worker owns the session), and hands frames
    on until `close`. `control_id` gives the last control entry that the engine was told of; `on_given_up` is called
    with the reason if the engine cannot run the session.
    """

    def __init__(
        self,
        spec: ResolvedSession,
        *,
        figures: SessionFigures,
        output: Output,
        control_id: Callable[[], str],
        on_given_up: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._figures = figures
        self._output = output
        self._control_id = control_id
        self._on_given_up = on_given_up
        self._pacer = Pacer(frame_rate=spec.frame_rate, deadline_s=spec.frame_deadline_ms / 1000)
        self._writer: SnapshotWriter | None = None
        self._reset: str | None = None
        """The request for a fresh start that the engine has not followed yet."""
        self._shown: SourcePosition | None = None
        """The last source frame that viewers of any gateway have seen."""
        self._closed = False

    def keep_snapshots(self, writer: SnapshotWriter) -> None:
        self._writer = writer

    def stop_snapshots(self) -> None:
        self._writer = None

    def expect_reset(self, request: str) -> None:
        """A user wants a fresh start: no state of before is stored any more, as if it knew of the request."""
        self._reset = request

    def skip_until(self, position: SourcePosition | None) -> None:
        """Viewers have seen everything up to here already, of another worker."""
        self._shown = later(self._shown, position)

    def close(self) -> None:
        """Nothing goes on from here any more, whatever the engine still tells."""
        self._closed = True

    def generated(self, chunk: GeneratedChunk) -> None:
        if self._closed:
            return
        self._figures.generated(chunk)
        keeps = self._reset is None and self._spec.recovery.snapshot is SnapshotPolicy.EVERY_CHUNK
        if self._writer is not None and keeps:
            self._writer.offer(chunk.checkpoint, self._control_id())
        paced = self._pacer.schedule(
            complete_s=chunk.in_flight.complete_s, ready_s=chunk.generated_s, frames=len(chunk.frames)
        )
        frames = output_frames(chunk, paced, frame_rate=self._spec.frame_rate)
        self._output.add([f for f in frames if self._shown is None or f.position > self._shown])

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        self._figures.micro_step(seconds=seconds, rows=rows, steps=steps)

    def memory(self, size_bytes: int | None) -> None:
        if not self._closed:  # its series are gone by then, and must not come back
            self._figures.memory(size_bytes)

    def was_reset(self, reason: str, *, restored: bool) -> None:
        how = "restored" if restored else "started anew"
        logger.error("%s: the engine lost it (%s); %s", self._spec.key, reason, how)
        if not restored and self._writer is not None:
            self._writer.start_over()

    def began_anew(self, request: str) -> None:
        logger.info("%s: begun anew at a user's request", self._spec.key)
        if request == self._reset:
            self._reset = None
        if self._writer is not None:
            self._writer.start_over()

    def gave_up(self, reason: str) -> None:
        self._on_given_up(reason)
