"""The service levels in the words of those who serve generated video as a stream: their figures and ours side by side.

Their papers: SlackServe ("Adaptive Resource Management and Quality Control for Streaming Video Generation", arXiv
2606.15319) and TurboServe ("Serving Streaming Video Generation Efficiently and Economically", arXiv 2606.19271). Only
their abstracts were at hand: what they leave open is stated here as we read it.

- **Continuous-play ratio** (SlackServe, CPR): the share of a session's time in which the next picture was there when
  due; 1 - stalled / played. They play out of a buffer, and a stall begins when that *playout slack* is used up. A live
  picture has no buffer but the worker's pacing, so ours is stricter: a picture is due one period after the one before
  it, with a slack of half a period for what jitters. Both leave out the time before the first picture; we leave out
  rests too (paused, no publisher, nobody watches). A frame that is left out on purpose is due to nobody: the period is
  that of the rate at which the session runs.
- **Time to first chunk** (SlackServe, TTFC): from a request to its first chunk. Ours begins with the publisher's offer,
  and ends when the first chunk's first picture is handed to viewers: connecting, the publisher's camera and encoding
  are in it. The *time to first frame* begins with the publisher's first picture.
- **Real-time factor**: seconds that the engine took for a second of video; below 1 it keeps ahead. (As in speech
  synthesis. Some write the inverse.) Ours counts the whole of each micro-step in which the session had rows,
  whoever else had rows in it: it says how far ahead the batches keep that the session is in, not what it uses.
- **Age of the picture**: how long ago what viewers see was captured (the *age of information* of queueing theory), at
  any time and not only when a picture is new: it grows while a picture stands. Latency is that age at its smallest.

Pure meters: they are told every moment in seconds of one monotonic clock, and belong to one stream.
"""

import math
from collections import deque
from typing import Final

from genlock_core.slo.deadlines import Quantiles

SLACK_PERIODS: Final = 0.5
"""A picture that comes later than this beyond its pace was not there when due."""
OPEN_AFTER_S: Final = 1.0
"""A gap that lasts is counted from this length on. A shorter one may turn out to be the begin of a rest."""
SAMPLES_AT_ONCE: Final = 256
"""No gap gives more samples of the picture's age than this."""


def stalled_s(gap_s: float, frame_rate: float) -> float:
    """Of the time between two pictures, that in which the next one was due and not there."""
    beyond_s = gap_s - 1 / frame_rate
    return beyond_s if beyond_s > SLACK_PERIODS / frame_rate else 0.0


def continuous_play_ratio(*, played_s: float, stalled_s: float) -> float | None:
    """None where nothing was played."""
    return max(0.0, 1 - stalled_s / played_s) if played_s > 0 else None


def real_time_factor(*, engine_s: float, video_s: float) -> float | None:
    """None where no video was made."""
    return engine_s / video_s if video_s > 0 else None


class PlayMeter:
    """How long a stream played, and how much of that it stalled. Its counts only grow."""

    def __init__(self, frame_rate: float) -> None:
        self.frame_rate = frame_rate
        """The pace of the stream now: who knows of another one writes it here."""
        self.played_s = 0.0
        self.stalled_s = 0.0
        self._last_s: float | None = None
        self._last_frame_rate = frame_rate
        """The pace at the last picture: what comes after it may still be of that one."""
        # What is counted already of the time since the last picture.
        self._open_played_s = 0.0
        self._open_stalled_s = 0.0

    @property
    def ratio(self) -> float | None:
        """The continuous-play ratio so far; None before the second picture."""
        return continuous_play_ratio(played_s=self.played_s, stalled_s=self.stalled_s)

    def frame(self, now_s: float) -> None:
        """A new picture went out."""
        self._count(now_s)
        self._last_s = now_s
        self._last_frame_rate = self.frame_rate
        self._open_played_s = 0.0
        self._open_stalled_s = 0.0

    def look(self, now_s: float) -> None:
        """Time passes: a stall that lasts is counted while it lasts."""
        if self._last_s is not None and now_s - self._last_s >= OPEN_AFTER_S:
            self._count(now_s)

    def rest(self) -> None:
        """Pictures stop on purpose: what follows up to the next one is not played."""
        self._last_s = None

    def _count(self, now_s: float) -> None:
        if self._last_s is None:
            return
        gap_s = max(0.0, now_s - self._last_s)
        stalled = stalled_s(gap_s, min(self.frame_rate, self._last_frame_rate))

        self.played_s += max(0.0, gap_s - self._open_played_s)
        self.stalled_s += max(0.0, stalled - self._open_stalled_s)
        self._open_played_s = max(gap_s, self._open_played_s)
        self._open_stalled_s = max(stalled, self._open_stalled_s)


class PictureAge:
    """The age of what viewers see, sampled once in each frame period of the session's own, whether a picture is new or
    stands: so a share of the samples is a share of the time."""

    def __init__(self, frame_rate: float) -> None:
        self.ages_s = Quantiles()
        self._period_s = 1 / frame_rate
        self._captured_s: float | None = None
        """When what is seen was captured; None while nothing is seen, or nobody knows."""
        self._sampled = 0
        """The number of the last period that was sampled."""

    def shown(self, now_s: float, *, age_s: float | None) -> list[float]:
        """A new picture is seen from now on; returns the samples up to now. None: nobody knows how old it is."""
        samples = self.look(now_s)
        self._captured_s = None if age_s is None else now_s - age_s
        self._sampled = self._period_of(now_s)
        return samples

    def look(self, now_s: float) -> list[float]:
        """Time passes; returns the samples since the last call (seconds, oldest first)."""
        number = self._period_of(now_s)
        if self._captured_s is None or number <= self._sampled:
            return []
        first = max(self._sampled + 1, number - SAMPLES_AT_ONCE + 1)
        self._sampled = number

        samples = [max(0.0, each * self._period_s - self._captured_s) for each in range(first, number + 1)]
        for age_s in samples:
            self.ages_s.add(age_s)
        return samples

    def rest(self) -> None:
        """Pictures stop on purpose: what is seen is as old as it is meant to be."""
        self._captured_s = None

    def _period_of(self, now_s: float) -> int:
        return math.floor(now_s / self._period_s)


class RealTimeFactor:
    """The engine's time and the video that it made in it, of the last chunks of one session."""

    CHUNKS: Final = 32

    def __init__(self) -> None:
        self._engine_s = 0.0
        """Since the last chunk."""
        self._chunks: deque[tuple[float, float]] = deque(maxlen=self.CHUNKS)
        """(the engine's seconds, seconds of video)."""

    def micro_step(self, seconds: float) -> None:
        """The engine took so long for a batch with rows of this session."""
        self._engine_s += seconds

    def chunk(self, video_s: float) -> None:
        """A chunk that stands for so many seconds of the source was done."""
        self._chunks.append((self._engine_s, video_s))
        self._engine_s = 0.0

    @property
    def value(self) -> float | None:
        """Over the last chunks; None before the first."""
        return real_time_factor(
            engine_s=sum(engine_s for engine_s, _ in self._chunks), video_s=sum(video_s for _, video_s in self._chunks)
        )
