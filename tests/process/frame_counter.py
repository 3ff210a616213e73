"""Reads the frame counter of `genlock publish testsrc` back from a picture, repainted or not."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from genlock_cli.encoded_source import COUNTER_BITS


def read_counter(picture: NDArray[np.uint8]) -> int | None:
    """The frame's number modulo 2^COUNTER_BITS from an RGB picture; None where a block is neither dark nor light."""
    height, width = picture.shape[:2]
    luma = picture.astype(np.float32).mean(axis=2)
    strip = luma[height - height // 13 : height - height // 40]
    edges = np.linspace(0, width, COUNTER_BITS + 1)
    blocks = []
    for left, right in pairwise(edges):
        margin = (right - left) * 0.25
        blocks.append(float(strip[:, int(left + margin) : int(right - margin)].mean()))
    low, high = min(blocks), max(blocks)
    if high - low < 30:
        return None
    threshold, doubt = (low + high) / 2, (high - low) * 0.12
    if any(abs(value - threshold) < doubt for value in blocks):
        return None
    code = sum(1 << index for index, value in enumerate(blocks) if value > threshold)
    number = 0
    while code:
        number ^= code
        code >>= 1
    return number
