"""From a prompt to a look: which medium, which colours. Pure; the same words give the same look on every machine."""

import colorsys
import hashlib
import re
from dataclasses import dataclass

from genlock_worker.engines.mock.words import (
    COLOUR_WORDS,
    MEDIUM_WORDS,
    SCENE_WORDS,
    UNKNOWN_MEDIA,
    Colour,
    Medium,
    Scene,
)


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that a prompt decides about a picture."""

    medium: Medium
    shadows: Colour
    middle: Colour
    lights: Colour
    tint: float
    """How far the palette replaces the picture's own colours, 0-1."""
    saturation: float
    """Factor on the picture's own colours."""
    scale: float
    """Size of strokes, cells and dots; 1 is the medium's usual size."""
    salt: int
    """32 bits from the prompt: which of many equal papers and noises it gets."""
    scene: Scene
    """What to show when there is no input picture."""


_MEDIUM_PALETTE: dict[Medium, tuple[Colour, Colour, Colour, float, float]] = {
    Medium.WATERCOLOUR: ((52, 58, 98), (150, 150, 160), (255, 250, 240), 0.16, 1.5),
    Medium.INK: ((18, 20, 30), (122, 122, 128), (246, 241, 228), 1.0, 0.0),
    Medium.NEON: ((10, 4, 38), (255, 40, 170), (60, 240, 255), 0.8, 1.3),
    Medium.OIL: ((30, 20, 22), (150, 120, 86), (255, 240, 206), 0.16, 1.45),
    Medium.PENCIL: ((46, 46, 54), (150, 150, 156), (250, 248, 242), 1.0, 0.0),
    Medium.CHARCOAL: ((20, 18, 18), (112, 106, 100), (232, 224, 210), 1.0, 0.0),
    Medium.PASTEL: ((88, 70, 122), (222, 160, 166), (255, 246, 226), 0.24, 1.35),
    Medium.COMIC: ((24, 14, 52), (240, 96, 84), (255, 244, 200), 0.12, 1.9),
    Medium.CYANOTYPE: ((8, 30, 74), (56, 112, 168), (240, 246, 244), 1.0, 0.0),
    Medium.BLUEPRINT: ((14, 54, 122), (40, 96, 172), (232, 244, 255), 1.0, 0.0),
    Medium.PIXEL: ((24, 18, 52), (118, 132, 120), (252, 240, 204), 0.14, 1.55),
    Medium.MOSAIC: ((34, 30, 46), (158, 122, 82), (255, 240, 210), 0.14, 1.6),
    Medium.GLASS: ((16, 12, 44), (190, 60, 60), (255, 232, 150), 0.14, 2.1),
    Medium.ENGRAVING: ((28, 24, 22), (120, 112, 100), (244, 234, 210), 1.0, 0.0),
    Medium.FILM: ((14, 30, 40), (150, 118, 92), (255, 236, 206), 0.34, 1.1),
}
"""Shadows, middle, lights, tint and saturation of each medium before the prompt's colours."""

_COLOUR_TINT = 0.54
"""How far colour words replace the picture's own colours in a medium that has colours."""


def look_for(prompt: str) -> Look:
    """The look of a prompt: by its words where they are known, by its hash where not."""
    words = re.findall(r"[a-z0-9]+", prompt.lower())
    seed = hashlib.sha256(" ".join(words or [prompt]).encode()).digest()
    medium = _medium(words)
    named = [COLOUR_WORDS[word] for word in words if word in COLOUR_WORDS]
    known = medium is not None
    if medium is None:
        medium = UNKNOWN_MEDIA[seed[0] % len(UNKNOWN_MEDIA)]
    if not named and not known:
        named = [_hashed_palette(seed)]

    shadows, middle, lights, tint, saturation = _MEDIUM_PALETTE[medium]
    if named:
        shadows, middle, lights = (_mean([palette[part] for palette in named]) for part in range(3))
        tint = max(tint, _COLOUR_TINT)

    return Look(
        medium=medium,
        shadows=shadows,
        middle=middle,
        lights=lights,
        tint=tint,
        saturation=saturation * (0.92 + seed[1] / 255 * 0.16),
        scale=0.88 + seed[2] / 255 * 0.24,
        salt=int.from_bytes(seed[4:8], "big"),
        scene=_scene(words, seed[3]),
    )


def _medium(words: list[str]) -> Medium | None:
    """The medium named first; `stained glass` before `glass of water` would not help anybody, so any word counts."""
    by_word = {word: medium for medium, names in MEDIUM_WORDS.items() for word in names}
    return next((by_word[word] for word in words if word in by_word), None)


def _scene(words: list[str], hashed: int) -> Scene:
    by_word = {word: scene for scene, names in SCENE_WORDS.items() for word in names}
    scenes = tuple(Scene)
    return next((by_word[word] for word in words if word in by_word), scenes[hashed % len(scenes)])


def _mean(colours: list[Colour]) -> Colour:
    red, green, blue = (round(sum(colour[i] for colour in colours) / len(colours)) for i in range(3))
    return red, green, blue


def _hashed_palette(seed: bytes) -> tuple[Colour, Colour, Colour]:
    """Three colours that go together: a dark one, its neighbour or complement, and a light one between them."""
    hue = seed[8] / 255
    turn = (0.08, 0.33, 0.5, 0.92)[seed[9] % 4]
    return (
        _rgb(hue, 0.75, 0.22),
        _rgb(hue + turn, 0.45 + seed[10] / 255 * 0.3, 0.72),
        _rgb(hue + turn / 2, 0.16, 0.99),
    )


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1.0, saturation, value))
    return red, green, blue
