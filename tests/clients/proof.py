"""What a run of a client has to show: pictures that were decoded, how many, of which size, and that they move."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import av
import numpy as np
from numpy.typing import NDArray

FRAMES_WANTED = 32
"""Two seconds of a session: what a viewer shows for so long is no accident of the start."""
KEPT = 8
"""So many of the pictures are kept, evenly spread, to be compared with each other."""
MOVED_SHARE = 0.003
"""A picture has moved where at least this part of it changed: half of what GStreamer's small ball changes."""
MOVED_LUMA = 24
"""A pixel has changed by more than coding and grain change one."""

Picture = NDArray[np.uint8]
"""RGB, height x width x 3."""


class Way(StrEnum):
    """Which way a client goes."""

    PUBLISH = "publish"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen of one client, going one way."""

    frames: int
    """Decoded by the client, or by our viewer of what it published."""
    width: int
    height: int
    moved: bool
    first_frame_ms: int
    """From the offer to the first decoded picture at the viewer."""
    codec: str
    """Of the client's own media."""
    version: str
    picture: Picture


def moves(pictures: Sequence[Picture]) -> bool:
    """Whether something goes on in the pictures: most of them differ from the one before by more than noise.

    A single change would prove nothing: the first pictures of a still source differ from the later ones as well.
    """
    lumas = [_luma(picture) for picture in pictures]
    moved = [_differ(one, following) for one, following in pairwise(lumas)]
    return sum(moved) > len(moved) / 2


def _differ(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    if one.shape != other.shape:
        return False
    return float((np.abs(one - other) > MOVED_LUMA).mean()) >= MOVED_SHARE


def shortcomings(proof: Proof, *, size: tuple[int, int]) -> list[str]:
    """What is wrong with it, in words; nothing if the client works."""
    wrong = []
    if proof.frames < FRAMES_WANTED:
        wrong.append(f"{proof.frames} pictures were decoded, {FRAMES_WANTED} are wanted")
    if (proof.width, proof.height) != size:
        wrong.append(f"the picture is {proof.width}x{proof.height}, not {size[0]}x{size[1]}")
    if not proof.moved:
        wrong.append("the picture stands still")
    return wrong


def rgb(frame: av.VideoFrame) -> Picture:
    """A decoded frame as a picture."""
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def spread(pictures: Sequence[Picture]) -> list[Picture]:
    """At most `KEPT` of the pictures, evenly spread, the first and the last among them."""
    if len(pictures) <= KEPT:
        return list(pictures)
    return [pictures[round(index * (len(pictures) - 1) / (KEPT - 1))] for index in range(KEPT)]


def _luma(picture: Picture) -> NDArray[np.float32]:
    """Brightness on a coarse grid: means of 8x8 pixels, which grain does not change."""
    height, width = picture.shape[0] // 8 * 8, picture.shape[1] // 8 * 8
    luma = picture[:height, :width].mean(axis=2, dtype=np.float32)
    blocks = luma.reshape(height // 8, 8, width // 8, 8)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)
