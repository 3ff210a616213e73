"""From a publisher's pictures to the engine's chunks: an even frame rate, 5 frames then 4, newest wins.

Sits between the decoder and the engine loop. Nothing here waits and nothing queues: a source that is faster than the
session is thinned out by capture time, a chunk that was not taken before the next one is complete is superseded.

A stream that nobody has seen yet begins early, with the pictures that are there (`OPENING_PERIODS`).

Where a session runs at a lower frame rate than its own, all but one of `every` frames are left out. What is used says
for how many frame periods it stands (`SourceFrame.spans`), and is shown for as long.

A source that stands still leaves nothing behind. Once it is silent (`ChunkFormer.rests_at_s`) its newest picture
completes the open chunk, and nothing more is made of it.
"""

from dataclasses import dataclass, replace

import numpy as np

from genlock_core.media import SourcePosition
from genlock_core.slo.stages import StageTimes
from genlock_worker.engines.contract import Frames, chunk_frames
from genlock_worker.intake.frame_rate import FrameRateConverter
from genlock_worker.intake.picture import Picture

NO_STAGES = StageTimes()

OPENING_PERIODS = 2
"""A stream that nobody has seen yet begins so many frame periods after its first picture, with what is there by then.
Its viewers have something to look at sooner, and the first picture of it stands still for a moment."""
SILENT_PERIODS = 2
"""A source is silent after so many frame periods of the session without a picture ..."""
CRAWL_PERIODS = 3
"""... or, where it brings one in at most so many periods, once it is a period late."""
LEAD_PERIODS = 2
"""The chunk of a source at rest is complete no sooner than so many periods before its first tick: ticks never run away
from time, however often such a source brings a picture."""


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
    repeated: bool = False
    """The picture before it once more, as the source is silent. Nobody sent it, so nobody has lost it."""
    spans: int = 1
    """For how many frame periods of the session it stands: more than one where frames before it were left out."""
    every: int = 1
    """Of so many frames one was used when this one was. A source that crawls has nothing to leave out: it spans one."""

    @property
    def there_s(self) -> float:
        """When it could be used (monotonic seconds)."""
        return self.decoded_s or self.received_s


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

    def filled(self, size: int) -> "InputChunk":
        """With at least `size` frames: where some are missing, its first picture comes more often, and sooner."""
        first = replace(self.frames[0], repeated=True, spans=1)
        run, first_us = first.position.run, first.position.capture_us
        missing = range(size - len(self.frames), 0, -1)
        again = [replace(first, position=SourcePosition(run, first_us - before_us)) for before_us in missing]
        return replace(self, frames=(*again, *self.frames))

    def newest(self, size: int) -> "tuple[InputChunk, int]":
        """Its last `size` frames, and how many frames of the source went; it may have fewer than `size`."""
        lost = sum(not frame.repeated for frame in self.frames[:-size])
        return replace(self, frames=self.frames[-size:]), lost


def join(older: InputChunk, newer: InputChunk, *, size: int) -> tuple[InputChunk, int]:
    """What stays of two successive chunks when the engine takes one of `size` frames: the newest; and what was lost.

    The first chunk needs more frames than the later ones, so one that replaces it borrows the older one's last frames.
    """
    return InputChunk(older.frames + newer.frames, newer.complete_s).newest(size)


