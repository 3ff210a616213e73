"""Where a latent frame lives in a row's ring: a pure function of the session's frame counter.

The first frames (the sinks) are never evicted; the others share the remaining slots, oldest out first. Slot order is
not temporal order: what is stored in a slot carries its frame's index. (StreamDiffusionV2, section 3.2: sink tokens and
rolling KV cache; its published defaults are 6 slots, 3 of them sinks.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from genlock_core.process import values
from genlock_core.process.options import Clash, option

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RingLayout:
    """`slots` latent frames, of which the first `sinks` stay. Raises ValueError unless 0 <= sinks < slots."""

    slots: int = option(
        values.whole(1), "6", "latent frames that a row attends to, the current one included (N)", name="ring-frames"
    )
    sinks: int = option(
        values.whole(0), "3", "how many of these stay from the session's beginning (S)", name="sink-frames"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.sinks < self.slots:
            reason = f"a ring of {self.slots} slots cannot have {self.sinks} sinks"
            raise Clash(["ring-frames", "sink-frames"], reason)

    @property
    def window(self) -> int:
        """Slots that roll."""
        return self.slots - self.sinks

    def slot(self, frame: int) -> int:
        """The slot of latent frame `frame` (0, 1, ...): the first fill the ring, later ones cycle behind the sinks."""
        if frame < 0:
            raise ValueError(f"a frame counter starts at 0, not {frame}")
        return frame if frame < self.slots else self.sinks + (frame - self.sinks) % self.window

    def held(self, frames: int) -> tuple[int, ...]:
        """The latent frames that a ring holds after frames 0..frames-1 were written, in temporal order."""
        sinks = tuple(range(min(self.sinks, frames)))
        return sinks + tuple(range(max(self.sinks, frames - self.window), frames))

    def by_slot(self, frames: int) -> tuple[int, ...]:
        """The same in the order of the slots: entry j is the frame in slot j, as many as slots are filled."""
        held = {self.slot(frame): frame for frame in self.held(frames)}
        return tuple(held[slot] for slot in range(len(held)))

    def written(self, ring: Mapping[int, T], frames: Mapping[int, T]) -> dict[int, T]:
        """A new ring (slot -> stored frame) with `frames` (frame counter -> stored frame) written into their slots."""
        return {**ring, **{self.slot(counter): stored for counter, stored in sorted(frames.items())}}


V2V_RING = RingLayout()
"""The published layout for repainting a camera."""
