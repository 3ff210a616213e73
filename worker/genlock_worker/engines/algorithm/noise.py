"""Noise: its draws and the motion-aware controller that decides how much of it a chunk gets.

A draw is keyed by (seed, chunk, step), never by what was drawn before, so a restored session sees the same noise and
rows may run in any order. The controller follows StreamDiffusionV2; the schedule is in `flow`.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.algorithm.flow import V2V_STEPS

Pixels = NDArray[np.uint8]

_MOTION_FULL = 0.2
_NEW, _OLD = 0.9, 0.1
"""Weights of what a chunk asks for and of what the chunk before had."""
_RANGE = 0.1


def draw(*, seed: int, chunk: int, step: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Unit normal noise of `shape` for one row, the same for the same key on every call."""
    key = (seed & (2**64 - 1)) | (((chunk << 8) | step) & (2**64 - 1)) << 64
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, dtype=np.float32)


def motion(pictures: Pixels, previous: Pixels | None) -> float:
    """The largest root mean square difference of consecutive frames, on values scaled to [-1, 1].

    `pictures` is (frames, height, width, 3), `previous` the last frame of the chunk before (None for the first chunk).
    The squared differences are summed as integers, so the result is exact.
    """
    worst = 0.0
    for picture in pictures:
        if previous is not None:
            squares = cv2.norm(picture, previous, cv2.NORM_L2SQR)
            worst = max(worst, math.sqrt(squares / picture.size) / 127.5)
        previous = picture
    return worst


@dataclass(frozen=True, slots=True)
class NoiseLevel:
    """What the controller decided for one chunk: the share of noise in the input, and the timestep the row is told."""

    scale: float
    timestep: int


def first_level(noise_scale: float) -> NoiseLevel:
    """The first chunk takes the user's noise scale and the step list as they are."""
    return NoiseLevel(scale=noise_scale, timestep=V2V_STEPS[0])


def next_level(*, noise_scale: float, moved: float, previous: float) -> NoiseLevel:
    """More motion, less noise: `noise_scale` is the upper bound, `previous` the scale of the chunk before.

    Computed in float64 in this order; any other order may truncate to another timestep.
    """
    share = min(max(moved / _MOTION_FULL, 0.0), 1.0)
    scale = _NEW * (noise_scale - _RANGE * share) + _OLD * previous
    return NoiseLevel(scale=max(scale, 0.0), timestep=max(int(1000 * scale) - 100, 0))
