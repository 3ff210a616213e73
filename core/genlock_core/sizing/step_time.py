"""How long a batch of rows takes by what was measured: the one fit of seconds to rows.

A forward is bound by memory or by arithmetic (the roofline; StreamDiffusionV2, arXiv 2511.07399, eq. 2). Memory:
reading the weights costs the same for every batch, each row adds what it reads of its ring and of activations.
Arithmetic: each row has the same products. So a batch of r rows takes max(a + b*r, c*r): a line while it is bound by
memory, and what its products take from the *knee* on, where a further row costs what it costs for itself.

Published figures are of one session at 1-4 steps (S steps run S rows for every chunk): too few rows to show the second
part. The scheduler starts from the line through them, and the mock engine keeps to it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import NamedTuple

KNEE_SHARE = 0.05
"""A batch of rows that each cost this much more than one more row has little left to gain from growing."""
KNEE_SIZES = 4
"""The three parts are told apart by batches of so many sizes; two of them must lie beyond the knee."""
KNEE_FITS_BETTER = 0.5
"""A knee is believed where it leaves at most this share of the best line's squared error, ..."""
LINE_IS_GOOD = 0.01
"""... and where lines are off by more than this share of the seconds (root mean square): nobody measures better."""

BEYOND_NOISE = 4.0
"""... nor is the line believed to be wrong by less than so many times what noise alone makes of the squared error."""
LEAST_SHARE = 1e-3
"""No batch's error counts as if it took less than this share of the longest one's seconds."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Batches of one size: they took `seconds` on average."""

    rows: int
    seconds: float
    weight: float = 1.0
    """How many they are."""
    variance: float = 0.0
    """Of the seconds of one of them; 0 where they were measured until it hardly counts."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a batch of `rows` rows: `base_s + row_s * rows`, and no less than `compute_s * rows`."""

    base_s: float
    """What every batch takes, whatever its size: the weights are read, kernels are launched."""
    row_s: float
    """What the memory takes for a row."""
    compute_s: float = 0.0
    """What the products of a row take; 0 where no batch was large enough to show it."""

    def seconds(self, rows: int) -> float:
        memory_s = self.base_s + self.row_s * rows
        compute_s = self.compute_s * rows
        return memory_s if memory_s >= compute_s else compute_s

    @property
    def knee(self) -> int | None:
        """The rows from which on one more costs about what each of them costs; None: each makes all of them cheaper.

        Larger batches give no more rows in a second, they only take longer.
        """
        at_rows = []
        if self.compute_s > self.row_s:
            at_rows.append(self.base_s / (self.compute_s - self.row_s))
        if self.row_s > 0:
            # On the line a row of r costs base / r more than one more row does.
            at_rows.append(self.base_s / self.row_s * (1 - KNEE_SHARE) / KNEE_SHARE)
        least = min(at_rows, default=math.inf)
        # A row that takes next to nothing has it beyond all numbers.
        return None if math.isinf(least) else max(1, math.ceil(round(least, 9)))

    def line_at(self, rows: float) -> "StepTime":
        """The line that holds for batches of about so many rows, for those who know nothing of knees."""
        if self.base_s + self.row_s * rows >= self.compute_s * rows:
            return StepTime(self.base_s, self.row_s)
        return StepTime(0.0, self.compute_s)

    @classmethod
    def from_fps(cls, fps_by_steps: Mapping[int, float], *, chunk_frames: int) -> "StepTime":
        """Fit a + b*k to chunk_frames / fps(k) by least squares with a, b >= 0.

        `fps_by_steps` maps denoising steps to the frames per second of one session alone. One figure says nothing of
        the base, so all its time counts as the rows' (the careful guess). Raises ValueError for no figure, or one that
        is not positive.
        """
        if not fps_by_steps or any(steps < 1 or fps <= 0 for steps, fps in fps_by_steps.items()):
            raise ValueError(f"timing needs frames per second > 0 at 1 or more steps, not {dict(fps_by_steps)}")
        return cls.fitted(Timed(steps, chunk_frames / fps) for steps, fps in fps_by_steps.items())

    @classmethod
    def fitted(cls, batches: Iterable[Timed]) -> "StepTime":
        """Fit the parts to batches of known size by weighted least squares, all of them >= 0.

        The line, unless batches beyond a knee contradict it: then every place between two sizes is tried as the knee.
        Raises ValueError for no batch, or one that is impossible: without rows or weight, of negative or endless time.
        """
        points = sorted(batches, key=lambda batch: batch.rows)
        for one in points:
            if one.rows < 1 or not 0 <= one.seconds < math.inf or not 0 < one.weight < math.inf:
                raise ValueError(f"no batch can be like this: {one}")
        if not points:
            raise ValueError("a step's time is fitted to one batch at least")
        return _fit(points)


