"""A generated chunk as frames to send: where each stands in the source, when it goes out, and what it passed so far.

A chunk's frames come out of the engine at once; viewers want them evenly. They go out one period apart, as early as a
smooth pace allows, and are late once their due time is past. `Pacer` is pure arithmetic over monotonic seconds; the
output sleeps until the times that it names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from genlock_core.approximation.levels import Level
from genlock_core.media import SourcePosition
from genlock_core.slo.deadlines import due_times, frame_times
from genlock_core.slo.stages import Stage, StageTimes
from genlock_worker.intake.picture import Picture
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.rows.playout import PlayoutOffset
from genlock_worker.rows.session_rows import SessionChunk

MIN_SPACING = 0.8
"""Two frames are never closer than this share of a period: catching up is quick, but never a burst."""


@dataclass(frozen=True, slots=True)
class PacedFrame:
    """When one frame of a chunk goes out and when it is due (monotonic seconds)."""

    send_s: float
    due_s: float

    earliest_s: float
    """When it would have gone out had no frame before it been in the way."""


@dataclass(frozen=True, slots=True)
class OutputFrame:
    """A generated picture with its place in the source, its pace, and what it passed so far."""

    picture: Picture

    position: SourcePosition

    pace: PacedFrame

    stages_s: tuple[tuple[Stage, float], ...]
    """The worker's stages, in monotonic seconds; empty for a picture that is sent again."""

    stages: StageTimes
    """What the publisher's gateway wrote down."""

    complete_s: float
    """When its chunk was complete (monotonic seconds)."""

    first_of_chunk: bool

    level: Level
    """That it was made at."""

    def stages_until_sent(self, *, paced_s: float, encoded_s: float, sent_s: float) -> StageTimes:
        """All stages that the frame passed, those of the worker as offsets from its first one here."""
        if not self.stages_s:
            return self.stages

        passed = [*self.stages_s, (Stage.PACED, paced_s), (Stage.ENCODED, encoded_s), (Stage.SENT, sent_s)]
        start_s = passed[0][1]
        own = StageTimes.of({stage: max(0, round((at_s - start_s) * 1_000_000)) for stage, at_s in passed})
        return self.stages.merged(own)


class Pacer:
    """The pace of one session's output: a chunk's first frame goes out at its playout offset, the others evenly."""

    def __init__(self, *, frame_rate: int, deadline_s: float) -> None:
        self._frame_rate = frame_rate
        self._period_s = 1 / frame_rate
        self._deadline_s = deadline_s
        self._offset = PlayoutOffset(deadline_s=deadline_s)
        self._last_send_s: float | None = None

    @property
    def offset_s(self) -> float:
        """The playout offset."""
        return self._offset.seconds

    def frames(self, chunk: GeneratedChunk) -> list[OutputFrame]:
        """A generated chunk as frames to send."""
        spans = spans_of(chunk.chunk, frames=len(chunk.frames))
        paced = self.schedule(complete_s=chunk.chunk.complete_s, ready_s=chunk.generated_s, spans=spans)
        return [
            _output_frame(
                chunk,
                index,
                pace,
                after=len(spans) - 1 - index,
                frame_rate=self._frame_rate,
            )
            for index, pace in enumerate(paced)
        ]

    def schedule(self, *, complete_s: float, ready_s: float, spans: Sequence[int]) -> list[PacedFrame]:
        """The send and due times of a chunk that was complete at `complete_s` and generated at `ready_s`.

        `spans`: for how many frame periods each of its frames stands.
        """
        self._offset.took(ready_s, needed_s=max(0.0, ready_s - complete_s))
        start_s = max(ready_s, complete_s + self.offset_s)
        due = due_times(complete_s, spans=spans, frame_deadline_s=self._deadline_s, frame_rate=self._frame_rate)
        earliest = frame_times(start_s, spans=spans, frame_rate=self._frame_rate)
        return [
            PacedFrame(self._next_send_s(earliest_s), due_s, earliest_s)
            for earliest_s, due_s in zip(earliest, due, strict=True)
        ]

    def again(self, waiting: Sequence[OutputFrame]) -> list[OutputFrame]:
        """The frames that still wait, as nothing that stood before them is sent any more."""
        self._last_send_s = None
        return [
            replace(frame, pace=replace(frame.pace, send_s=self._next_send_s(frame.pace.earliest_s)))
            for frame in waiting
        ]

    def sooner(self, waiting: Sequence[OutputFrame], *, now_s: float) -> list[OutputFrame]:
        """The frames that still wait, as close as frames may be: the ones that come after them have a quicker pace.

        Each of them stood for two frame periods. Those after it would have to wait for that, and come late.
        """
        hurried = []
        for place, frame in enumerate(waiting, start=1):
            send_s = min(frame.pace.send_s, now_s + place * MIN_SPACING * self._period_s)
            hurried.append(replace(frame, pace=replace(frame.pace, send_s=send_s)))
            self._last_send_s = send_s
        return hurried

    def _next_send_s(self, earliest_s: float) -> float:
        send_s = earliest_s
        if self._last_send_s is not None:
            send_s = max(send_s, self._last_send_s + MIN_SPACING * self._period_s)
        self._last_send_s = send_s
        return send_s


def spans_of(chunk: SessionChunk, *, frames: int) -> tuple[int, ...]:
    """For how many frame periods each frame of a chunk stands. Of one that was restored nobody knows: one each."""
    return (1,) * frames if chunk.source is None else tuple(frame.spans for frame in chunk.source.frames)


def _output_frame(
    generated: GeneratedChunk, index: int, pace: PacedFrame, *, after: int, frame_rate: int
) -> OutputFrame:
    """Frame `index` of a chunk; `after` frames of the chunk come after it."""
    chunk = generated.chunk
    stages = StageTimes()
    every = 1
    received: tuple[tuple[Stage, float], ...] = ()

    if chunk.source is not None:
        frame = chunk.source.frames[index]
        position = frame.position
        stages = frame.stages
        every = frame.every
        if not frame.repeated:
            received = ((Stage.RECEIVED, frame.received_s), (Stage.DECODED, frame.decoded_s or frame.received_s))
    elif after < len(chunk.positions):
        position = chunk.positions[-1 - after]
    else:
        # Restored from what an older release has stored, which knows the position of the last source frame alone.
        position = SourcePosition(chunk.last.run, chunk.last.capture_us - round(after * 1_000_000 / frame_rate))

    return OutputFrame(
        picture=generated.frames[index],
        position=position,
        pace=pace,
        stages_s=(
            *received,
            (Stage.CHUNKED, chunk.complete_s),
            (Stage.STARTED, chunk.started_s),
            (Stage.GENERATED, generated.generated_s),
        ),
        stages=stages,
        complete_s=chunk.complete_s,
        first_of_chunk=index == 0,
        level=Level(chunk.steps, every=every),
    )
