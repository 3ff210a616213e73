"""What a session goes on from, after a fault or in another worker: taken in `engine_loop`, stored in `snapshots`."""

from collections.abc import Mapping
from dataclasses import dataclass

from genlock_core.media import SourcePosition
from genlock_worker.engines.contract import EngineState


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Enough to go on from: the engine's state, which says what was in flight, and where that stood in the source."""

    state: EngineState
    positions: Mapping[int, tuple[SourcePosition, ...]]
    """Of the source frames of each chunk in flight, by its number. Of what an older release has stored it is the
    last one alone."""
    source: SourcePosition | None
    """The last source frame that was fed."""
