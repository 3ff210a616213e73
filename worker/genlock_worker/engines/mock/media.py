"""How each medium is worked: functions from a half-size picture to a full-size one.

The costly part (flattening forms, finding lines) runs at half size in 8 bits; lines and screens are sharpened again at
full size by thresholds on smooth fields, so nothing looks enlarged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from genlock_worker.engines.mock.styles import Look
from genlock_worker.engines.mock.surface import UNITY, Surface
from genlock_worker.engines.mock.words import Medium

Image = NDArray[Any]
"""A picture or plane of 8 bits, as OpenCV types it."""


@dataclass(frozen=True, slots=True)
class Hand:
    """How the picture is worked."""

    steps: int
    """Denoising steps done (1-4): the more, the smaller the brush and the more lines."""
    strength: float
    """How much of the medium shows, 0-1."""

    @property
    def brush(self) -> int:
        """Diameter of the brush in half-size pixels (odd)."""
        return (9, 5, 5, 3)[self.steps - 1]

    @property
    def line_gain(self) -> float:
        """How faint a contour still becomes a line."""
        return (9.0, 14.0, 18.0, 22.0)[self.steps - 1]


def _table(values: Any) -> Image:
    table: Image = np.clip(np.asarray(values), 0, 255).astype(np.uint8)
    return table


_RISE = np.arange(256, dtype=np.float32)


def rise(start: float, end: float) -> Any:
    """256 values: 0 below start, 1 above end, smooth between."""
    part = np.clip((_RISE - start) / (end - start), 0, 1)
    return part * part * (3 - 2 * part)


def smooth_step(start: float, end: float) -> Image:
    """`rise` as a table of 8 bits."""
    return _table(255 * rise(start, end))


def posterised(levels: int, softness: float) -> Image:
    """Table: `levels` plateaus with soft shoulders."""
    x = _RISE / 255 * levels
    base, part = np.floor(x), x - np.floor(x)
    part = np.clip((part - 0.5) / softness + 0.5, 0, 1)
    return _table((base + part) / levels * 255)


def gradient(look: Look) -> Image:
    """Table (256, 1, 3) from luminance to the look's palette."""
    stops = np.array([look.shadows, look.middle, look.lights], np.float32)
    columns = [np.interp(_RISE, [0, 128, 255], stops[:, i]) for i in range(3)]
    return _table(np.stack(columns, axis=1)[:, None, :])


def flatten(picture: Image, brush: int) -> Image:
    """Kuwahara: each pixel takes the mean of the calmest of the four brush marks that touch it; edges stay sharp."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (brush, brush))
    calm = cv2.blur(grey * grey, (brush, brush)) - mean * mean
    reach = brush // 2
    height, width = grey.shape
    calm = cv2.copyMakeBorder(calm, reach, reach, reach, reach, cv2.BORDER_REFLECT)
    marks = cv2.copyMakeBorder(cv2.blur(picture, (brush, brush)), reach, reach, reach, reach, cv2.BORDER_REFLECT)
    best: Image = calm[:height, :width].copy()
    out: Image = marks[:height, :width].copy()

    for y, x in ((0, 2 * reach), (2 * reach, 0), (2 * reach, 2 * reach)):
        other = calm[y : y + height, x : x + width]
        cv2.copyTo(marks[y : y + height, x : x + width], cv2.compare(other, best, cv2.CMP_LT), out)
        best = cv2.min(best, other)

    return out


def graded(picture: Image, look: Look, hand: Hand) -> Image:
    """The look's colours: own colours saturated, then drawn to the palette by its tint."""
    k = 1 + (look.saturation - 1) * hand.strength
    grey_part = np.array([0.299, 0.587, 0.114], np.float32) * (1 - k)
    vivid = cv2.transform(picture, np.eye(3, dtype=np.float32) * k + grey_part)
    tint = look.tint * hand.strength
    if tint < 0.01:
        return vivid
    palette = cv2.applyColorMap(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), gradient(look))
    return cv2.addWeighted(vivid, 1 - tint, palette, tint, 0)