class ChunkFormer:
    """Collects the frames of one session into chunks; `index` is the next chunk's place in the stream.

    It is told of each frame (`add`), and to `rest` at `rests_at_s` if no other frame came before. With `opens_early`
    its first chunk does not wait for all its frames: it is told to `open` at `opens_at_s`.
    """

    def __init__(self, *, frame_rate: int, opens_early: bool = False) -> None:
        self.opens_early = opens_early
        self.every = 1
        """Of so many frames one is used."""
        self._period_s = 1 / frame_rate
        self._converter = FrameRateConverter(frame_rate)
        self._frames: list[SourceFrame] = []
        self._held: SourceFrame | None = None
        self._index = 0
        self.left_out = 0
        """Frames that were left out so far, as only one of `every` is used."""
        self._left_out = 0
        """How many ticks were left out since the last one that is in a chunk."""
        self._newest: SourceFrame | None = None
        """The last frame of the source, in a chunk or not."""
        self._is_placed = False
        """Whether that one is in a chunk."""
        self._is_silent = False
        """Whether `rest` was called since that one came."""
        self._interval_s = 0.0
        """Between the capture times of the last two frames; 0 for the first one of a run."""

    def go_on(self) -> None:
        """The engine goes on from a restored state: it has its first chunk, which is the longer one."""
        self._index = max(1, self._index)

    # -- frames -------------------------------------------------------------------------------------------------------

    def add(self, frame: SourceFrame) -> list[InputChunk]:
        """Take a frame in; gives the chunks that it completed (more than one only where the source is very slow)."""
        if self._held is not None and frame.position.run != self._held.position.run:
            self._frames.clear()
            self._held = None
            self._left_out = self.every - 1  # the first frame of a publication is used

        chunks: list[InputChunk] = []
        positions = self._converter.ticks(frame.position)
        if not positions:
            chunks += self._make_way(frame)
        is_placed = False
        for position in positions:
            placed = self._at(position, frame)
            spans = self._left_out + 1
            is_placed = spans >= self.every
            if is_placed:
                chunks += self._append(replace(placed, spans=spans), complete_s=frame.there_s)
            else:
                self._left_out = spans
                self.left_out += 1

        self._note(frame, is_placed=is_placed)
        return chunks

    def _at(self, position: SourcePosition, frame: SourceFrame) -> SourceFrame:
        """What is shown at `position`: missing ticks before a frame hold the picture before it.

        A later picture under an earlier time would let another worker that missed nothing show an older one after it.
        """
        if position == frame.position:
            self._held = frame
        picture = frame.picture if self._held is None else self._held.picture
        return replace(frame, position=position, picture=picture)

    def _append(self, frame: SourceFrame, *, complete_s: float) -> list[InputChunk]:
        """One more frame of the open chunk; the chunk, if it is complete now."""
        self._left_out = 0
        self._frames.append(frame if frame.every == self.every else replace(frame, every=self.every))
        if len(self._frames) < chunk_frames(self._index):
            return []
        chunk = InputChunk(tuple(self._frames), complete_s)
        self._frames.clear()
        self._index += 1
        return [chunk]

    def _note(self, frame: SourceFrame, *, is_placed: bool) -> None:
        """The source is not silent: it has just brought this frame."""
        before = self._newest
        if before is not None and frame.position <= before.position:
            return

        self._interval_s = 0.0
        if before is not None and before.position.run == frame.position.run:
            self._interval_s = (frame.position.capture_us - before.position.capture_us) / 1_000_000
        self._newest = frame
        self._is_placed = is_placed
        self._is_silent = False

    # -- the first chunk ----------------------------------------------------------------------------------------------

    @property
    def opens_at_s(self) -> float | None:
        """When the first chunk is complete with what is there; None if it waits for its frames, or is complete."""
        if not self.opens_early or self._index > 0 or not self._frames:
            return None
        return self._frames[0].there_s + OPENING_PERIODS * self._period_s

    def open(self, now_s: float) -> list[InputChunk]:
        """It is time for the first chunk: the newest picture completes it, and the source goes on after it."""
        newest = self._newest
        if newest is None or self.opens_at_s is None:
            return []

        chunks: list[InputChunk] = []
        if not self._is_placed:
            self._is_placed = True
            self._held = newest
            placed = replace(newest, position=self._converter.ahead(newest.position))
            chunks += self._append(placed, complete_s=now_s)
        while not chunks:
            position = self._converter.ahead(newest.position)
            again = SourceFrame(position, newest.picture, now_s, repeated=True)
            chunks += self._append(again, complete_s=now_s)
        return chunks

    # -- a source at rest ---------------------------------------------------------------------------------------------

    @property
    def rests_at_s(self) -> float | None:
        """When the source is silent unless another frame comes (monotonic seconds); None while nothing is due."""
        newest = self._newest
        if newest is None or self._is_silent:
            return None

        crawls = self._interval_s > CRAWL_PERIODS * self._period_s
        pace_s = 0.0 if crawls else self._interval_s + self._period_s
        lead_s = self._converter.until_next_tick_s(newest.position) - LEAD_PERIODS * self._period_s
        return newest.there_s + max(SILENT_PERIODS * self._period_s, pace_s, lead_s)

    def rest(self, now_s: float) -> list[InputChunk]:
        """The source is silent: the open chunk is completed by its newest picture, if that is there to be shown.

        A picture for which there was no tick yet begins a chunk of its own. The engine idles after this.
        """
        newest = self._newest
        if newest is None or self._is_silent:
            return []
        self._is_silent = True
        if self._is_placed and not self._frames:
            return []

        chunks: list[InputChunk] = []
        if not self._is_placed:
            chunks += self._place(newest, complete_s=now_s)
        while self._frames:
            position = self._converter.rest(newest.position)
            again = SourceFrame(position, newest.picture, now_s, repeated=True)
            chunks += self._append(again, complete_s=now_s)
        return chunks

    def pause(self) -> None:
        """What is open is never shown, and nothing is due before the next frame."""
        self._frames.clear()
        self._is_silent = True

    def _make_way(self, frame: SourceFrame) -> list[InputChunk]:
        """There is no tick for this frame yet. One that waits for a tick as well begins a chunk now, ahead of time.

        Otherwise no viewer would ever see it: the chunks of a source that crawls take longer than its pictures.
        """
        waits = self._newest
        if waits is None or self._is_placed or not self._converter.is_resting:
            return []
        if not waits.position < frame.position or waits.position.run != frame.position.run:
            return []
        # A source that is faster than the session has another picture for the tick. Were each of its pictures given one
        # of its own, ticks would run away from time for ever.
        if frame.position.capture_us - waits.position.capture_us < self._period_s * 1_000_000:
            return []
        return self._place(waits, complete_s=frame.there_s)

    def _place(self, frame: SourceFrame, *, complete_s: float) -> list[InputChunk]:
        """Give the newest frame the next tick, whenever that is."""
        self._is_placed = True
        position = self._converter.rest(frame.position)
        self._held = frame
        return self._append(replace(frame, position=position), complete_s=complete_s)
