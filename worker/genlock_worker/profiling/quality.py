"""How good the picture of each level looks: the same input and seed at every step count, each against the most steps.

It is a proxy: it says how like the picture is to that of the most steps, not how people like it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from genlock_core.approximation.levels import Level
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import Chunk, Engine, EngineFailure, Frames
from genlock_worker.engines.stepwise import Stepwise
from genlock_worker.profiling.plan import MAX_STEPS, Combination
from genlock_worker.profiling.similarity import Luma, flicker, luma, ssim
from genlock_worker.profiling.streams import first_pictures, later_pictures, opened

CHUNKS: Final = 12
"""That are compared, after the first one of a stream."""

_FLICKER_FLOOR: Final = 0.01
"""Flicker below this share of the range hardly counts: a level that flickers by so much more than a still has half."""


@dataclass(frozen=True, slots=True)
class LevelQuality:
    """How like the pictures of so many steps are to those of the most steps."""

    steps: int
    ssim: float
    """The mean over all pictures; 1 for the most steps themselves."""
    flicker: float
    """Of its own pictures."""
    quality: float
    """0 to 1."""


def measure_quality(
    engine: Engine,
    resolution: Resolution,
    steps: Sequence[int],
    *,
    begins: Callable[[int], None],
    chunks: int = CHUNKS,
) -> Iterator[LevelQuality]:
    """The quality of the most steps and of each of these, most first; `begins` is told the steps of each before.

    Raises what the engine raises, as where a session of so many steps does not fit.
    """
    best: Luma | None = None
    best_flicker = 0.0
    for number in sorted({MAX_STEPS, *steps}, reverse=True):
        begins(number)
        pictures = _generate(engine, resolution, number, chunks)
        flickers = flicker(pictures)
        if best is None:
            best, best_flicker = pictures, flickers

        similar = float(np.mean([ssim(one, other) for one, other in zip(best, pictures, strict=True)]))
        yield LevelQuality(number, similar, flickers, quality_of(similar, flickers, best_flicker))


def quality_of(similar: float, flickers: float, best_flicker: float) -> float:
    """SSIM times how much less the most steps flicker, 0 to 1.

    A product, as SSIM itself multiplies what it compares (Wang et al. 2004, equation 12): mean SSIM (below 0 it counts
    as 0) times min(1, (F + c) / (f + c)), where F and f are the flicker of the most steps and of the level, and c =
    0.01 keeps the quotient of two stills at 1.
    """
    steadiness = min(1.0, (best_flicker + _FLICKER_FLOOR) / (flickers + _FLICKER_FLOOR))
    return min(1.0, max(0.0, similar) * steadiness)


def contradictions(qualities: Sequence[LevelQuality]) -> list[str]:
    """Where fewer steps look better than more of them, in words: the figures stand, and count as equal."""
    ordered = sorted(qualities, key=lambda one: one.steps)
    return [
        f"quality {fewer.quality:.3f} at {Level(fewer.steps)} is more than {more.quality:.3f} at {Level(more.steps)}: "
        "doubtful, they are taken to look the same"
        for fewer, more in pairwise(ordered)
        if fewer.quality > more.quality
    ]


def _generate(engine: Engine, resolution: Resolution, steps: int, chunks: int) -> Luma:
    """The pictures of one stream, (frames, height, width)."""
    alone = Combination(resolution.width, resolution.height, steps, sessions=1)
    driven = Stepwise(engine)
    later = later_pictures(alone)
    with opened(driven, alone) as sessions:
        (name,) = sessions
        _show(driven, name, Chunk(0, first_pictures(alone)), steps)
        shown = [_show(driven, name, Chunk(index, later[index % len(later)]), steps) for index in range(1, chunks + 1)]
        return np.concatenate([luma(pictures) for pictures in shown])


def _show(driven: Stepwise, session: str, chunk: Chunk, steps: int) -> Frames:
    """The chunk's pictures. Raises EngineFailure where the engine takes fewer steps, as it may when memory is short."""
    fed = driven.taken_in(session, chunk, steps=steps)
    if fed.steps != steps:
        raise EngineFailure(session, f"the engine runs {fed.steps} steps instead of {steps}")
    return driven.pictures(session, chunk, rows=fed.rows)
