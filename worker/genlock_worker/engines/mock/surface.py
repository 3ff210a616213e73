"""The surface a picture is painted on: paper, canvas, grid, border and vignette, and where strokes may fall.

A surface follows from the look and the sinks' anchor alone, so a session keeps one per look; the marks on it follow the
flow of the forms and are laid anew with each chunk.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.mock.latents import WORKING_STRIDE, Anchor
from genlock_worker.engines.mock.styles import Look
from genlock_worker.engines.mock.textures import DIRECTIONS, TILE, Brushes, field
from genlock_worker.engines.mock.words import Medium

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_SHEET = (252.0, 248.0, 238.0)
"""The white of bare paper."""
UNITY = 128
"""The gain that leaves a value as it is."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A ready surface for pictures of one size; every array is of the full size (H, W) unless said."""

    look: Look
    gain: NDArray[Any]
    """(H, W, 3): factor on the painted colour, `UNITY` is 1."""
    lift: NDArray[Any]
    """(H, W, 3): added after the gain."""
    wobble: tuple[Any, Any] | None
    """Fixed-point maps at half size that shake the forms a little, as a hand does."""
    cells: tuple[Any, Any] | None
    """Fixed-point maps from each pixel to its tile's centre in the half-size picture (mosaic, glass)."""
    screen: Pixels
    """A threshold screen: halftone dots for comic, even brush marks elsewhere."""
    places: NDArray[np.int32]
    """Index of each pixel within a brush tile."""
    drift: Floats
    """(h/2, w/2, 2): the direction of strokes where the picture has none of its own."""


