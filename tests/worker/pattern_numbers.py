"""Reads the number in a picture of the test pattern, so that a test knows which frame it sees."""

import numpy as np

from genlock_worker.intake.pattern import COUNTER_BITS, counter_height
from genlock_worker.intake.picture import Picture


def read_index(picture: Picture) -> int:
    """The number in a picture of the pattern, also after scaling and lossy coding."""
    height, width = picture.shape[:2]
    strip = picture[height - counter_height(height) // 2 - 1]
    edges = np.linspace(0, width, COUNTER_BITS + 1)
    middles = ((edges[:-1] + edges[1:]) / 2).astype(int)
    index = 0
    for middle in middles:
        index = index << 1 | int(strip[max(0, middle - 1) : middle + 2].mean() > 127)
    return index
