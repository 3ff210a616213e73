"""How long a batch takes on the hardware that the mock engine stands for."""

from collections.abc import Mapping
from dataclasses import dataclass

from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import CHUNK_FRAMES


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Duration of a batch as a line over its rows, for one resolution."""

    step: StepTime
    """Of 4-frame chunks."""
    pixels: int | None = None
    """Pixels per frame at which the figures were taken; other sizes scale in proportion. None: size does not matter."""

    @classmethod
    def instant(cls) -> "StepTiming":
        """No simulated time at all: the engine is as fast as it paints."""
        return cls(StepTime(0.0, 0.0))

    @classmethod
    def from_fps(
        cls, fps_by_steps: Mapping[int, float], *, width: int | None = None, height: int | None = None
    ) -> "StepTiming":
        """By the frames per second of a profile (`StepTime.from_fps`); `width` and `height` say for which resolution.

        Raises ValueError for no figure, or one that is not positive.
        """
        pixels = width * height if width is not None and height is not None else None
        return cls(StepTime.from_fps(fps_by_steps, chunk_frames=CHUNK_FRAMES), pixels)

    def seconds(self, *, rows: int, width: int, height: int, frames: int) -> float:
        """Simulated duration of a batch of `rows` rows of width x height chunks of `frames` pixel frames."""
        scale = frames / CHUNK_FRAMES
        if self.pixels is not None:
            scale *= width * height / self.pixels
        return self.step.seconds(rows) * scale if rows else 0.0