def contours(picture: Image, *, sigma: float, gain: float) -> Image:
    """A field (half size) that is 0 where there is no contour and grows on the dark side of each one."""
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    inner = cv2.GaussianBlur(grey, (0, 0), sigma)
    outer = cv2.GaussianBlur(grey, (0, 0), sigma * 2.2)
    return cv2.convertScaleAbs(cv2.subtract(outer, inner), alpha=gain)


def enlarged(picture: Image) -> Image:
    """To the full size, smooth."""
    return cv2.pyrUp(picture)


def lines(field: Image, *, start: float, end: float, depth: int = 255) -> Image:
    """A contour field drawn crisp at full size: 255 is bare, 255 - depth a full line."""
    table = _table(255 - depth * rise(start, end))
    return cv2.LUT(enlarged(field), table)


def over(picture: Image, plane: Image) -> Image:
    """A picture seen through a grey plane."""
    return cv2.multiply(picture, cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), scale=1 / 255)


def shaken(picture: Image, surface: Surface) -> Image:
    """Forms as a hand draws them."""
    if surface.wobble is None:
        return picture
    return cv2.remap(picture, *surface.wobble, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def coverage(tone: Image, screen: Image, *, hardness: float) -> Image:
    """Bare paper (255) where the screen's mark is lighter than the tone, ink (0) where darker."""
    return cv2.addWeighted(tone, hardness, screen, -hardness, 128)


def _watercolour(picture: Image, surface: Surface, hand: Hand) -> Image:
    flat = flatten(shaken(picture, surface), hand.brush)
    grey = cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)
    pooled = cv2.convertScaleAbs(cv2.absdiff(grey, cv2.blur(grey, (7, 7))), alpha=1.5)
    light = cv2.LUT(graded(flat, surface.look, hand), _table(255 * (0.13 + 0.87 * (_RISE / 255) ** 0.72)))
    washed = enlarged(over(light, cv2.bitwise_not(pooled)))
    return over(washed, lines(contours(grey, sigma=0.8, gain=hand.line_gain), start=60, end=190, depth=110))


def _ink(picture: Image, surface: Surface, hand: Hand) -> Image:
    flat = flatten(shaken(picture, surface), hand.brush)
    grey = cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)
    wash = cv2.LUT(cv2.medianBlur(grey, 5), posterised(4, 0.35))
    wash = cv2.LUT(cv2.GaussianBlur(wash, (0, 0), 1.2), _table(105 + 150 * rise(20, 190)))
    drawn = lines(contours(grey, sigma=1.5, gain=hand.line_gain * 0.8), start=56, end=120)
    return cv2.applyColorMap(cv2.multiply(enlarged(wash), drawn, scale=1 / 255), gradient(surface.look))


def _neon(picture: Image, surface: Surface, hand: Hand) -> Image:
    look = surface.look
    calm = cv2.GaussianBlur(picture, (0, 0), 1.1)
    grey = cv2.cvtColor(calm, cv2.COLOR_RGB2GRAY)
    edge = cv2.addWeighted(
        cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_16S, 1, 0)), 0.5,
        cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_16S, 0, 1)), 0.5, -4,
    )  # fmt: skip
    edge = cv2.convertScaleAbs(edge, alpha=hand.line_gain * 0.21)
    stops = np.array([look.middle, look.middle, look.lights, look.lights], np.float32)
    hues = np.stack([np.interp(_RISE, [0, 70, 150, 255], stops[:, i]) for i in range(3)], axis=1)
    tubes = cv2.applyColorMap(cv2.blur(grey, (31, 31)), _table(hues)[:, None, :])
    lit = over(tubes, edge)
    glow = cv2.GaussianBlur(cv2.resize(lit, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), (0, 0), 3.0)
    room = cv2.applyColorMap(cv2.convertScaleAbs(grey, alpha=0.42), gradient(look))
    room = cv2.addWeighted(room, 0.34, graded(calm, look, hand), 0.22, 0)
    room = cv2.add(room, cv2.convertScaleAbs(cv2.resize(glow, room.shape[1::-1]), alpha=1.5))
    core = cv2.LUT(enlarged(lit), smooth_step(46, 190))

    return cv2.add(enlarged(room), core)


