"""When a sink gives its place to a newer frame. Pure: from a row's likenesses and its history.

A sink holds the stream to how it began; once the scene has become another one, it holds it to what is gone. So a sink
that is less like the newest frame than a threshold is replaced by it (StreamDiffusionV2, section 3.2: adaptive sinks).
Against what its published code does wrong (facts about its defects): only what was written is compared, keys without
their rotation in time; one sink at a time and not often; and the window of recent frames rolls on whatever happens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import StreamOptions


@dataclass(frozen=True, slots=True)
class SinkRule:
    """When sinks change. `threshold` None: never."""

    layout: RingLayout
    threshold: float | None
    cooldown_chunks: int

    @classmethod
    def of(cls, options: StreamOptions) -> "SinkRule":
        return cls(options.ring, options.sink_threshold, options.sink_cooldown_chunks)

    def choose(self, similarity: Sequence[float], *, chunk: int, frames: range, replaced_in: int | None) -> int | None:
        """The sink slot that the newest frame replaces, None for none.

        `similarity` (S) is each sink's likeness to the newest frame of chunk `chunk`, which has the latent frames
        `frames`; `replaced_in` is the chunk in which the row's last sink was replaced. A likeness that is no number
        counts as none.
        """
        if self.threshold is None or len(frames) != 1 or frames[-1] < self.layout.slots - 1:
            return None
        if replaced_in is not None and chunk - replaced_in <= self.cooldown_chunks:
            return None
        known = [(likeness, sink) for sink, likeness in enumerate(similarity) if not math.isnan(likeness)]
        worst, sink = min(known, default=(math.inf, 0))
        return sink if worst < self.threshold else None
