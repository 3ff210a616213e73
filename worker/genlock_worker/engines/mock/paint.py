"""One generated frame: the working picture, moved as the latents say, drawn to the sinks' tones, worked in a medium.

Pure: the same picture, surface, correction, anchor and hand give the same bytes.
"""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.mock import media
from genlock_worker.engines.mock.effort import PaintEffort
from genlock_worker.engines.mock.latents import Anchor, Latent
from genlock_worker.engines.mock.media import Hand
from genlock_worker.engines.mock.surface import Surface

Pixels = NDArray[Any]
"""A picture of 8 bits, or what is added to one (16 bits, signed)."""

_PULL = 0.4
"""How far a picture's mean colour is drawn to that of the sinks."""
_MIDDLE = 0.46
"""Luminance (0-1) that the mean of the sinks is brought towards."""
_FULL_STRENGTH = 0.6
"""Noise scale from which on nothing of the source's own look is left."""


def correction(*, refined: Latent, latent: Latent, anchor: Anchor, width: int, height: int) -> Pixels:
    """What the denoising rows and the sinks change, (height, width, 3) in 1/255, for every picture of the chunk."""
    away = np.array(anchor.colour, np.float32) - refined.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    change = (refined - latent + np.float32(_PULL) * away) * np.float32(255.0)
    spread: Pixels = cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.int16)
    return spread


def exposure(anchor: Anchor) -> Pixels:
    """A table of 256 tones that lifts what the sinks saw as dark, and calms what they saw as glaring."""
    seen = min(max(float(np.dot(anchor.colour, (0.299, 0.587, 0.114))), 0.02), 0.98)
    gamma = min(max(math.log(_MIDDLE) / math.log(seen), 0.5), 1.4) ** 0.7
    table: Pixels = np.round(255.0 * (np.arange(256) / 255.0) ** gamma).astype(np.uint8)
    return table


def strength_of(noise_scale: float) -> float:
    """How much of the medium shows (0-1): without noise a model gives its input back."""
    return min(noise_scale / _FULL_STRENGTH, 1.0)


def picture(
    working: Pixels,
    *,
    change: Pixels,
    tones: Pixels,
    surfaces: Sequence[tuple[Surface, float]],
    hand: Hand,
    effort: PaintEffort = PaintEffort.FULL,
) -> Pixels:
    """Paint one frame (H, W, 3) from its working picture (H/2, W/2, 3).

    `change` is the chunk's `correction`, `tones` its `exposure`;
    `surfaces` are the looks it is painted in, with weights that sum to 1 (more than one while prompts blend).
    """
    corrected = cv2.LUT(cv2.add(working, change, dtype=cv2.CV_8U), tones)
    total: Pixels | None = None
    for surface, weight in surfaces:
        part = _painted(corrected, working, surface, hand, effort)
        if total is None:
            total = part if weight == 1.0 else cv2.convertScaleAbs(part, alpha=weight)
        else:
            total = cv2.addWeighted(total, 1.0, part, weight, 0)
    if total is None:
        raise ValueError("a picture needs at least one surface")
    return total


def _painted(corrected: Pixels, working: Pixels, surface: Surface, hand: Hand, effort: PaintEffort) -> Pixels:
    recipe = media.RECIPES[surface.look.medium] if effort is PaintEffort.FULL else media.plain
    painted = media.finished(recipe(corrected, surface, hand), surface)
    if hand.strength >= 1.0:
        return painted
    return cv2.addWeighted(painted, hand.strength, media.enlarged(working), 1.0 - hand.strength, 0)
