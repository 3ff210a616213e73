"""One session's way through the engine: the chunk that waits, the chunks in flight, the rows that may run.

The scheduler decides over candidates; a `Lane` says what they are. It is pure bookkeeping, used by the engine loop and
by the simulation alike, and bounded: one chunk waits at most, and a newer one takes its place.
"""

from collections import deque
from dataclasses import dataclass

from genlock_core.media import SourcePosition
from genlock_worker.engines.contract import BatchShape, Row, chunk_frames
from genlock_worker.intake.chunks import InputChunk, join
from genlock_worker.rows.scheduler import Arrival, Candidate

MOST_UNDECODED = 2
"""While one chunk of a session is decoded its next one may end; a third one waits."""
DECODE_GAIN = 0.2
"""Weight of the newest chunk in the time that decoding takes."""
LOSS_GAIN = 0.1
"""Weight of the newest input chunk in the share of lost ones: a memory of about ten chunks."""


@dataclass(slots=True)
class LaneChunk:
    """A chunk that the engine has: `done` of its `steps` rows were run.

    `last` is the position of its last source frame. `source` is None where the chunk was restored from a snapshot.
    """

    index: int
    steps: int
    done: int
    complete_s: float
    last: SourcePosition
    source: InputChunk | None
    started_s: float = 0.0
    """When its first micro-step began (monotonic seconds); 0 before."""


