"""What the engine loop tells a session; the loop's side and the session's side both know only this."""

from dataclasses import dataclass
from typing import Protocol

from genlock_worker.engines.contract import Frames
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.rows.session_rows import SessionChunk


@dataclass(frozen=True, slots=True)
class GeneratedChunk:
    """A finished chunk: its pictures, what it was while in flight, and what the session goes on from after it."""

    frames: Frames
    chunk: SessionChunk
    generated_s: float
    checkpoint: Checkpoint


class EngineListener(Protocol):
    """What a session is told, on the asyncio thread."""

    def generated(self, chunk: GeneratedChunk) -> None: ...

    def micro_step(self, *, seconds: float, rows: int, steps: int) -> None:
        """A batch with rows of this session took the devices `seconds`; `steps` is what its newest chunk runs."""
        ...

    def paced(self, every: int) -> None:
        """From now on one of so many frames of the source is wanted."""
        ...

    def memory(self, size_bytes: int | None) -> None:
        """What the session has set aside on the device has changed; None where the engine does not count."""
        ...

    def was_reset(self, reason: str, *, restored: bool) -> None:
        """The engine lost the session's state; it went back to its last checkpoint (`restored`), or to the start."""
        ...

    def began_anew(self, request: str | None) -> None:
        """What follows owes nothing to the frames before: a user wants it, by this request, or its pictures turned."""
        ...

    def gave_up(self, reason: str) -> None:
        """The engine cannot run the session; it is closed there."""
        ...
