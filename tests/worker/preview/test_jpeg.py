"""A picture of any size becomes a small JPEG file that looks like it."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from genlock_core.subscriptions.preview import MAX_PREVIEW_BYTES
from genlock_worker.intake.pattern import draw
from genlock_worker.preview.jpeg import PreviewFailure, encode


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    """As RGB."""
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((832, 480), (448, 258)),
        ((480, 832), (258, 448)),
        ((448, 448), (448, 448)),
        ((128, 96), (128, 96)),
        ((4_000, 2), (448, 1)),
    ],
)
def test_its_longer_side_has_448_pixels_or_fewer(size: tuple[int, int], small: tuple[int, int]) -> None:
    width, height = size
    made = decoded(encode(draw(3, width=width, height=height)))
    assert (made.shape[1], made.shape[0]) == small


def test_its_colours_are_those_of_the_picture() -> None:
    colours = np.zeros((96, 128, 3), np.uint8)
    colours[:, :, 0] = 200
    colours[:, 64:, 2] = 120
    made = decoded(encode(colours)).astype(int)
    assert np.abs(made[:, :56] - (200, 0, 0)).max() <= 8
    assert np.abs(made[:, 72:] - (200, 0, 120)).max() <= 8


def test_a_picture_that_would_be_too_long_is_made_coarser() -> None:
    noise = np.random.default_rng(7).integers(0, 256, (448, 448, 3), np.uint8)
    whole = encode(noise, max_bytes=10**9)
    assert len(encode(noise, max_bytes=len(whole) - 1)) < len(whole)
    assert len(encode(noise)) <= MAX_PREVIEW_BYTES


def test_a_picture_that_stays_too_long_is_a_failure() -> None:
    with pytest.raises(PreviewFailure, match="no JPEG of 100 bytes or fewer"):
        encode(draw(3, width=448, height=256), max_bytes=100)