def make_surface(*, look: Look, anchor: Anchor, width: int, height: int) -> Surface:
    """Lay out the paper. Deterministic; about 40 ms at 832x480, so keep it."""
    paper_at, strokes_at, wobble_at = anchor.phases
    grain = np.roll(_paper(look, width, height), (paper_at[1], paper_at[0]), (0, 1))
    vignette = _vignette(anchor, width, height)
    gain, lift = _paper_maps(look, grain, vignette)
    if look.medium is Medium.NEON:
        lift = lift + _haze(anchor, vignette)

    cells = None
    if look.medium in (Medium.MOSAIC, Medium.GLASS):
        cells, joints = _tiles(look, width, height)
        gain = gain * joints[..., None]

    return Surface(
        look=look,
        gain=np.clip(gain * UNITY, 0, 255).astype(np.uint8),
        lift=np.clip(lift, 0, 255).astype(np.uint8),
        wobble=_wobble(look, wobble_at, width, height),
        cells=cells,
        screen=_halftone(look, width, height),
        places=_places(strokes_at, width, height),
        drift=_drift(look, width // WORKING_STRIDE, height // WORKING_STRIDE),
    )


def lay_strokes(surface: Surface, brush: Pixels, flow: Floats) -> Pixels:
    """Marks of a brush along the flow (h, w, 2), (H, W): each pixel from the tile of its direction."""
    height, width = surface.drift.shape[:2]
    doubled = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) + surface.drift
    angle = cv2.phase(doubled[..., 0], doubled[..., 1])
    direction = (angle * np.float32(DIRECTIONS / (2 * np.pi)) + np.float32(0.5)).astype(np.uint8) % DIRECTIONS
    full = cv2.resize(direction, surface.places.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(np.int32)
    return np.take(brush, full * (TILE * TILE) + surface.places)


def for_chunk(surface: Surface, brushes: Brushes, flow: Floats) -> Surface:
    """The surface with the marks of this chunk on it."""
    medium = surface.look.medium
    if medium is Medium.OIL:
        marks = lay_strokes(surface, brushes.bristle, flow)
        relief = cv2.filter2D(marks, cv2.CV_16S, np.array([[-1, 0, 0], [0, 0, 0], [0, 0, 1]], np.float32))
        light = np.clip(UNITY + relief * 0.2 + (marks.astype(np.int16) - 128) * 0.13, 0, 255).astype(np.uint8)
        return replace(surface, gain=cv2.multiply(surface.gain, cv2.merge([light] * 3), scale=1 / UNITY))

    if medium is Medium.PASTEL:
        marks = lay_strokes(surface, brushes.chalk, flow)
        bare = cv2.merge([_ramp(marks, start=196, end=250)] * 3)
        paper = np.full_like(bare, surface.look.lights)
        cover = cv2.bitwise_not(bare)
        return replace(
            surface,
            gain=cv2.multiply(surface.gain, cover, scale=1 / 255),
            lift=cv2.add(surface.lift, cv2.multiply(bare, paper, scale=0.8 / 255)),
        )

    if medium in (Medium.PENCIL, Medium.ENGRAVING):
        return replace(surface, screen=lay_strokes(surface, brushes.hatch, flow))
    if medium in (Medium.CHARCOAL, Medium.CYANOTYPE):
        return replace(surface, screen=lay_strokes(surface, brushes.chalk, flow))

    return surface


def _ramp(values: Pixels, *, start: int, end: int) -> Pixels:
    """0 below `start`, 255 above `end`, straight between."""
    table = np.clip((np.arange(256) - start) * 255.0 / (end - start), 0, 255).astype(np.uint8)
    return cv2.LUT(values, table).astype(np.uint8, copy=False)


def _paper(look: Look, width: int, height: int) -> Floats:
    """The grain of the paper, about -1..1."""
    fine = field(width=width, height=height, cell=2.6, salt=look.salt ^ 0x51, octaves=2)
    coarse = field(width=width, height=height, cell=70.0, salt=look.salt ^ 0x52, octaves=3)
    return 0.75 * fine + 0.5 * coarse


def _vignette(anchor: Anchor, width: int, height: int) -> Floats:
    """1 where the sinks' light lies, falling to about 0.8 in the far corners."""
    x = (np.arange(width, dtype=np.float32) / width - (0.3 + 0.4 * anchor.light[0]))[None, :]
    y = (np.arange(height, dtype=np.float32) / height - (0.3 + 0.4 * anchor.light[1]))[:, None]
    away = np.clip(x * x + y * y - 0.06, 0, None)
    return (1.0 - np.clip(away * 0.6, 0, 0.3)).astype(np.float32)


def _haze(anchor: Anchor, vignette: Floats) -> Floats:
    """The air of a dark room (H, W, 3), lit in the colour that the sinks saw, brightest where their light lies."""
    colour = np.array(anchor.colour, np.float32)
    vivid = colour - 0.7 * colour.min()
    strength = np.square(np.clip((vignette - 0.8) * 5, 0, 1))[..., None]
    haze: Floats = strength * (vivid / max(float(vivid.max()), 1e-3) * np.float32(30.0))
    return haze


def _edge(width: int, height: int, *, inset: float, rough: float, soft: float, salt: int) -> Floats:
    """How much of the sheet's ragged border is bare paper (0 inside, 1 at the edge)."""
    x = np.minimum(np.arange(width), np.arange(width)[::-1]).astype(np.float32)[None, :]
    y = np.minimum(np.arange(height), np.arange(height)[::-1]).astype(np.float32)[:, None]
    ragged = field(width=width, height=height, cell=44.0, salt=salt, octaves=4) * rough
    distance = np.minimum(x, y) + ragged - inset
    bare: Floats = np.clip(0.5 - distance / soft, 0.0, 1.0)
    return bare


def _paper_maps(look: Look, grain: Floats, vignette: Floats) -> tuple[Floats, Floats]:
    """(gain, lift) of a medium's paper, each (H, W, 3); gain as a factor, lift in 0-255."""
    height, width = grain.shape
    size = min(width, height) / 480
    medium = look.medium
    strength = _GRAIN.get(medium, 0.03)
    gain = np.repeat((vignette * (1.0 + strength * grain))[..., None], 3, axis=2)
    lift = np.zeros((height, width, 3), np.float32)
    border = _BORDERS.get(medium)

    if border is not None:
        inset, rough, soft = (part * size for part in border)
        bare = _edge(width, height, inset=inset, rough=rough, soft=max(soft, 1.0), salt=look.salt ^ 0x53)[..., None]
        sheet = np.float32(0.35) * np.array(look.lights, np.float32) + np.float32(0.65) * np.array(_SHEET, np.float32)
        paper = sheet * (1.0 + 0.35 * strength * grain[..., None])
        gain, lift = gain * (1.0 - bare), lift + bare * paper

    if medium is Medium.BLUEPRINT:
        step = max(round(26 * size), 8)
        lines = np.zeros((height, width), np.float32)
        lines[::step], lines[:, ::step] = 15.0, 15.0
        lines[:: 4 * step], lines[:, :: 4 * step] = 34.0, 34.0
        lift = lift + lines[..., None]

    if medium is Medium.NEON:
        gain[1::3] *= 0.86
    if medium is Medium.PIXEL:
        gain = gain * 1.02

    return gain, lift


_GRAIN = {
    Medium.WATERCOLOUR: 0.055,
    Medium.INK: 0.06,
    Medium.OIL: 0.05,
    Medium.PENCIL: 0.05,
    Medium.CHARCOAL: 0.1,
    Medium.PASTEL: 0.07,
    Medium.CYANOTYPE: 0.09,
    Medium.BLUEPRINT: 0.08,
    Medium.ENGRAVING: 0.05,
    Medium.FILM: 0.045,
    Medium.COMIC: 0.035,
    Medium.MOSAIC: 0.1,
    Medium.GLASS: 0.08,
}
_BORDERS: dict[Medium, tuple[float, float, float]] = {
    Medium.WATERCOLOUR: (15.0, 9.0, 9.0),
    Medium.INK: (8.0, 12.0, 26.0),
    Medium.PENCIL: (14.0, 12.0, 40.0),
    Medium.CHARCOAL: (10.0, 16.0, 30.0),
    Medium.CYANOTYPE: (18.0, 16.0, 7.0),
    Medium.ENGRAVING: (14.0, 0.8, 1.2),
}
"""Inset, raggedness and softness of the bare border, in pixels of a 480-line picture."""


def _wobble(look: Look, phase: tuple[int, int], width: int, height: int) -> tuple[Any, Any] | None:
    amount = {Medium.WATERCOLOUR: 1.9, Medium.INK: 1.5, Medium.OIL: 2.2, Medium.PASTEL: 1.5}.get(look.medium, 0.0)
    if not amount:
        return None

    w, h = width // WORKING_STRIDE, height // WORKING_STRIDE
    shift = (phase[1] % h, phase[0] % w)
    dx, dy = (
        np.roll(field(width=w, height=h, cell=9.0 * look.scale, salt=look.salt ^ key, octaves=2), shift, (0, 1))
        * amount
        for key in (0x61, 0x62)
    )
    x = np.arange(w, dtype=np.float32)[None, :] + dx
    y = np.arange(h, dtype=np.float32)[:, None] + dy

    return cv2.convertMaps(x.astype(np.float32), y.astype(np.float32), cv2.CV_16SC2)


def _places(phase: tuple[int, int], width: int, height: int) -> NDArray[np.int32]:
    y = (np.arange(height, dtype=np.int32) + phase[1]) % TILE
    x = (np.arange(width, dtype=np.int32) + phase[0]) % TILE
    return y[:, None] * TILE + x[None, :]


def _drift(look: Look, width: int, height: int) -> Floats:
    """A slow sweep of directions that rules where the picture is flat."""
    sweep = field(width=width, height=height, cell=90.0, salt=look.salt ^ 0x71, octaves=2) * 1.6
    if look.medium is Medium.PENCIL:
        sweep = sweep * 0.2 - np.float32(1.6)
    else:
        sweep = sweep + np.float32((look.salt >> 8) % 628 / 100)
    jitter = field(width=width, height=height, cell=5.0, salt=look.salt ^ 0x72, octaves=2) * 0.45
    weak = np.float32({Medium.PENCIL: 0.6, Medium.ENGRAVING: 0.3}.get(look.medium, 0.04))
    return (np.dstack([np.cos(sweep + jitter), np.sin(sweep + jitter)]) * weak).astype(np.float32)


def _halftone(look: Look, width: int, height: int) -> Pixels:
    """Dots on a grid turned by 30 degrees, as threshold values."""
    pitch = 7.0 * look.scale * max(min(width, height) / 480, 0.5)
    x, y = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    u, v = (0.866 * x + 0.5 * y) * (2 * np.pi / pitch), (0.866 * y - 0.5 * x) * (2 * np.pi / pitch)
    return (127.5 + 63.7 * (np.cos(u) + np.cos(v))).astype(np.uint8)


def _tiles(look: Look, width: int, height: int) -> tuple[tuple[Any, Any], Floats]:
    """A cell for each pixel (Voronoi cells of a shaken grid): maps to the cells' centres, and the joints' darkness.

    Cells are found at half size; the joints, a smooth field, are enlarged and hide the coarser borders.
    """
    glass = look.medium is Medium.GLASS
    w, h = width // WORKING_STRIDE, height // WORKING_STRIDE
    pitch = (21.0 if glass else 9.0) * look.scale * max(min(width, height) / 480, 0.4) / WORKING_STRIDE
    shake = 0.42 if glass else 0.2
    rows, columns = int(h / pitch) + 3, int(w / pitch) + 3
    rng = np.random.Generator(np.random.Philox(key=look.salt ^ 0x81))
    offsets = rng.uniform(-shake, shake, (rows, columns, 2)).astype(np.float32)
    tone = rng.uniform(0.86, 1.14, (rows, columns)).astype(np.float32)
    x, y = np.arange(w, dtype=np.float32)[None, :], np.arange(h, dtype=np.float32)[:, None]
    column, row = (x / np.float32(pitch)).astype(np.int32), (y / np.float32(pitch)).astype(np.int32)
    nearest = np.full((h, w), np.inf, np.float32)
    second, cx, cy, shade = nearest, x, y, np.ones_like(nearest)

    for r, c in ((row + dy, column + dx) for dy in range(3) for dx in range(3)):
        px = (c - np.float32(0.5) + offsets[r, c, 0]) * np.float32(pitch)
        py = (r - np.float32(0.5) + offsets[r, c, 1]) * np.float32(pitch)
        distance = np.sqrt(np.square(x - px) + np.square(y - py))
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        nearest = np.where(closer, distance, nearest)
        cx, cy, shade = np.where(closer, px, cx), np.where(closer, py, cy), np.where(closer, tone[r, c], shade)

    size = (width, height)
    gap = cv2.resize(second - nearest, size, interpolation=cv2.INTER_LINEAR)
    joint = np.clip(gap / (1.3 if glass else 0.95), 0.0, 1.0)
    tones = cv2.resize(shade, size, interpolation=cv2.INTER_LINEAR)
    joints = tones * ((0.04 + 0.96 * joint) if glass else (0.35 + 0.65 * joint))
    centres = [
        cv2.resize(np.clip(part, 0, limit - 1).astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
        for part, limit in ((cx, w), (cy, h))
    ]

    return cv2.convertMaps(centres[0], centres[1], cv2.CV_16SC2, nninterpolation=True), joints.astype(np.float32)
