"""What the engine tells of one session, on its way to the viewers, the snapshots and the figures.

Stands between the rows, which know nothing of gateways or Redis, and the parts of the session that do.
"""

import logging
from collections.abc import Callable

from genlock_core.spec.session import ResolvedSession, SnapshotPolicy
from genlock_worker.output.output import Output
from genlock_worker.output.pacing import spans_of
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.session.control_stream import ControlFollower
from genlock_worker.session.figures import SessionFigures
from genlock_worker.snapshots.writer import SnapshotWriter

logger = logging.getLogger(__name__)


class EngineOutput:
    """The `EngineListener` of one session under one epoch.

    It keeps checkpoints from `keep_snapshots` to `stop_snapshots` (another worker owns the session), and hands frames
    on until `close`. `on_paced` is told of how many frames of the source one is wanted; `on_given_up` is called with
    the reason if the engine cannot run the session.
    """

    def __init__(
        self,
        spec: ResolvedSession,
        *,
        figures: SessionFigures,
        output: Output,
        control: ControlFollower,
        on_paced: Callable[[int], None],
        on_given_up: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._figures = figures
        self._output = output
        self._control = control
        self._on_paced = on_paced
        self._on_given_up = on_given_up
        self._writer: SnapshotWriter | None = None
        self._closed = False

    def keep_snapshots(self, writer: SnapshotWriter) -> None:
        self._writer = writer

    def stop_snapshots(self) -> None:
        self._writer = None

    def close(self) -> None:
        """Nothing goes on from here any more, whatever the engine still tells."""
        self._closed = True

    def generated(self, chunk: GeneratedChunk) -> None:
        if self._closed:
            return
        video_s = sum(spans_of(chunk.chunk, frames=len(chunk.frames))) / self._spec.frame_rate
        digests = chunk.checkpoint.state.sink_digests
        self._figures.generated(chunk.chunk.index, video_s=video_s, sink_digests=digests)
        self._offer_checkpoint(chunk)
        self._output.add(chunk)

    def _offer_checkpoint(self, chunk: GeneratedChunk) -> None:
        if self._spec.recovery.snapshot is not SnapshotPolicy.EVERY_CHUNK or self._control.awaited_reset is not None:
            return
        if self._writer is not None:
            self._writer.offer(chunk.checkpoint, self._control.requested.control_id)

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        # The series of a closed session are gone and must not come back.
        if not self._closed:
            self._figures.micro_step(seconds=seconds, rows=rows, steps=steps)

    def paced(self, every: int) -> None:
        if not self._closed:
            self._on_paced(every)

    def memory(self, size_bytes: int | None) -> None:
        if not self._closed:
            self._figures.memory(size_bytes)

    def was_reset(self, reason: str, *, restored: bool) -> None:
        how = "restored" if restored else "started anew"
        logger.error("%s: the engine lost it (%s); %s", self._spec.key, reason, how)
        if not restored and self._writer is not None:
            self._writer.start_over()

    def began_anew(self, request: str | None) -> None:
        why = "as its pictures turned" if request is None else "at a user's request"
        logger.info("%s: begun anew %s", self._spec.key, why)
        if request is not None:
            self._control.reset_done(request)
        if self._writer is not None:
            self._writer.start_over()

    def gave_up(self, reason: str) -> None:
        self._on_given_up(reason)
