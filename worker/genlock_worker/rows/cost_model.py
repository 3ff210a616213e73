"""What a micro-step costs: seconds = a + b * rows, per batch shape, learned while running.

The scheduler asks it how many rows it may put into one forward. It starts from the profile and follows the machine;
one slow step (a page fault, a clock change) moves it little, a lasting change moves it within some ten steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from genlock_worker.engines.contract import CHUNK_FRAMES, BatchShape

FORGETTING = 0.97
"""Weight of an observation after one more of its shape: an effective memory of about 30 micro-steps."""
PRIOR_WEIGHT = 2.0
"""How many observations the prior counts for; it keeps the slope known when every batch has the same size."""
CLIP_SCALES = 4.0
"""A residual counts for at most this many typical residuals (Huber's idea)."""
SCALE_GAIN = 0.1
SCALE_FLOOR = 0.02
"""The typical residual is never taken for less than this share of the prediction."""


@dataclass(frozen=True, slots=True)
class LinearCost:
    """Seconds of a micro-step of `rows` rows: `base_s + row_s * rows`."""

    base_s: float
    row_s: float

    def seconds(self, rows: int) -> float:
        return self.base_s + self.row_s * rows

    @classmethod
    def from_fps(cls, fps_by_steps: Mapping[int, float]) -> "LinearCost":
        """Least squares through profile points: a session of S steps runs S rows per chunk in one micro-step."""
        points = [(steps, CHUNK_FRAMES / fps) for steps, fps in fps_by_steps.items() if fps > 0]
        if not points:
            raise ValueError("a cost needs at least one profile point with a positive frame rate")
        mean_n = sum(n for n, _ in points) / len(points)
        mean_t = sum(t for _, t in points) / len(points)
        spread = sum((n - mean_n) ** 2 for n, _ in points)
        slope = sum((n - mean_n) * (t - mean_t) for n, t in points) / spread if spread else mean_t / (mean_n + 4)
        row_s = max(0.0, slope)
        return cls(base_s=max(0.0, mean_t - row_s * mean_n), row_s=row_s)


@dataclass(slots=True)
class _Fit:
    """Weighted sums of one shape's observations; `scale` is the typical residual in seconds."""

    cost: LinearCost
    scale: float
    weight: float = 0.0
    rows: float = 0.0
    rows2: float = 0.0
    time: float = 0.0
    rows_time: float = 0.0
    prior: LinearCost = field(default_factory=lambda: LinearCost(0.0, 0.0))

    def add(self, rows: int, seconds: float) -> None:
        expected = self.cost.seconds(rows)
        residual = seconds - expected
        limit = CLIP_SCALES * max(self.scale, SCALE_FLOOR * expected)
        residual = min(max(residual, -limit), limit)
        self.scale += SCALE_GAIN * (abs(residual) - self.scale)
        clipped = expected + residual
        self.weight = self.weight * FORGETTING + 1
        self.rows = self.rows * FORGETTING + rows
        self.rows2 = self.rows2 * FORGETTING + rows * rows
        self.time = self.time * FORGETTING + clipped
        self.rows_time = self.rows_time * FORGETTING + rows * clipped
        self.cost = self._solve()

    def _solve(self) -> LinearCost:
        """Least squares over the observations and the prior, which stands in as points at 1 and at 4 rows."""
        w, n, n2, t, nt = self.weight, self.rows, self.rows2, self.time, self.rows_time
        for rows in (1, 4):
            expected = self.prior.seconds(rows) * self._level()
            w, n, n2 = w + PRIOR_WEIGHT / 2, n + PRIOR_WEIGHT / 2 * rows, n2 + PRIOR_WEIGHT / 2 * rows * rows
            t, nt = t + PRIOR_WEIGHT / 2 * expected, nt + PRIOR_WEIGHT / 2 * rows * expected
        spread = w * n2 - n * n
        row_s = max(0.0, (w * nt - n * t) / spread)
        return LinearCost(base_s=max(0.0, (t - row_s * n) / w), row_s=row_s)

    def _level(self) -> float:
        """How this machine compares with the prior: the prior is used for its shape only, once there is data."""
        expected = self.weight * self.prior.base_s + self.rows * self.prior.row_s
        return self.time / expected if self.weight > 0 and expected > 0 else 1.0


class CostModel:
    """The learned costs of every batch shape of a worker."""

    def __init__(self, prior: LinearCost) -> None:
        self._prior = prior
        self._fits: dict[BatchShape, _Fit] = {}

    def seconds(self, shape: BatchShape, rows: int) -> float:
        """What a micro-step of `rows` rows is expected to take."""
        return self.cost(shape).seconds(rows)

    def cost(self, shape: BatchShape) -> LinearCost:
        fit = self._fits.get(shape)
        return fit.cost if fit else self._prior

    def observe(self, shape: BatchShape, rows: int, seconds: float) -> None:
        """Learn from a micro-step that took `seconds`."""
        fit = self._fits.get(shape)
        if fit is None:
            start = self._prior.seconds(rows)
            fit = self._fits[shape] = _Fit(cost=self._prior, scale=start / CLIP_SCALES, prior=self._prior)
        fit.add(rows, seconds)
