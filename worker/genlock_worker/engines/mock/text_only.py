"""What a session without a source paints from: a slowly moving scene that the prompt chose.

A scene is drawn as tones (one plane of 8 bits) and coloured at the end, so a frame costs a few cheap passes. Pure: the
same look, frame number and backdrop give the same picture.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.mock.styles import Look
from genlock_worker.engines.mock.textures import field
from genlock_worker.engines.mock.words import Colour, Scene

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Backdrop:
    """Noise that a session's scenes are made of; from the seed alone."""

    clouds: Plane
    """(h, w)"""
    warp: Plane
    """(h, w)"""
    ridges: Plane
    """(5, 4096): one-dimensional noise in about -1..1, a row per layer."""
    sparks: Plane
    """(h, w) in 0-1, rare bright points."""


def make_backdrop(*, seed: int, width: int, height: int) -> Backdrop:
    """Noise for pictures of width x height pixels."""
    key = (seed & 0xFFFF_FFFF) * 8
    rng = np.random.Generator(np.random.Philox(key=key))
    sparks = np.clip((rng.random((height, width), dtype=np.float32) - 0.9975) * 400, 0, 1)
    ridges = np.concatenate(
        [field(width=4096, height=1, cell=300.0, salt=key + 3 + layer, octaves=5) for layer in range(5)]
    )

    return Backdrop(
        clouds=field(width=width, height=height, cell=height / 3, salt=key + 1, octaves=5),
        warp=field(width=width, height=height, cell=height / 2, salt=key + 2, octaves=2),
        ridges=ridges,
        sparks=sparks.astype(np.float32),
    )


def scene_picture(look: Look, backdrop: Backdrop, *, seconds: float) -> Pixels:
    """The scene at a time since the stream began, RGB (h, w, 3)."""
    tones = {
        Scene.CITY: _city,
        Scene.HILLS: _hills,
        Scene.SEA: _sea,
        Scene.FOREST: _forest,
        Scene.COSMOS: _cosmos,
    }[look.scene](backdrop, seconds)
    grey = np.clip(tones * 255, 0, 255).astype(np.uint8)

    return cv2.applyColorMap(grey, _palette(look)).astype(np.uint8, copy=False)


_PALETTES: dict[Scene, tuple[Colour, ...]] = {
    Scene.CITY: ((16, 18, 48), (62, 52, 106), (172, 88, 124), (246, 150, 104), (255, 238, 176)),
    Scene.HILLS: ((18, 44, 46), (46, 96, 84), (110, 152, 130), (228, 188, 152), (255, 244, 214)),
    Scene.SEA: ((8, 34, 66), (22, 92, 130), (82, 166, 182), (240, 194, 160), (255, 246, 224)),
    Scene.FOREST: ((10, 30, 24), (34, 78, 48), (104, 140, 72), (206, 200, 128), (255, 248, 210)),
    Scene.COSMOS: ((8, 6, 32), (52, 26, 102), (164, 52, 140), (86, 170, 214), (246, 242, 255)),
}
_NAMED_TINT = 0.5
"""Looks with at least this tint have colours of their own, which rule over the scene's."""


def _palette(look: Look) -> Pixels:
    own = np.array(_PALETTES[look.scene], np.float32)
    shadows, middle, lights = (np.array(c, np.float32) for c in (look.shadows, look.middle, look.lights))
    named = np.stack([shadows, (shadows + middle) / 2, middle, (middle + lights) / 2, lights])
    share = np.float32(0.7 if _NAMED_TINT <= look.tint < 1.0 else 0.0)
    stops = own + share * (named - own)
    at = np.arange(256)
    table = np.stack([np.interp(at, [0, 64, 128, 192, 255], stops[:, i]) for i in range(3)], axis=1)
    return table.astype(np.uint8)[:, None, :]


def _grid(backdrop: Backdrop) -> tuple[Plane, Plane]:
    """(x (1, w) as a share of the height, y (h, 1) in 0-1 downwards)."""
    height, width = backdrop.clouds.shape
    x = np.arange(width, dtype=np.float32)[None, :] / np.float32(height)
    return x, np.arange(height, dtype=np.float32)[:, None] / np.float32(height)


def _moved(plane: Plane, dx: float, dy: float, *, warp: Plane | None = None, amount: float = 0.0) -> Any:
    """A plane shifted by a fraction of pixels, mirrored at its borders, bent by another plane if given."""
    height, width = plane.shape
    if warp is None:
        shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        return cv2.warpAffine(plane, shift, (width, height), borderMode=cv2.BORDER_REFLECT)
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(dx) + warp * np.float32(amount)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(dy) + warp * np.float32(amount * 0.6)
    return cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _sky(backdrop: Backdrop, seconds: float, *, horizon: float) -> Any:
    """Lighter towards the horizon, a low sun, clouds that drift and change."""
    x, y = _grid(backdrop)
    height, width = backdrop.clouds.shape
    sun_x, sun_y = (
        0.62 * width / height + 0.05 * math.sin(seconds * 0.11),
        horizon - 0.2 + 0.03 * math.sin(seconds * 0.07),
    )
    away = np.sqrt(np.square(x - np.float32(sun_x)) + np.square(y - np.float32(sun_y)))
    sun = np.clip((0.085 - away) * 60, 0, 1) * 0.45 + np.exp(away * np.float32(-4.0)) * 0.32
    bend = height * (0.10 + 0.05 * math.sin(seconds * 0.23))
    clouds = _moved(backdrop.clouds, 90 * math.sin(seconds * 0.05), 0, warp=backdrop.warp, amount=bend)

    return 0.4 + 0.34 * y + sun + 0.15 * np.clip(clouds + 0.15, -0.4, 1)


