"""When a frame is due, what counts as a miss, a freeze and a recovery gap; and meters that count them as they happen.

The rules are pure. A meter is told every moment by its caller, keeps bounded memory, and belongs to one stream. All
times are seconds of one monotonic clock.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

FREEZE_PERIODS = 3
"""A gap of more frame periods than this beyond the pace is a freeze."""


def frame_times(start_s: float, *, spans: Sequence[int], frame_rate: float) -> tuple[float, ...]:
    """When each frame of a chunk comes if the first comes at `start_s` and they keep their pace.

    `spans`: for how many frame periods each stands. That is one, and more where frames before it were left out on
    purpose: so much later than the frame before it comes.
    """
    return tuple(start_s + (periods - spans[0]) / frame_rate for periods in accumulate(spans))


def due_times(
    complete_s: float, *, spans: Sequence[int], frame_deadline_s: float, frame_rate: float
) -> tuple[float, ...]:
    """When each generated frame of a chunk is due: the first `frame_deadline_s` after the chunk was complete, the
    others at their pace (`frame_times`)."""
    return frame_times(complete_s + frame_deadline_s, spans=spans, frame_rate=frame_rate)


def is_miss(sent_s: float, due_s: float) -> bool:
    """A frame that is sent after its due time is a deadline miss."""
    return sent_s > due_s


def freeze_s(gap_s: float, frame_rate: float) -> float:
    """How long viewers saw a frozen picture in a gap between two frames: what lies beyond the pace, 0.0 if that is at
    most `FREEZE_PERIODS` frame periods."""
    beyond_s = gap_s - 1 / frame_rate
    return beyond_s if beyond_s > FREEZE_PERIODS / frame_rate else 0.0


def time_to_first_frame_s(first_in_s: float, first_out_s: float) -> float:
    """The publisher's first frame in to the first generated frame out, both read at one gateway."""
    return max(0.0, first_out_s - first_in_s)


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze that is over."""

    duration_s: float
    """Beyond the pace."""
    by_fault: bool
    """True: it is the recovery gap of a fault."""


class FreezeMeter:
    """Freezes of one stream, told of every frame that goes out; a `fault` makes the gap it falls in a recovery gap."""

    def __init__(self, frame_rate: float) -> None:
        self.frame_rate = frame_rate
        """The pace of the stream now: who knows of another one writes it here."""
        self._last_s: float | None = None
        self._fault = False
        self.count = 0
        self.total_s = 0.0
        self.last_recovery_gap_s: float | None = None
        """0.0 if the last fault was not to be seen, None if there was none."""

    def frame(self, now_s: float) -> Freeze | None:
        """A frame went out; the freeze that it ended, if there was one."""
        frozen_s = self.frozen_s(now_s)
        by_fault = self._fault
        self._fault = False
        self._last_s = now_s
        if by_fault:
            self.last_recovery_gap_s = frozen_s
        if not frozen_s:
            return None
        self.count += 1
        self.total_s += frozen_s
        return Freeze(frozen_s, by_fault)

    def fault(self) -> None:
        """The stream's worker was found dead, silent or gone: the gap up to the next frame is this fault's."""
        self._fault = self._last_s is not None

    def rest(self) -> None:
        """Frames stop on purpose (paused, no publisher): what follows up to the next frame is no freeze."""
        self._last_s = None
        self._fault = False

    def frozen_s(self, now_s: float) -> float:
        """How long the picture stands still beyond the pace right now."""
        return 0.0 if self._last_s is None else freeze_s(now_s - self._last_s, self.frame_rate)


class MissMeter:
    """The share of frames that missed their deadline, over the last `window_s` seconds (in steps of a tenth of it)."""

    _SLICES = 10

    def __init__(self, window_s: float = 30.0) -> None:
        self._slice_s = window_s / self._SLICES
        self._slices: deque[tuple[int, int, int]] = deque(maxlen=self._SLICES)
        """(number of the slice, frames, misses)."""
        self.frames = 0
        self.misses = 0

    def frame(self, now_s: float, *, miss: bool) -> None:
        """A frame went out, in time or not."""
        self.frames_passed(now_s, frames=1, misses=int(miss))

    def frames_passed(self, now_s: float, *, frames: int, misses: int) -> None:
        """So many frames went out since the last time, and so many of them late."""
        number = math.floor(now_s / self._slice_s)
        frames_before = misses_before = 0
        if self._slices and self._slices[-1][0] == number:
            _, frames_before, misses_before = self._slices.pop()
        self._slices.append((number, frames_before + frames, misses_before + misses))
        self.frames += frames
        self.misses += misses

    def frames_inside(self, now_s: float) -> int:
        """Frames in the window."""
        return sum(frames for frames, _ in self._inside(now_s))

    def share(self, now_s: float) -> float:
        """Misses over frames in the window, 0.0 without frames."""
        frames = self.frames_inside(now_s)
        return sum(misses for _, misses in self._inside(now_s)) / frames if frames else 0.0

    def _inside(self, now_s: float) -> list[tuple[int, int]]:
        oldest = math.floor(now_s / self._slice_s) - self._SLICES
        return [(frames, misses) for number, frames, misses in self._slices if number > oldest]


class FpsMeter:
    """Frames per second over the last `window_s` seconds; up to `max_fps` are told apart."""

    def __init__(self, window_s: float = 2.0, *, max_fps: int = 240) -> None:
        self._window_s = window_s
        self._times_s: deque[float] = deque(maxlen=math.ceil(window_s * max_fps))
        self._first_s: float | None = None

    def frame(self, now_s: float) -> None:
        """A frame passed."""
        if self._first_s is None:
            self._first_s = now_s
        self._times_s.append(now_s)

    def fps(self, now_s: float) -> float:
        """Frames of the window over its length (over the time since the first frame while that is shorter)."""
        if self._first_s is None:
            return 0.0
        inside = sum(now_s - self._window_s < time_s <= now_s for time_s in self._times_s)
        since_first_s = now_s - self._first_s
        if since_first_s >= self._window_s:
            return inside / self._window_s
        return (inside - 1) / since_first_s if since_first_s > 0 else 0.0


class Quantiles:
    """Quantiles of the last `capacity` values."""

    def __init__(self, capacity: int = 512) -> None:
        self._values: deque[float] = deque(maxlen=capacity)

    def add(self, value: float) -> None:
        self._values.append(value)

    def __len__(self) -> int:
        return len(self._values)

    def quantile(self, share: float) -> float | None:
        """The smallest value that `share` (0 to 1) of all values do not exceed (nearest rank), None without values."""
        if not self._values:
            return None
        ordered = sorted(self._values)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
