"""Small synthetic streams for the mock engine's tests."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from genlock_core.clock import ManualClock
from genlock_worker.engines.contract import Change, Chunk, Frames, Row, StreamSettings, chunk_frames
from genlock_worker.engines.mock import MockEngine, StepTiming
from genlock_worker.engines.mock.device import Faults
from tests.worker.engines.driven import Driven

WIDTH, HEIGHT = 128, 80


def bare_engine(*, depth: int = 1, faults: Faults | None = None) -> MockEngine:
    """An engine that takes no simulated time."""
    clock = ManualClock()
    timing = StepTiming.instant()
    return MockEngine("test-model", timing, clock, clock.advance, depth=depth, faults=faults)


def engine() -> Driven:
    """The same, driven one batch at a time."""
    return Driven(bare_engine())


def settings(
    prompt: str = "a watercolour city",
    *,
    steps: int = 2,
    seed: int = 7,
    noise_scale: float = 0.7,
    text_only: bool = False,
) -> StreamSettings:
    return StreamSettings(
        prompt=prompt,
        steps=steps,
        width=WIDTH,
        height=HEIGHT,
        frame_rate=16,
        seed=seed,
        noise_scale=noise_scale,
        text_only=text_only,
    )


def picture(frame: int, *, scene: int = 0) -> NDArray[np.uint8]:
    """A disc that moves over a textured ground; `scene` picks the ground and its colours."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    ground = 0.5 + 0.5 * np.sin(x / (7 + scene)) * np.cos(y / (9 + 2 * scene))
    colours = np.array([[70, 110, 160], [200, 90, 40], [40, 150, 60]][scene % 3], np.float32)
    shown = ground[..., None] * colours + 30
    inside = np.square(x - 20 - 2 * (frame % 40)) + np.square(y - 40) < 15**2
    shown[inside] = (235, 210, 120)
    return np.asarray(shown, np.uint8)


def chunk(index: int, *, scene: int = 0) -> Chunk:
    start = 0 if index == 0 else 5 + 4 * (index - 1)
    return Chunk(index, np.stack([picture(start + n, scene=scene) for n in range(chunk_frames(index))]))


def play(
    engine: Driven,
    session: str,
    chunks: range,
    *,
    scene: int = 0,
    changes: Mapping[int, Change] | None = None,
    text_only: bool = False,
) -> list[Frames]:
    """Feed and run chunk by chunk; the output of each."""
    outputs: list[Frames] = []
    for index in chunks:
        if changes and index in changes:
            engine.apply(session, changes[index])
        steps = engine.feed(session, Chunk(index, None) if text_only else chunk(index, scene=scene))
        for step in range(steps):
            output = engine.run([Row(session, step, index)])[0].output
        assert output is not None
        outputs.append(output)
    return outputs


def difference(a: Frames, b: Frames) -> float:
    """Mean absolute difference in 1/255."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())
