"""Where a latent frame lives in a row's ring: a pure function of the session's frame counter.

The first `SINKS` frames are never evicted; the others share the remaining slots, oldest out first. Slot order is not
temporal order; every stored frame carries its index.
"""

from collections.abc import Mapping
from typing import TypeVar

SLOTS = 6
"""Latent frames a row attends to, the current one included (N of the StreamDiffusionV2 configuration)."""
SINKS = 3
"""Slots that keep the first frames of the session for ever (S)."""

T = TypeVar("T")


def slot(frame: int) -> int:
    """The slot of latent frame `frame` (0, 1, 2, ...): frames 0-5 fill the ring, later ones cycle behind the sinks."""
    if frame < 0:
        raise ValueError(f"a frame counter starts at 0, not {frame}")
    return frame if frame < SLOTS else SINKS + (frame - SINKS) % (SLOTS - SINKS)


def held(frames: int) -> tuple[int, ...]:
    """The latent frames that a ring holds after frames 0..frames-1 were written, in temporal order."""
    sinks = tuple(range(min(SINKS, frames)))
    return sinks + tuple(range(max(SINKS, frames - (SLOTS - SINKS)), frames))


def written(ring: Mapping[int, T], frames: Mapping[int, T]) -> dict[int, T]:
    """A new ring (slot -> stored frame) with `frames` (frame counter -> stored frame) written into their slots."""
    return {**ring, **{slot(counter): stored for counter, stored in sorted(frames.items())}}
