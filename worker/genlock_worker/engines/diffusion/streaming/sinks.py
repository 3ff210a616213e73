"""When a sink gives its place to a newer frame. Pure: from the likenesses of a chunk's last row, and from history.

A sink holds the stream to how it began; once the scene has become another one, it holds it to what is gone. So a sink
that is less like the newest frame than a threshold is replaced (StreamDiffusionV2, section 3.2: adaptive sinks).
Against what its published code does wrong (facts about its defects): only what was written is compared, keys without
their rotation in time; one sink at a time and not often; and the window of recent frames rolls on whatever happens.

The decision is one for the session. The last row of a chunk has seen what has come of it, so it decides when the chunk
leaves. The rows are at different chunks then. So the sink changes some chunks later: each row carries the decision out
when it writes the chunk that the decision names, which none of them has begun. What a row was told by the device is
known later than the row was handed over, so a chunk that has left is undecided for a while.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.config import StreamOptions


@dataclass(frozen=True, slots=True)
class PendingSink:
    """A decision that not every row has carried out: sink slot `sink` takes the newest frame of chunk `chunk`."""

    sink: int
    chunk: int


@dataclass(frozen=True, slots=True)
class LeftChunk:
    """A chunk that has left; what its last row says of the sinks decides."""

    chunk: int
    frames: range
    """Its latent frames."""
    replaced_in: int | None
    """The chunk in which its last row had last replaced a sink when the chunk left."""


@dataclass(frozen=True, slots=True)
class SinkRule:
    """When sinks change. `threshold` None: never."""

    layout: RingLayout
    threshold: float | None
    cooldown_chunks: int
    delay_chunks: int

    @classmethod
    def of(cls, options: StreamOptions) -> "SinkRule":
        return cls(options.ring, options.sink_threshold, options.sink_cooldown_chunks, options.sink_delay_chunks)

    def after(self, pending: PendingSink | None, left: LeftChunk, similarity: Sequence[float]) -> PendingSink | None:
        """What is decided and not done by all once a chunk has left; before that it is `pending`."""
        if pending is not None and pending.chunk > left.chunk:
            return pending
        return self.decide(similarity, chunk=left.chunk, frames=left.frames, replaced_in=left.replaced_in)

    def decide(
        self, similarity: Sequence[float], *, chunk: int, frames: range, replaced_in: int | None
    ) -> PendingSink | None:
        """The sink that is to give its place, as chunk `chunk` leaves; None for none.

        `similarity` (S) is each sink's likeness to the newest frame of the chunk, which has the latent frames `frames`,
        as its last row has it. `replaced_in` is the chunk in which a sink was last replaced, or is to be: there is one
        decision at a time. A likeness that is no number counts as none.
        """
        if self.threshold is None or len(frames) != 1 or frames[-1] < self.layout.slots - 1:
            return None
        if replaced_in is not None and chunk - replaced_in <= self.cooldown_chunks:
            return None

        known = [(likeness, sink) for sink, likeness in enumerate(similarity) if not math.isnan(likeness)]
        worst, sink = min(known, default=(math.inf, 0))
        return PendingSink(sink, chunk + self.delay_chunks) if worst < self.threshold else None
