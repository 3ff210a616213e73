"""From a publisher's pictures to the engine's chunks: an even frame rate, 5 frames then 4, newest wins.

Sits between the decoder and the engine loop. Nothing here waits and nothing queues: a source that is faster than the
session is thinned out by capture time, a chunk that was not taken before the next one is complete is superseded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genlock_core.media import SourcePosition
from genlock_core.slo.stages import StageTimes
from genlock_worker.engines.contract import Frames, chunk_frames

NO_STAGES = StageTimes()

Picture = NDArray[np.uint8]
"""One RGB picture, shape (height, width, 3)."""

MAX_GAP_PERIODS = 8
"""A source that was silent for longer than this many frame periods starts anew, instead of being filled up."""


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A picture of the source at the session's size; `picture` is None for a prompt-only session."""

    position: SourcePosition
    picture: Picture | None
    received_s: float
    """When the worker had it (monotonic seconds)."""
    decoded_s: float = 0.0
    """When its picture was there; 0 where nothing was decoded."""
    stages: StageTimes = NO_STAGES
    """What the publisher's gateway wrote down of it."""


@dataclass(frozen=True, slots=True)
class InputChunk:
    """Source frames that the engine takes at once."""

    frames: tuple[SourceFrame, ...]
    complete_s: float
    """When its last frame was there (monotonic seconds): where its deadline starts."""

    @property
    def last(self) -> SourcePosition:
        return self.frames[-1].position

    def pixels(self) -> Frames | None:
        """The pictures as one array (frames, height, width, 3), or None for a prompt-only session."""
        pictures = [frame.picture for frame in self.frames if frame.picture is not None]
        return np.stack(pictures) if pictures else None


def join(older: InputChunk, newer: InputChunk, *, size: int) -> tuple[InputChunk, int]:
    """What stays of two successive chunks when the engine takes one of `size` frames: the newest; and what was lost.

    The first chunk needs more frames than the later ones, so one that replaces it borrows the older one's last frames.
    """
    frames = older.frames + newer.frames
    return InputChunk(frames[-size:], newer.complete_s), max(0, len(frames) - size)


class FrameRateConverter:
    """Picks and repeats frames so that they come evenly at the session's frame rate, judged by capture time alone.

    The session's ticks start with a run's first frame. A frame serves every tick up to half a period after it, so a
    source of the same rate passes unchanged under jitter of up to half a period. `thinned` counts the frames that no
    tick needed.
    """

    def __init__(self, frame_rate: int) -> None:
        self._period_us = 1_000_000 / frame_rate
        self._run = -1
        self._next_tick_us = 0.0
        self._last_us = 0
        self.thinned = 0

    def ticks(self, position: SourcePosition) -> Iterator[SourcePosition]:
        """The ticks that a frame of this time serves: none, itself, or itself and those missing before it."""
        gap = position.capture_us - self._last_us
        if position.run != self._run or gap > MAX_GAP_PERIODS * self._period_us:
            if position.run < self._run:
                return
            self._run = position.run
            self._next_tick_us = float(position.capture_us)
            self._last_us = position.capture_us - 1
        elif gap <= 0:
            return

        served = 0
        while position.capture_us >= self._next_tick_us - self._period_us / 2:
            self._next_tick_us += self._period_us
            served += 1

        self.thinned += served == 0
        span = position.capture_us - self._last_us
        for left in reversed(range(served)):
            shown_us = max(
                self._last_us + 1, round(position.capture_us - min(left * self._period_us, span * left / served))
            )
            yield SourcePosition(position.run, shown_us)

        if served:
            self._last_us = position.capture_us


class ChunkFormer:
    """Collects the frames of one session into chunks; `index` is the next chunk's place in the stream."""

    def __init__(self, *, frame_rate: int, index: int = 0) -> None:
        self._converter = FrameRateConverter(frame_rate)
        self._frames: list[SourceFrame] = []
        self._held: SourceFrame | None = None
        self._index = index

    @property
    def thinned(self) -> int:
        """Frames that the source had more than the session's rate; they are not counted as lost."""
        return self._converter.thinned

    def add(self, frame: SourceFrame) -> list[InputChunk]:
        """Take a frame in; gives the chunks that it completed (more than one only where the source is very slow)."""
        if self._held is not None and frame.position.run != self._held.position.run:
            self._frames.clear()
            self._held = None
        chunks = []
        for position in self._converter.ticks(frame.position):
            self._frames.append(self._at(position, frame))
            if len(self._frames) == chunk_frames(self._index):
                chunks.append(InputChunk(tuple(self._frames), frame.decoded_s or frame.received_s))
                self._frames.clear()
                self._index += 1
        return chunks

    def _at(self, position: SourcePosition, frame: SourceFrame) -> SourceFrame:
        """What is shown at `position`: missing ticks before a frame hold the picture before it.

        A later picture under an earlier time would let another worker that missed nothing show an older one after it.
        """
        if position == frame.position:
            self._held = frame
        picture = frame.picture if self._held is None else self._held.picture
        return replace(frame, position=position, picture=picture)
