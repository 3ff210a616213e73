"""How long a micro-step takes on the hardware that the mock engine stands for.

A denoising step of a small batch is bound by memory: reading the weights costs the same for every batch, each row adds
a little. So a micro-step of r rows takes a + b*r, fitted to measured frames per second at 1-4 steps of a ModelProfile.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from genlock_worker.engines.contract import CHUNK_FRAMES


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Duration of a micro-step as a line over its rows, for one resolution."""

    base_s: float
    """Seconds that every micro-step of a 4-frame chunk takes."""
    row_s: float
    """Seconds that each row adds."""
    pixels: int | None = None
    """Pixels per frame at which the figures were taken; other sizes scale in proportion. None: size does not matter."""

    @classmethod
    def instant(cls) -> "StepTiming":
        """No simulated time at all: the engine is as fast as it paints."""
        return cls(base_s=0.0, row_s=0.0)

    @classmethod
    def from_fps(
        cls, fps_by_steps: Mapping[int, float], *, width: int | None = None, height: int | None = None
    ) -> "StepTiming":
        """Fit a + b*k to 4 frames / fps(k) by least squares with a, b >= 0.

        `fps_by_steps` maps denoising steps to the frames per second of one session; `width` and `height` say for which
        resolution. One figure alone says nothing of the base, so all its time counts as the rows' (the careful guess).
        Raises ValueError for no figure, or one that is not positive.
        """
        if not fps_by_steps or any(steps < 1 or fps <= 0 for steps, fps in fps_by_steps.items()):
            raise ValueError(f"timing needs frames per second > 0 at 1 or more steps, not {dict(fps_by_steps)}")
        points = [(steps, CHUNK_FRAMES / fps) for steps, fps in sorted(fps_by_steps.items())]
        base, row = _fit_line(points)
        pixels = width * height if width is not None and height is not None else None
        return cls(base_s=base, row_s=row, pixels=pixels)

    def seconds(self, *, rows: int, width: int, height: int, frames: int) -> float:
        """Simulated duration of one micro-step of `rows` rows of width x height chunks of `frames` pixel frames."""
        scale = frames / CHUNK_FRAMES
        if self.pixels is not None:
            scale *= width * height / self.pixels
        return (self.base_s + self.row_s * rows) * scale if rows else 0.0


def _fit_line(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Least squares y = a + b*x with a, b >= 0 (the best point of each edge where the free optimum lies outside)."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    through_origin = 0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        return through_origin
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    if slope < 0:
        return mean_y, 0.0
    intercept = mean_y - slope * mean_x
    return (intercept, slope) if intercept >= 0 else through_origin