class _Sums(NamedTuple):
    """Weighted sums over points (x rows, y seconds)."""

    w: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    y: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def and_(self, one: Timed) -> "_Sums":
        w, x, y = one.weight, one.rows, one.seconds
        return _Sums(
            self.w + w, self.x + w * x, self.xx + w * x * x, self.y + w * y, self.xy + w * x * y, self.yy + w * y * y
        )

    def line(self) -> tuple[float, float]:
        """y = a + b*x with a, b >= 0 (the best point of each edge where the free optimum lies outside)."""
        through_origin = 0.0, self.xy / self.xx
        spread = self.xx - self.x * self.x / self.w
        if spread <= 1e-12 * self.xx:
            return through_origin
        slope = (self.xy - self.x * self.y / self.w) / spread
        if slope < 0:
            return self.y / self.w, 0.0
        intercept = (self.y - slope * self.x) / self.w
        return (intercept, slope) if intercept >= 0 else through_origin

    def error(self, a: float, b: float) -> float:
        """Squared error of y = a + b*x."""
        return max(
            0.0,
            self.yy - 2 * (a * self.y + b * self.xy) + a * a * self.w + 2 * a * b * self.x + b * b * self.xx,
        )


def _fit(points: Sequence[Timed]) -> StepTime:
    line = StepTime(*_sum(points).line())
    if len({one.rows for one in points}) < KNEE_SIZES or line.seconds(1) <= 0:
        return line
    return _with_knee(points) or line


def _with_knee(points: Sequence[Timed]) -> StepTime | None:
    """The parts, if they explain the points clearly better than any line.

    A knee is a matter of a few rows: errors count by their share of the seconds, or the largest batches alone would
    decide.
    """
    least_s = LEAST_SHARE * max(one.seconds for one in points)
    noise = sum(one.weight * one.variance / max(one.seconds, least_s) ** 2 for one in points)
    noise *= len(points) / sum(one.weight for one in points)
    points = [Timed(one.rows, one.seconds, one.weight / max(one.seconds, least_s) ** 2) for one in points]
    up_to = list(accumulate(points, _Sums.and_, initial=_Sums()))[1:]
    every = up_to[-1]
    # Summed from the other end, as differences of sums would be of rounding alone.
    from_ = list(accumulate(reversed(points), _Sums.and_, initial=_Sums()))[::-1]
    line_error = every.error(*every.line())
    if line_error <= max(LINE_IS_GOOD**2 * every.yy, BEYOND_NOISE * noise):
        return None

    best, best_error = None, KNEE_FITS_BETTER * line_error
    for split in range(1, len(points)):
        below, above = points[split - 1], points[split]
        if below.rows == above.rows or above.rows == points[-1].rows:
            continue

        memory, compute = up_to[split - 1], from_[split]
        base_s, row_s = memory.line() if points[0].rows < below.rows else (memory.y / memory.w, 0.0)
        tried = StepTime(base_s, row_s, compute.xy / compute.xx)
        is_knee_between = (
            base_s + row_s * below.rows >= (1 - LINE_IS_GOOD) * tried.compute_s * below.rows
            and base_s + row_s * above.rows <= (1 + LINE_IS_GOOD) * tried.compute_s * above.rows
        )
        error = memory.error(base_s, row_s) + compute.error(0.0, tried.compute_s)
        if is_knee_between and error < best_error:
            best, best_error = tried, error
    return best


def _sum(points: Iterable[Timed]) -> _Sums:
    return reduce(_Sums.and_, points, _Sums())
