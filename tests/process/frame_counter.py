"""Reads the frame counter of `genlock publish testsrc` back from a picture, repainted or not."""

from collections.abc import Sequence
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


def without_cross_fades(readings: Sequence[int]) -> list[int]:
    """The readings without those of pictures that are half the frame before and half the one after.

    What is generated owes something to the frames before, and so does what is encoded. Where frames were left out the
    two counters differ in several bits of their Gray code, and a picture between them may show some bits of each: a
    number that is neither. Only such a one is taken out, and only if it breaks the order.
    """
    kept: list[int] = []
    for index, number in enumerate(readings):
        after = next((later for later in readings[index + 1 :] if later != number), None)
        if kept and after is not None and not kept[-1] <= number <= after and _is_mixed(kept[-1], number, after):
            continue
        kept.append(number)
    return kept


def _is_mixed(before: int, number: int, after: int) -> bool:
    """Whether each bit of the number is that of one of two others, and it is neither."""
    changed = _gray(number) ^ _gray(before)
    return bool(changed) and number != after and not changed & ~(_gray(before) ^ _gray(after))


def _gray(number: int) -> int:
    return number ^ number >> 1


def _blocks(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the inner half of each block."""
    edges = np.linspace(0, row.shape[1], COUNTER_BITS + 1)
    quarter = (edges[1] - edges[0]) / 4
    return np.array([row[:, int(left + quarter) : int(right - quarter)].mean() for left, right in pairwise(edges)])
