"""What a batch costs: seconds = a + b * rows, per batch shape, learned while running; and what its chunks cost beside.

The scheduler asks it how many rows it may put into one forward. It starts from the profile and follows the machine;
one slow step (a page fault, a clock change) moves it little, a lasting change moves it within some ten steps.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import BatchShape, DeviceSeconds

FORGETTING = 0.97
"""Weight of an observation after one more of its shape: an effective memory of about 30 micro-steps."""
PRIOR_WEIGHT = 2.0
"""How many observations the prior counts for; it keeps the slope known when every batch has the same size."""
CLIP_SCALES = 4.0
"""A residual counts for at most this many typical residuals (Huber's idea)."""
SCALE_GAIN = 0.1
SCALE_FLOOR = 0.02
"""The typical residual is never taken for less than this share of the prediction."""


@dataclass(slots=True)
class _Fit:
    """Weighted sums of one shape's observations; `scale` is the typical residual in seconds."""

    cost: StepTime
    scale: float
    weight: float = 0.0
    rows: float = 0.0
    rows2: float = 0.0
    time: float = 0.0
    rows_time: float = 0.0
    chunks: float = 0.0
    prior: StepTime = field(default_factory=lambda: StepTime(0.0, 0.0))

    def add(self, rows: int, seconds: float, *, chunks: int) -> None:
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
        self.chunks = self.chunks * FORGETTING + chunks
        self.cost = self._solve()

    def _solve(self) -> StepTime:
        """Least squares over the observations and the prior, which stands in as points at 1 and at 4 rows."""
        w, n, n2, t, nt = self.weight, self.rows, self.rows2, self.time, self.rows_time
        for rows in (1, 4):
            expected = self.prior.seconds(rows) * self._level()
            w, n, n2 = w + PRIOR_WEIGHT / 2, n + PRIOR_WEIGHT / 2 * rows, n2 + PRIOR_WEIGHT / 2 * rows * rows
            t, nt = t + PRIOR_WEIGHT / 2 * expected, nt + PRIOR_WEIGHT / 2 * rows * expected
        spread = w * n2 - n * n
        row_s = max(0.0, (w * nt - n * t) / spread)
        return StepTime(base_s=max(0.0, (t - row_s * n) / w), row_s=row_s)

    def _level(self) -> float:
        """How this machine compares with the prior: the prior is used for its shape only, once there is data."""
        expected = self.weight * self.prior.base_s + self.rows * self.prior.row_s
        return self.time / expected if self.weight > 0 and expected > 0 else 1.0


@dataclass(slots=True)
class _Mean:
    """What one chunk takes of something that is done once for it: follows the machine, clipped as a residual is."""

    seconds: float | None = None

    def add(self, seconds: float, chunks: int) -> None:
        each = seconds / chunks
        if self.seconds is None:
            self.seconds = each
        self.seconds += SCALE_GAIN * (min(each, CLIP_SCALES * max(self.seconds, SCALE_FLOOR)) - self.seconds)


@dataclass(frozen=True, slots=True)
class LearnedBatches:
    """What was learned of the batches of one shape."""

    shape: BatchShape
    cost: StepTime
    """Of the rows alone."""
    chunk_s: float
    """What a chunk takes beside its rows."""
    weight: float
    """So many of the last batches speak in it."""
    rows: float
    """Of a batch, on average."""
    chunks: float
    """That begin with a batch, on average."""


class CostModel:
    """The learned costs of every batch shape of a worker: of rows, and of encoding and decoding a chunk."""

    def __init__(self, prior: StepTime) -> None:
        self._prior = prior
        self._fits: dict[BatchShape, _Fit] = {}
        self._encode: defaultdict[BatchShape, _Mean] = defaultdict(_Mean)
        self._decode: defaultdict[BatchShape, _Mean] = defaultdict(_Mean)

    def seconds(self, shape: BatchShape, rows: int, *, begun: int = 0) -> float:
        """What a batch of `rows` rows is expected to take, with `begun` chunks that are encoded first."""
        return self.cost(shape).seconds(rows) + begun * self.encode_s(shape)

    def cost(self, shape: BatchShape) -> StepTime:
        """Of the rows alone."""
        fit = self._fits.get(shape)
        return fit.cost if fit else self._prior

    def encode_s(self, shape: BatchShape) -> float:
        """What taking in a chunk takes beside its rows; 0 until it was seen (a profile has all in its rows)."""
        return self._encode[shape].seconds or 0.0

    def decode_s(self, shape: BatchShape) -> float:
        """What the pictures of a chunk take; 0 until it was seen."""
        return self._decode[shape].seconds or 0.0

    def beside_rows_s(self, shape: BatchShape) -> float:
        """What a chunk takes of the device beside its rows."""
        return self.encode_s(shape) + self.decode_s(shape)

    def observe(self, shape: BatchShape, rows: int, seconds: DeviceSeconds, *, begun: int = 0, ended: int = 0) -> None:
        """Learn from a batch: `begun` chunks were encoded with it, the pictures of `ended` ones were decoded."""
        fit = self._fits.get(shape)
        if fit is None:
            start = self._prior.seconds(rows)
            fit = self._fits[shape] = _Fit(cost=self._prior, scale=start / CLIP_SCALES, prior=self._prior)
        fit.add(rows, seconds.rows, chunks=begun)
        if begun:
            self._encode[shape].add(seconds.encode, begun)
        if ended:
            self._decode[shape].add(seconds.decode, ended)

    def learned(self) -> list[LearnedBatches]:
        """Of every shape that was seen."""
        return [
            LearnedBatches(
                shape,
                fit.cost,
                chunk_s=self.beside_rows_s(shape),
                weight=fit.weight,
                rows=fit.rows / fit.weight,
                chunks=fit.chunks / fit.weight,
            )
            for shape, fit in self._fits.items()
        ]
