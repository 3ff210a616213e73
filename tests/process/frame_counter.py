"""Reads the frame counter of `genlock publish testsrc` back from a picture, repainted or not."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from genlock_cli.encoded_source import COUNTER_BITS, COUNTER_ROW_SHARE


def read_counter(picture: NDArray[np.uint8]) -> int | None:
    """The frame's number modulo 2^COUNTER_BITS from an RGB picture; None where the two rows do not agree."""
    height = picture.shape[0]
    row = height // COUNTER_ROW_SHARE
    luma = picture.astype(np.float32).mean(axis=2)
    code = _blocks(luma[height - 2 * row + row // 4 : height - row - row // 4])
    inverse = _blocks(luma[height - row + row // 4 : height - row // 4])
    bits = code > inverse
    if np.any(np.abs(code - inverse) < 0.3 * np.abs(code - inverse).max()) or np.abs(code - inverse).max() < 30:
        return None
    gray = sum(1 << index for index, bit in enumerate(bits) if bit)
    number = 0
    while gray:
        number ^= gray
        gray >>= 1
    return number


def _blocks(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the inner half of each block."""
    edges = np.linspace(0, row.shape[1], COUNTER_BITS + 1)
    quarter = (edges[1] - edges[0]) / 4
    return np.array([row[:, int(left + quarter) : int(right - quarter)].mean() for left, right in pairwise(edges)])