def _oil(picture: Image, surface: Surface, hand: Hand) -> Image:
    flat = flatten(shaken(picture, surface), hand.brush)
    return enlarged(cv2.LUT(graded(flat, surface.look, hand), _CONTRAST))


_CONTRAST = _table(255 * (0.86 * (_RISE / 255) + 0.14 * rise(30, 225)) ** 0.92)


def _pencil(picture: Image, surface: Surface, hand: Hand) -> Image:
    grey = cv2.cvtColor(flatten(picture, max(hand.brush - 4, 3)), cv2.COLOR_RGB2GRAY)
    sketch = cv2.divide(grey, cv2.convertScaleAbs(cv2.blur(grey, (13, 13)), beta=6), scale=252)
    sketch = cv2.LUT(enlarged(sketch), smooth_step(120 - hand.steps * 6, 226))
    tone = cv2.LUT(enlarged(grey), _table(70 + 250 * (_RISE / 255) ** 0.8))
    hatched = np.maximum(coverage(tone, surface.screen, hardness=1.5), np.uint8(96))
    return cv2.applyColorMap(cv2.multiply(sketch, hatched, scale=1 / 255), gradient(surface.look))


def _charcoal(picture: Image, surface: Surface, hand: Hand) -> Image:
    grey = cv2.cvtColor(flatten(picture, hand.brush), cv2.COLOR_RGB2GRAY)
    tone = cv2.LUT(enlarged(grey), _table(20 + 250 * rise(10, 235)))
    rubbed = cv2.addWeighted(coverage(tone, surface.screen, hardness=1.1), 0.62, tone, 0.42, 0)
    drawn = lines(contours(grey, sigma=1.7, gain=hand.line_gain * 0.7), start=40, end=170, depth=225)
    return cv2.applyColorMap(cv2.multiply(rubbed, drawn, scale=1 / 255), gradient(surface.look))


def _pastel(picture: Image, surface: Surface, hand: Hand) -> Image:
    flat = flatten(shaken(picture, surface), hand.brush)
    soft = cv2.LUT(graded(flat, surface.look, hand), _table(255 * (0.16 + 0.84 * (_RISE / 255) ** 0.72)))
    return enlarged(soft)


def _comic(picture: Image, surface: Surface, hand: Hand) -> Image:
    flat = cv2.medianBlur(flatten(picture, hand.brush), 3)
    grey = cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)
    inks = cv2.LUT(graded(flat, surface.look, hand), posterised(4, 0.25))
    inks = cv2.LUT(inks, _table(30 + 225 * (_RISE / 255) ** 0.7))
    tone = cv2.LUT(enlarged(grey), _table(70 + 235 * rise(0, 120)))
    dots = np.maximum(coverage(tone, surface.screen, hardness=4.0), np.uint8(150))
    drawn = lines(contours(grey, sigma=1.2, gain=hand.line_gain), start=70, end=120)
    return over(enlarged(inks), cv2.multiply(dots, drawn, scale=1 / 255))


def _cyanotype(picture: Image, surface: Surface, hand: Hand) -> Image:
    grey = cv2.cvtColor(flatten(picture, max(hand.brush - 4, 3)), cv2.COLOR_RGB2GRAY)
    tone = enlarged(cv2.LUT(grey, smooth_step(0, 242)))
    brushed = cv2.addWeighted(tone, 1.0, surface.screen, 0.07, -9)
    return cv2.applyColorMap(brushed, gradient(surface.look))


def _blueprint(picture: Image, surface: Surface, hand: Hand) -> Image:
    grey = cv2.cvtColor(flatten(picture, max(hand.brush - 2, 3)), cv2.COLOR_RGB2GRAY)
    chalk = cv2.bitwise_not(lines(contours(grey, sigma=0.9, gain=hand.line_gain * 1.2), start=50, end=130, depth=230))
    faint = cv2.convertScaleAbs(enlarged(cv2.LUT(grey, posterised(5, 0.3))), alpha=0.36)
    return cv2.applyColorMap(cv2.max(faint, chalk), gradient(surface.look))


