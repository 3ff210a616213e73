"""Source `testPattern`: moving shapes with the frame's number in them, the same for the same number everywhere."""

import asyncio
import functools
from collections.abc import AsyncIterator
from concurrent.futures import Executor

import cv2
import numpy as np

from genlock_core.media import SourcePosition
from genlock_worker.intake.chunks import SourceFrame
from genlock_worker.intake.picture import Picture
from genlock_worker.intake.source import OWN_RUN, Metronome, next_index

COUNTER_BITS = 24
"""The number stands along the bottom edge as black and white blocks, the highest bit first, modulo 2**24."""


def draw(index: int, *, width: int, height: int) -> Picture:
    """Frame `index` of the pattern as RGB (height, width, 3)."""
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    phase = index * 0.02
    sky = 0.55 + 0.45 * np.sin(2 * np.pi * (x + 0.3 * y + phase))
    sea = 0.5 + 0.5 * np.sin(2 * np.pi * (1.5 * y - 0.7 * x + 0.6 * phase))
    light = np.broadcast_to(0.3 + 0.5 * y, (height, width))
    picture = np.ascontiguousarray((np.stack([sky, sea, light], axis=-1) * 215 + 20).astype(np.uint8))
    _draw_ball(picture, index)
    _draw_bars(picture, index)
    cv2.putText(picture, f"{index}", (width // 24, height // 6), cv2.FONT_HERSHEY_DUPLEX, height / 320, (255,) * 3, 2)
    bit_height = counter_height(height)
    edges = np.linspace(0, width, COUNTER_BITS + 1).astype(int)
    for bit in range(COUNTER_BITS):
        value = 255 if index >> (COUNTER_BITS - 1 - bit) & 1 else 0
        picture[height - bit_height :, edges[bit] : edges[bit + 1]] = value
    return picture


def counter_height(height: int) -> int:
    """How many lines the blocks of the number take."""
    return max(4, height // 24)


def _draw_ball(picture: Picture, index: int) -> None:
    height, width = picture.shape[:2]
    centre = (
        int(width * (0.5 + 0.35 * np.sin(index * 0.045))),
        int(height * (0.5 + 0.28 * np.sin(index * 0.071 + 1.0))),
    )
    cv2.circle(picture, centre, height // 7, (250, 214, 90), -1, cv2.LINE_AA)
    cv2.circle(picture, centre, height // 7, (70, 35, 20), max(1, height // 120), cv2.LINE_AA)


def _draw_bars(picture: Picture, index: int) -> None:
    height, width = picture.shape[:2]
    for bar, colour in enumerate([(225, 60, 70), (60, 170, 110), (70, 90, 215), (240, 240, 240)]):
        left = int((width * bar / 4 + index * width / 160) % width)
        top = int(height * (0.66 + 0.05 * bar))
        cv2.rectangle(picture, (left, top), (left + width // 8, top + height // 22), colour, -1)


class TestPatternSource:
    """The pattern at the session's frame rate, from the frame after `after` on."""

    __test__ = False

    def __init__(
        self,
        *,
        width: int,
        height: int,
        frame_rate: int,
        metronome: Metronome,
        executor: Executor,
        after: SourcePosition | None = None,
    ) -> None:
        self._width = width
        self._height = height
        self._rate = frame_rate
        self._metronome = metronome
        self._executor = executor
        self._after = after

    async def frames(self) -> AsyncIterator[SourceFrame]:
        loop = asyncio.get_running_loop()
        index = next_index(self._after, self._rate)
        while True:
            drawing = functools.partial(draw, index, width=self._width, height=self._height)
            picture = await loop.run_in_executor(self._executor, drawing)
            now_s = await self._metronome.wait(index / self._rate)
            yield SourceFrame(SourcePosition(OWN_RUN, round(index * 1_000_000 / self._rate)), picture, now_s)
            index += 1
