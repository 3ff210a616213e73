"""Brush marks: square, endlessly repeating tiles of strokes in many directions, made once per process.

Values are spread evenly over 0-255, so a threshold at t covers t/255 of the paper: tone by hatching is exact.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

TILE = 256
DIRECTIONS = 16
_SEED = 20_251_107


@dataclass(frozen=True, slots=True)
class Brushes:
    """The tiles, each (DIRECTIONS, TILE, TILE). Nobody can write to them, as all engines paint with the same."""

    bristle: Pixels
    """Long soft strokes of a hog-hair brush."""
    chalk: Pixels
    """Short grainy marks."""
    hatch: Pixels
    """Thin long lines of a hard point."""


@cache
def make_brushes() -> Brushes:
    """All brushes; the same on every call."""
    return Brushes(
        bristle=_strokes(length=13.0, width=1.3, salt=1),
        chalk=_strokes(length=4.0, width=0.7, salt=2),
        hatch=_strokes(length=15.0, width=1.1, salt=3, ruled=True),
    )


def field(*, width: int, height: int, cell: float, salt: int, octaves: int = 3) -> NDArray[np.float32]:
    """Smooth noise (height, width) in about -1..1 with features of `cell` pixels; its borders join without a seam."""
    rng = np.random.Generator(np.random.Philox(key=salt))
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        columns, rows = max(round(width / step), 1), max(round(height / step), 1)
        lattice = np.pad(rng.standard_normal((rows, columns), dtype=np.float32), 2, mode="wrap")
        size = (round(width * (columns + 4) / columns), round(height * (rows + 4) / rows))
        y, x = round(2 * height / rows), round(2 * width / columns)
        smooth = cv2.resize(lattice, size, interpolation=cv2.INTER_CUBIC)[y : y + height, x : x + width]
        total += smooth * np.float32(0.6**octave)
    return total * np.float32(0.6)


def _strokes(*, length: float, width: float, salt: int, ruled: bool = False) -> Pixels:
    """White noise smeared by an oriented Gaussian, in the frequency domain so that the tile repeats without a seam.

    `ruled` marks lie side by side at a steady distance, as hatching does.
    """
    rng = np.random.Generator(np.random.Philox(key=_SEED + salt))
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    fx, fy = np.fft.rfftfreq(TILE)[None, :] * 2 * np.pi, np.fft.fftfreq(TILE)[:, None] * 2 * np.pi
    tiles = []
    for direction in range(DIRECTIONS // 2):
        angle = direction * np.pi / DIRECTIONS
        along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
        smear = np.exp(-0.5 * ((along * length) ** 2 + (across * width) ** 2))
        if ruled:
            smear *= (across * width) ** 4
        tiles.append(_spread_evenly(np.fft.irfft2(spectrum * smear, (TILE, TILE))))
    made = np.stack(tiles + [np.rot90(tile) for tile in tiles])
    made.flags.writeable = False
    return made


def _spread_evenly(values: NDArray[np.float64]) -> Pixels:
    """Replace each value by its rank, scaled to 0-255 (ranked as 16-bit integers, which sort in linear time)."""
    scaled = np.round(values * (32_000 / np.abs(values).max())).astype(np.int16)
    ranks = np.empty(values.size, np.int64)
    ranks[np.argsort(scaled, axis=None, kind="stable")] = np.arange(values.size)
    return (ranks * 256 // values.size).astype(np.uint8).reshape(values.shape)
