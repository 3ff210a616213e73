"""What a batch costs, per batch shape, learned while running; and what its chunks cost beside.

Seconds are those of `StepTime`: a line over the rows while a forward is bound by memory, and what the rows' products
take beyond the knee. The scheduler asks how many rows it may put into one forward. The model starts from the profile
and follows the machine; one slow step (a page fault, a clock change) moves it little, a lasting change moves it within
some ten steps. Encoding and decoding a chunk are terms of their own, whatever runs beside what.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from genlock_core.sizing.step_time import KNEE_SIZES, StepTime, Timed
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
PRIOR_ROWS: tuple[int, ...] = (1, 4)
"""The sizes at which the prior stands in as batches; ..."""
PRIOR_KNEES: tuple[int, ...] = (1, 2)
"""... one that knows its products' part does so at so many times the knee's rows, too."""
CONTRAST = 0.1
"""Batches of a size that weigh less together say nothing of what a row more costs: one batch does for some 75 more."""
FORGOTTEN = 1e-3
"""Batches of a size that weigh less together are forgotten."""


@dataclass(slots=True)
class _Size:
    """Batches of one size: their weight, and their weighted seconds and squares of seconds."""

    weight: float = 0.0
    time: float = 0.0
    time2: float = 0.0

    def forget(self) -> None:
        self.weight *= FORGETTING
        self.time *= FORGETTING
        self.time2 *= FORGETTING

    def add(self, seconds: float) -> None:
        self.weight += 1
        self.time += seconds
        self.time2 += seconds * seconds

    def timed(self, rows: int) -> Timed:
        mean = self.time / self.weight
        return Timed(rows, mean, self.weight, variance=max(0.0, self.time2 / self.weight - mean * mean))


@dataclass(slots=True)
class _Fit:
    """One shape's observations by their rows, and what they come to; `scale` is the typical residual in seconds."""

    cost: StepTime
    scale: float
    prior: StepTime
    weight: float = 0.0
    chunks: float = 0.0
    sizes: defaultdict[int, _Size] = field(default_factory=lambda: defaultdict(_Size))

    @property
    def rows(self) -> float:
        """Weighted."""
        return sum(rows * size.weight for rows, size in self.sizes.items())

    @property
    def only_size(self) -> int | None:
        """The rows of all the last batches, where they were alike: such batches say nothing of the parts."""
        sizes = [rows for rows, size in self.sizes.items() if size.weight >= CONTRAST]
        return sizes[0] if len(sizes) == 1 else None

    def add(self, rows: int, seconds: float, *, chunks: int) -> None:
        expected = self.cost.seconds(rows)
        residual = seconds - expected
        limit = CLIP_SCALES * max(self.scale, SCALE_FLOOR * expected)
        residual = min(max(residual, -limit), limit)
        self.scale += SCALE_GAIN * (abs(residual) - self.scale)

        for size in self.sizes.values():
            size.forget()
        self.weight = self.weight * FORGETTING + 1
        self.chunks = self.chunks * FORGETTING + chunks
        self.sizes[rows].add(max(0.0, expected + residual))

        for faded in [rows for rows, size in self.sizes.items() if size.weight < FORGOTTEN]:
            del self.sizes[faded]
        self.cost = self._solve()

    def _solve(self) -> StepTime:
        """Least squares over the observations and the prior, which stands in as some batches.

        Where batches of enough sizes were seen, they know the parts themselves, and the prior is silent.
        """
        seen = [size.timed(rows) for rows, size in self.sizes.items()]
        if sum(one.weight >= 1 for one in seen) >= KNEE_SIZES:
            return StepTime.fitted(seen)

        level = self._level()
        stand_in = PRIOR_ROWS
        knee = self.prior.knee
        if self.prior.compute_s and knee is not None:
            stand_in = tuple({*PRIOR_ROWS, *(times * knee for times in PRIOR_KNEES)})
        each = PRIOR_WEIGHT / len(stand_in)
        return StepTime.fitted([*seen, *(Timed(rows, level * self.prior.seconds(rows), each) for rows in stand_in)])

    def _level(self) -> float:
        """How this machine compares with the prior: the prior is used for its shape only, once there is data."""
        expected = sum(size.weight * self.prior.seconds(rows) for rows, size in self.sizes.items())
        time = sum(size.time for size in self.sizes.values())
        return time / expected if expected > 0 else 1.0


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

    def knee(self, shape: BatchShape) -> int | None:
        """From how many rows on one more costs about what each costs; None: not known, or never.

        Where all the last batches were of one size, nobody has seen here what a row more costs, and the prior may be
        of another machine: such a size counts as the knee, so that a larger batch is tried now and then.
        """
        knee = self.cost(shape).knee
        fit = self._fits.get(shape)
        if knee is None or fit is None:
            return knee
        return max(knee, fit.only_size or knee)

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
