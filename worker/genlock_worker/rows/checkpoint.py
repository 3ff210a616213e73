"""What a session goes on from, after a fault or in another worker: taken in `residents`, stored in `snapshots`."""

from dataclasses import dataclass

from genlock_core.media import SourcePosition
from genlock_worker.engines.contract import EngineState


@dataclass(frozen=True, slots=True)
class InFlightMark:
    """A chunk that was in flight when a checkpoint was taken."""

    index: int
    steps: int
    done: int
    last: SourcePosition


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Enough to go on from: the engine's state, what was in flight, and the last source frame that was fed."""

    state: EngineState
    chunks_in_flight: tuple[InFlightMark, ...]
    source: SourcePosition | None
