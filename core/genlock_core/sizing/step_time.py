"""How long a batch of rows takes by what was measured: the one fit of seconds to rows.

A denoising step of a small batch is bound by memory: reading the weights costs the same for every batch, each row adds
a little. So a batch of r rows takes a + b*r, fitted to the frames per second of a profile at 1-4 steps: one session of
S steps runs S rows for every chunk. The scheduler starts from this line, and the mock engine keeps to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a batch of `rows` rows: `base_s + row_s * rows`."""

    base_s: float
    row_s: float

    def seconds(self, rows: int) -> float:
        return self.base_s + self.row_s * rows

    @classmethod
    def from_fps(cls, fps_by_steps: Mapping[int, float], *, chunk_frames: int) -> "StepTime":
        """Fit a + b*k to chunk_frames / fps(k) by least squares with a, b >= 0.

        `fps_by_steps` maps denoising steps to the frames per second of one session alone. One figure says nothing of
        the base, so all its time counts as the rows' (the careful guess). Raises ValueError for no figure, or one that
        is not positive.
        """
        if not fps_by_steps or any(steps < 1 or fps <= 0 for steps, fps in fps_by_steps.items()):
            raise ValueError(f"timing needs frames per second > 0 at 1 or more steps, not {dict(fps_by_steps)}")
        return cls(*_fit_line([(steps, chunk_frames / fps) for steps, fps in sorted(fps_by_steps.items())]))


def _fit_line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Least squares y = a + b*x with a, b >= 0 (the best point of each edge where the free optimum lies outside)."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    through_origin = 0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points)

    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        return through_origin
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    if slope < 0:
        return mean_y, 0.0
    intercept = mean_y - slope * mean_x
    return (intercept, slope) if intercept >= 0 else through_origin
