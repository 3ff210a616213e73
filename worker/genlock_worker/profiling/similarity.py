"""How like two pictures are, and how much a row of pictures flickers. Pure; pictures are luma, 0 to 255."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.contract import Frames

Luma = NDArray[np.float32]
"""(height, width), or (frames, height, width)."""

_RANGE: Final = 255.0
_C1: Final = (0.01 * _RANGE) ** 2
_C2: Final = (0.03 * _RANGE) ** 2
_WINDOW: Final = 11
_SIGMA: Final = 1.5
_COARSE: Final = 16


def luma(frames: Frames) -> Luma:
    """The luma (ITU-R BT.601) of RGB pictures: (frames, height, width, 3) of uint8 -> (frames, height, width)."""
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]).astype(np.float32)


def ssim(first: Luma, second: Luma) -> float:
    """The mean structural similarity of two pictures of one size, at most 1: 1 where they are equal.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli: "Image quality assessment: from error visibility to structural
    similarity", IEEE Transactions on Image Processing 13 (4), 2004, equations 13 to 17: in a window of 11x11 with
    Gaussian weights of sigma 1.5,

        SSIM = (2 m1 m2 + C1) (2 s12 + C2) / ((m1^2 + m2^2 + C1) (s1^2 + s2^2 + C2)),

    where m are means, s^2 variances and s12 the covariance, C1 = (0.01 * 255)^2 and C2 = (0.03 * 255)^2; the mean over
    all windows that lie inside. No downsampling comes before. Raises ValueError for pictures that are smaller.
    """
    if first.shape != second.shape or min(first.shape) < _WINDOW:
        raise ValueError(f"cannot compare pictures of {first.shape} and {second.shape}; each side needs {_WINDOW}")
    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = _weighed(x), _weighed(y)
    variances = _weighed(x * x) - mean_x * mean_x + _weighed(y * y) - mean_y * mean_y
    covariance = _weighed(x * y) - mean_x * mean_y

    light = (2 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return float(np.mean(light * structure))


def flicker(pictures: Luma) -> float:
    """How much a row of pictures flickers, in shares of the whole range: 0 for a still, at most 1.

    Light that goes up and down again at one place is flicker, light that goes on in one direction is motion. So of
    three pictures a, b, c in a row, each averaged over tiles of 16x16 pixels, with u = b - a and v = c - b, a tile
    counts min(|u|, |v|) / 255 where u and v have opposite signs, and 0 elsewhere; the mean over all tiles and threes.
    This is a measure of our own: no standard has one. (frames, height, width); of fewer than three pictures it is 0.
    """
    if len(pictures) < 3:
        return 0.0
    changes = np.diff(np.stack([_coarse(picture) for picture in pictures]), axis=0)
    before, after = changes[:-1], changes[1:]
    turned = before * after < 0
    return float(np.mean(np.where(turned, np.minimum(np.abs(before), np.abs(after)), 0.0)) / _RANGE)


def _weighed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each window that lies inside."""
    edge = _WINDOW // 2
    blurred = cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA)
    return np.asarray(blurred, dtype=np.float64)[edge:-edge, edge:-edge]


def _coarse(picture: Luma) -> NDArray[np.float64]:
    """The means of its tiles; what is left over at the right and at the bottom is left out."""
    rows, columns = picture.shape[0] // _COARSE, picture.shape[1] // _COARSE
    tiles = picture[: rows * _COARSE, : columns * _COARSE].reshape(rows, _COARSE, columns, _COARSE)
    return np.asarray(tiles.mean(axis=(1, 3)), dtype=np.float64)
