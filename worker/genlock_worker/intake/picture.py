"""RGB pictures, and how one of any size becomes one of a session's size: cropped, framed by bars, or stretched."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from genlock_core.spec.session import PictureFit

Picture = NDArray[np.uint8]
"""One RGB picture, shape (height, width, 3)."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a picture that is kept, in its own pixels."""

    x: int
    y: int
    width: int
    height: int


def centre_crop(width: int, height: int, *, target_width: int, target_height: int) -> Crop:
    """The largest centred part of a `width` x `height` picture with the target's aspect ratio; at least 1 x 1 pixel."""
    if width * target_height >= height * target_width:
        kept = max(1, round(height * target_width / target_height))
        return Crop((width - kept) // 2, 0, kept, height)
    kept = max(1, round(width * target_height / target_width))
    return Crop(0, (height - kept) // 2, width, kept)


def letterbox(width: int, height: int, *, target_width: int, target_height: int) -> Crop:
    """Where a whole `width` x `height` picture lies between bars in one of the target's size; at least 1 x 1 pixel."""
    if width * target_height >= height * target_width:
        shown = max(1, round(height * target_width / width))
        return Crop(0, (target_height - shown) // 2, target_width, shown)
    shown = max(1, round(width * target_height / height))
    return Crop((target_width - shown) // 2, 0, shown, target_height)


def fit_picture(picture: NDArray[np.uint8], *, width: int, height: int, fit: PictureFit = PictureFit.CROP) -> Picture:
    """An RGB picture (height, width, 3) of any size as one of `width` x `height`; bars are black."""
    if fit is PictureFit.FILL:
        return _resized(picture, width=width, height=height)

    if fit is PictureFit.FIT:
        place = letterbox(picture.shape[1], picture.shape[0], target_width=width, target_height=height)
        shown = _resized(picture, width=place.width, height=place.height)
        if shown.shape[:2] == (height, width):
            return shown
        framed = np.zeros((height, width, 3), np.uint8)
        framed[place.y : place.y + place.height, place.x : place.x + place.width] = shown
        return framed

    crop = centre_crop(picture.shape[1], picture.shape[0], target_width=width, target_height=height)
    return _resized(picture[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width], width=width, height=height)


def _resized(kept: NDArray[np.uint8], *, width: int, height: int) -> Picture:
    if kept.shape[:2] == (height, width):
        return np.ascontiguousarray(kept)

    # Averaging over areas keeps a picture that shrinks free of moire; it cannot enlarge one.
    shrinks = kept.shape[0] > height
    resized = cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)
