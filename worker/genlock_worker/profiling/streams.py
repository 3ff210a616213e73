"""The sessions that are measured, and what their cameras see."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from genlock_worker.engines.contract import CHUNK_FRAMES, FIRST_CHUNK_FRAMES, Frames, StreamSettings
from genlock_worker.engines.stepwise import Stepwise
from genlock_worker.intake.pattern import draw
from genlock_worker.profiling.plan import Combination

FRAME_RATE = 16
"""Frames per second of the cameras."""
PROMPT = "a watercolour city at dusk"
PICTURES = 8
"""Chunks of input pictures, used again and again."""


@contextmanager
def opened(engine: Stepwise, combination: Combination) -> Iterator[dict[str, StreamSettings]]:
    """The sessions of a combination by their names, open inside. Raises what `Stepwise.open` raises."""
    sessions = {f"profile/{number}": _settings(combination, number) for number in range(combination.sessions)}
    try:
        for name, settings in sessions.items():
            engine.open(name, settings)
        yield sessions
    finally:
        for name in sessions:
            engine.close(name)


def first_pictures(combination: Combination) -> Frames:
    """Those of a session's first chunk."""
    return _pictures(combination, 0, FIRST_CHUNK_FRAMES)


def later_pictures(combination: Combination) -> list[Frames]:
    """Those of PICTURES later chunks: drawn beforehand, so that drawing is not measured."""
    return [
        _pictures(combination, FIRST_CHUNK_FRAMES + number * CHUNK_FRAMES, CHUNK_FRAMES) for number in range(PICTURES)
    ]


def _settings(combination: Combination, number: int) -> StreamSettings:
    return StreamSettings(
        prompt=f"{PROMPT}, camera {number}",  # each its own, as viewers' are
        steps=combination.steps,
        width=combination.width,
        height=combination.height,
        frame_rate=FRAME_RATE,
        seed=7 + number,
        noise_scale=0.7,
    )


def _pictures(combination: Combination, first: int, count: int) -> Frames:
    return np.stack(
        [draw(first + number, width=combination.width, height=combination.height) for number in range(count)]
    )