def _pixel(picture: Image, surface: Surface, hand: Hand) -> Image:
    height, width = surface.screen.shape
    block = max(round((9, 6, 5, 4)[hand.steps - 1] * surface.look.scale * max(min(width, height) / 480, 0.5)), 2)
    small = cv2.resize(picture, (width // block, height // block), interpolation=cv2.INTER_AREA)
    own = graded(small, surface.look, hand).astype(np.int16)
    dither = np.tile(_BAYER, (own.shape[0] // 4 + 1, own.shape[1] // 4 + 1))[: own.shape[0], : own.shape[1], None]
    step = 36
    flat = _table((own + dither + step // 2 - 8) // step * step)
    return cv2.resize(flat, (width, height), interpolation=cv2.INTER_NEAREST)


_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.int16)


def _tiled(picture: Image, surface: Surface, hand: Hand) -> Image:
    calm = cv2.blur(picture, (hand.brush, hand.brush))
    bright = cv2.LUT(graded(calm, surface.look, hand), _TILE_CONTRAST)
    if surface.cells is None:
        raise ValueError("tiles need a surface with cells")
    return cv2.remap(bright, *surface.cells, cv2.INTER_NEAREST)


_TILE_CONTRAST = _table(18 + 237 * (0.5 * (_RISE / 255) + 0.5 * rise(20, 220)) ** 0.85)


def _engraving(picture: Image, surface: Surface, hand: Hand) -> Image:
    grey = cv2.cvtColor(flatten(picture, max(hand.brush - 4, 3)), cv2.COLOR_RGB2GRAY)
    tone = cv2.LUT(enlarged(grey), _table(14 + 262 * (_RISE / 255) ** 0.75))
    cut = coverage(tone, surface.screen, hardness=3.2)
    drawn = lines(contours(grey, sigma=1.1, gain=hand.line_gain), start=60, end=130)
    return cv2.applyColorMap(cv2.multiply(cut, drawn, scale=1 / 255), gradient(surface.look))


def _film(picture: Image, surface: Surface, hand: Hand) -> Image:
    crisp = 0.25 * hand.steps
    sharp = cv2.addWeighted(picture, 1 + crisp, cv2.blur(picture, (3, 3)), -crisp, 0)
    own = cv2.LUT(graded(sharp, surface.look, hand), _CONTRAST)
    bloom = cv2.resize(cv2.LUT(own, smooth_step(150, 255)), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    bloom = cv2.resize(cv2.GaussianBlur(bloom, (0, 0), 4.0), own.shape[1::-1])
    return enlarged(cv2.addWeighted(own, 1.0, bloom, 0.35, 0))


Recipe = Callable[[Image, Surface, Hand], Image]
RECIPES: Mapping[Medium, Recipe] = {
    Medium.WATERCOLOUR: _watercolour,
    Medium.INK: _ink,
    Medium.NEON: _neon,
    Medium.OIL: _oil,
    Medium.PENCIL: _pencil,
    Medium.CHARCOAL: _charcoal,
    Medium.PASTEL: _pastel,
    Medium.COMIC: _comic,
    Medium.CYANOTYPE: _cyanotype,
    Medium.BLUEPRINT: _blueprint,
    Medium.PIXEL: _pixel,
    Medium.MOSAIC: _tiled,
    Medium.GLASS: _tiled,
    Medium.ENGRAVING: _engraving,
    Medium.FILM: _film,
}


def plain(picture: Image, surface: Surface, hand: Hand) -> Image:
    """The picture in the medium's colours alone: what a machine without time for brush and lines can paint."""
    return enlarged(graded(picture, surface.look, hand))


def finished(painted: Image, surface: Surface) -> Image:
    """The painted picture on its paper."""
    return cv2.add(cv2.multiply(painted, surface.gain, scale=1 / UNITY), surface.lift)