class Lane:
    """The rows of one session.

    A chunk waits (`offer`), is fed (`begin`) when the step-0 row of the one before is done, and leaves (`done`) with
    its last row. Chunk 1 waits until chunk 0 is complete: what its last pass leaves is what every row's ring starts
    from (StreamDiffusionV2 prepares a stream with all steps of its first chunk). Row (i, c) may run once (i-1, c) and
    (i, c-1) are done; a last row only after c-1 is complete, so that output stays in order even when the step count
    falls, and only while fewer than MOST_UNDECODED chunks wait for their pictures (`decoding`, `shown`): a decoder that
    is slower than the network slows it instead of being left behind.
    """

    def __init__(
        self, session: str, *, shape: BatchShape, deadline_s: float, steps: int, period_s: float, next_chunk: int = 0
    ) -> None:
        self.session = session
        self.steps = steps
        self.next_chunk = next_chunk
        self.chunk_s = period_s * chunk_frames(1)
        """How long a chunk is, played."""
        self.chunks_in_flight: list[LaneChunk] = []
        """Oldest first."""
        self.waiting: InputChunk | None = None
        self.loss = 0.0
        """The share of recent input chunks that were lost to the engine's slowness, 0 to 1."""
        self.last_fed: SourcePosition | None = None
        self._shape = shape
        self._deadline_s = deadline_s
        self._undecoded: deque[tuple[LaneChunk, float]] = deque()
        """Chunks whose rows are done and whose pictures are not there, and since when."""
        self._decode_s = 0.0
        """What decoding a chunk usually takes."""
        self._last_complete_s: float | None = None

    def offer(self, chunk: InputChunk) -> int:
        """Take a complete input chunk; what was waiting gives way to it. Returns how many frames were dropped.

        Only what had to wait for the engine counts as the session's loss; a burst of input (after a move, from a bad
        network) says nothing about the engine.
        """
        last_s = self._last_complete_s
        self._last_complete_s = chunk.complete_s
        is_burst = last_s is not None and chunk.complete_s - last_s < self.chunk_s / 2

        # After a restore the intake's first chunk has five frames, and the engine's next one takes four.
        needed = chunk_frames(self.next_chunk)
        if self.waiting is None:
            dropped = max(0, len(chunk.frames) - needed)
            self.waiting = InputChunk(chunk.frames[-needed:], chunk.complete_s)
            return dropped

        joined, dropped = join(self.waiting, chunk, size=needed)
        self.waiting = joined
        if dropped and not is_burst:
            self.loss += LOSS_GAIN * (1 - self.loss)

        return dropped

    def _may_begin(self) -> bool:
        """Whether the waiting chunk may be fed: the one before has its first row behind it, and is not chunk 0."""
        waiting = self.waiting
        if waiting is None or len(waiting.frames) < chunk_frames(self.next_chunk):
            return False
        if not self.chunks_in_flight:
            return True
        newest = self.chunks_in_flight[-1]
        return newest.index > 0 and newest.done >= 1

    def candidates(self) -> list[Candidate]:
        """The rows whose inputs are all there, the waiting chunk's first one included."""
        may_end = len(self._undecoded) < MOST_UNDECODED
        rows = []

        # Chunks in flight: the next row of each, if the chunk before is far enough ahead.
        for place, chunk in enumerate(self.chunks_in_flight):
            before = self.chunks_in_flight[place - 1] if place else None
            last = chunk.done == chunk.steps - 1
            if last and not may_end:
                continue
            if before is None or (not last and before.done > chunk.done):
                rows.append(self._candidate(chunk.index, chunk.done, chunk.steps, chunk.complete_s))

        # The first row of a one-step chunk is its last row, too.
        is_alone = not self.chunks_in_flight and may_end
        if self.waiting is not None and self._may_begin() and (self.steps > 1 or is_alone):
            rows.append(self._candidate(self.next_chunk, 0, self.steps, self.waiting.complete_s))
        return rows

    def _candidate(self, chunk: int, step: int, steps: int, complete_s: float) -> Candidate:
        return Candidate(
            row=Row(self.session, step, chunk),
            shape=self.shape(chunk),
            deadline_s=complete_s + self._deadline_s - self._decode_s,
            rows_left=steps - step,
            loss=self.loss,
        )

    def shape(self, chunk: int) -> BatchShape:
        """The batch shape of one of its chunks: the first has more frames."""
        return BatchShape(self._shape.model, self._shape.width, self._shape.height, chunk_frames(chunk))

    def expected(self) -> Arrival | None:
        """When its next input chunk should be there, judged by the last one; None if one waits or none came yet."""
        if self.waiting is not None or self._last_complete_s is None:
            return None
        return Arrival(self.session, self.shape(self.next_chunk), self._last_complete_s + self.chunk_s)

    def begin(self, steps: int) -> LaneChunk:
        """The waiting chunk was fed and will run `steps` rows. Raises ValueError if none waits."""
        if self.waiting is None:
            raise ValueError(f"{self.session}: no chunk waits")

        chunk = LaneChunk(self.next_chunk, steps, 0, self.waiting.complete_s, self.waiting.last, self.waiting)
        self.chunks_in_flight.append(chunk)
        self.last_fed = chunk.last
        self.waiting = None
        self.next_chunk += 1

        return chunk

    def in_flight(self, index: int) -> LaneChunk:
        """The chunk of this number. Raises KeyError if it is not in flight."""
        for chunk in self.chunks_in_flight:
            if chunk.index == index:
                return chunk
        raise KeyError(f"{self.session}: chunk {index} is not in flight")

    def reset(self, *, next_chunk: int, chunks_in_flight: list[LaneChunk], last_fed: SourcePosition | None) -> None:
        """The engine went back to a snapshot: these are in flight, and `next_chunk` is the next to feed."""
        self.next_chunk = next_chunk
        self.chunks_in_flight = chunks_in_flight
        self.last_fed = last_fed
        self._undecoded.clear()

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight, being decoded or ready to run."""
        return not self.chunks_in_flight and not self._undecoded and not self.candidates()

    @property
    def decoding_since_s(self) -> float | None:
        """Since when a finished chunk has been waiting for its pictures (monotonic seconds); None: none is."""
        return self._undecoded[0][1] if self._undecoded else None

    def forget_decoding(self) -> None:
        """Wait for no pictures any more: the engine goes back to where their chunks were not finished."""
        self._undecoded.clear()

    def decoding(self, chunk: LaneChunk, now_s: float) -> None:
        """A chunk that is done is being decoded."""
        self._undecoded.append((chunk, now_s))

    def shown(self, chunk: LaneChunk, now_s: float) -> bool:
        """Its pictures are there, or never will be; False if the lane was reset and does not wait for them any more."""
        if not self._undecoded or self._undecoded[0][0] is not chunk:  # they come in order
            return False

        _, since_s = self._undecoded.popleft()
        self._decode_s += DECODE_GAIN * (now_s - since_s - self._decode_s)
        return True

    def done(self, row: Row) -> LaneChunk | None:
        """A row was run; returns its chunk if that was the chunk's last row."""
        chunk = self.in_flight(row.chunk)
        chunk.done += 1
        if chunk.done < chunk.steps:
            return None

        self.chunks_in_flight.remove(chunk)
        self.loss *= 1 - LOSS_GAIN
        return chunk