def _ridge(backdrop: Backdrop, layer: int, x: Plane, offset: float, stretch: float) -> Any:
    """One-dimensional noise of a layer at x + offset, (1, w)."""
    place = (x[0] * stretch + offset) * 220.0
    return np.interp(place, np.arange(4096), backdrop.ridges[layer], period=4096).astype(np.float32)[None, :]


def _hills(backdrop: Backdrop, seconds: float) -> Any:
    x, y = _grid(backdrop)
    tones = _sky(backdrop, seconds, horizon=0.55)
    for layer in range(5):
        top = (
            0.46
            + 0.1 * layer
            - (0.16 - 0.018 * layer) * _ridge(backdrop, layer, x, seconds * (0.01 + 0.02 * layer), 1.6)
        )
        body = 0.44 - 0.1 * layer + 0.22 * (y - top)
        tones = np.where(y > top, body, tones)

    return tones


def _city(backdrop: Backdrop, seconds: float) -> Any:
    x, y = _grid(backdrop)
    tones = _sky(backdrop, seconds, horizon=0.62)
    for layer in range(4):
        walk = x + np.float32(seconds * (0.012 + 0.016 * layer))
        size = np.float32(0.06 + 0.028 * layer)
        block = np.floor(walk / size)
        chance = np.modf(np.sin(block * 12.9898 + layer * 78.2) * 4375.85)[0] * 0.5 + 0.5
        top = (0.66 + 0.08 * layer) - (0.3 + 0.03 * layer) * chance
        body = np.float32(0.44 - 0.11 * layer) + 0.05 * (y - top)
        inside = walk / size - block
        floors, panes = 62 - 9 * layer, inside * (4 + layer)
        storey = np.arange(floors, dtype=np.float32)[:, None]
        lamp = np.modf(np.sin(block * 3.1 + np.floor(panes) * 7.7 + storey * 13.3 + layer) * 951.1)[0]
        on = (lamp > 0.45 + 0.12 * np.sin(lamp * 40 + seconds * 0.4)) & (np.modf(panes)[0] > 0.35) & (inside > 0.08)
        pane = on[(y[:, 0] * floors).astype(np.int32)] & (np.modf(y * floors)[0] > 0.4)
        tones = np.where(y > top, np.where(pane, 0.62 + 0.08 * layer, body), tones)

    return tones


def _sea(backdrop: Backdrop, seconds: float) -> Any:
    x, y = _grid(backdrop)
    tones = _sky(backdrop, seconds, horizon=0.48)
    depth = np.clip((y - 0.48) / 0.52, 0.0, 1.0) + np.float32(0.02)
    phase = 2.2 / depth
    swell = np.sin(phase * 3.1 + seconds * 1.7 + 3.0 * _ridge(backdrop, 0, x, seconds * 0.02, 2.0) + x * 2.0)
    chop = np.sin(phase * 7.3 - seconds * 2.3 + 5.0 * _ridge(backdrop, 1, x, -seconds * 0.03, 4.0))
    glitter = np.exp(-np.square((x - x[0, -1] * 0.62) / (0.1 + 0.35 * depth))) * np.clip(swell * chop, 0, 1)
    water = 0.5 - 0.36 * depth + 0.07 * swell * depth + 0.05 * chop * (depth + 0.2) + 0.6 * glitter
    island = 0.485 - 0.09 * np.clip(_ridge(backdrop, 2, x, 1.3, 1.1) * 1.4 - 0.2, 0, 1)
    tones = np.where(y > island, 0.3, tones)

    return np.where(y > 0.48, water, tones)


def _forest(backdrop: Backdrop, seconds: float) -> Any:
    x, y = _grid(backdrop)
    tones = _sky(backdrop, seconds, horizon=0.5)
    for layer in range(5):
        walk = x + np.float32(seconds * (0.008 + 0.014 * layer))
        size = np.float32(0.05 + 0.035 * layer)
        tree = np.floor(walk / size)
        tall = np.modf(np.sin(tree * 91.7 + layer * 17.1) * 1375.8)[0] * 0.5 + 0.5
        sway = 0.03 * math.sin(seconds * 0.8 + layer) * size
        inside = np.abs((walk + sway) / size - tree - 0.5) * 2
        ground = 0.52 + 0.11 * layer - 0.05 * _ridge(backdrop, layer, x, seconds * (0.01 + 0.01 * layer), 1.0)
        branch = 0.05 * np.abs(np.modf(y * (34 - 4 * layer))[0] - 0.2)
        top = ground - (0.16 + 0.1 * layer) * (0.55 + 0.6 * tall) * (1 - inside) + branch
        body = np.float32(0.56 - 0.115 * layer) + 0.12 * (y - ground) + 0.06 * (1 - inside)
        tones = np.where(y > np.minimum(top, ground), body, tones)

    return tones


def _cosmos(backdrop: Backdrop, seconds: float) -> Any:
    height = backdrop.clouds.shape[0]
    turn = math.sin(seconds * 0.13)
    first = _moved(
        backdrop.clouds,
        130 * math.sin(seconds * 0.021),
        14 * turn,
        warp=backdrop.warp,
        amount=height * (0.3 + 0.1 * turn),
    )
    second = _moved(backdrop.warp, 90 * math.cos(seconds * 0.017), 9 * turn, warp=first, amount=height * 0.22)
    twinkle = backdrop.sparks * (0.7 + 0.3 * np.sin(seconds * 2.0 + backdrop.clouds * 40))

    return 0.3 + 0.24 * first + 0.26 * second * (1 + first) + 0.8 * twinkle
