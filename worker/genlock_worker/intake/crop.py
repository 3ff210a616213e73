"""Brings source pictures to the session's size: scaled to cover it, the rest cropped evenly from both sides."""

from dataclasses import dataclass

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from genlock_worker.intake.chunks import Picture


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


def fit_picture(picture: NDArray[np.uint8], *, width: int, height: int) -> Picture:
    """An RGB picture (height, width, 3) of any size, cropped and resized to `width` x `height`."""
    crop = centre_crop(picture.shape[1], picture.shape[0], target_width=width, target_height=height)
    kept = picture[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    if kept.shape[:2] == (height, width):
        return np.ascontiguousarray(kept)
    shrinks = kept.shape[0] > height
    resized = cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def fit_frame(frame: VideoFrame, *, width: int, height: int) -> Picture:
    """A decoded frame of any size and pixel format as an RGB picture of `width` x `height`."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    return fit_picture(picture, width=width, height=height)
