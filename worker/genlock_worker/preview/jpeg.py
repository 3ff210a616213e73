"""A generated picture as a small JPEG file. It stands apart because it is all that runs on the preview's thread."""

from typing import Final

import cv2

from genlock_core.subscriptions.preview import MAX_PREVIEW_BYTES, PREVIEW_LONG_SIDE
from genlock_worker.intake.picture import Picture

QUALITIES: Final = (80, 55, 30)
"""Tried in this order, until a picture is short enough."""


class PreviewFailure(Exception):
    """There is no JPEG file of a picture."""


def encode(picture: Picture, *, max_bytes: int = MAX_PREVIEW_BYTES) -> bytes:
    """An RGB picture (height, width, 3) as JPEG, at most PREVIEW_LONG_SIDE pixels long. Raises PreviewFailure.

    A picture that is smaller stays as it is: enlarged it would show nothing more.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, PREVIEW_LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    # OpenCV writes BGR. An area is the mean of its pixels: a small picture of fine strokes does not flicker.
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    for quality in QUALITIES:
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and data.nbytes <= max_bytes:
            return data.tobytes()
    raise PreviewFailure(f"a picture of {width}x{height} has no JPEG of {max_bytes} bytes or fewer")
