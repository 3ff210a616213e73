"""When a row may run: the one rule, asked by the engine loop, by its simulation and by the engines' own checks.

Row (i, c) is denoising step i of chunk c. It follows two rows of its session: the step before it of the same chunk,
whose answer is its input, and the same step of the chunk before it, whose frames lie in the ring that it reads. How far
these two must have come is the engine's word: on one device that computes in order it is enough that they were handed
over before; a ring over several devices gets a row's input back from the last of them only when it was collected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto


class Reached(Enum):
    """How far a row has come."""

    SUBMITTED = auto()
    COLLECTED = auto()


@dataclass(frozen=True, slots=True)
class Needs:
    """How far a row's two predecessors must have come before the row may be submitted."""

    step: Reached = Reached.SUBMITTED
    """The step before it, of the same chunk."""
    chunk: Reached = Reached.SUBMITTED
    """The same step of the chunk before it."""
    encoded: bool = False
    """Whether chunks are encoded beside the rows: one is fed ahead of its first row, which waits for that. Else it is
    fed together with its first row, and the device encodes it in its order."""


@dataclass(slots=True, eq=False, kw_only=True)
class ChunkInFlight:
    """A chunk between its feeding and the return of its last row, as far as the rule looks at it.

    The one class of such a chunk: whoever knows more of it (when it is due, what it is denoised from) adds to it.
    """

    index: int
    rows: int
    """One for each denoising step, and what the engine runs beside them."""
    submitted: int = 0
    """Rows that were handed to the engine."""
    collected: int = 0
    """Rows that have come back."""
    encoding: bool = False
    """It was fed, and what its first row is given is still in the making."""

    @property
    def is_complete(self) -> bool:
        return self.collected == self.rows


def may_run(step: int, chunk: ChunkInFlight, before: Sequence[ChunkInFlight], needs: Needs) -> bool:
    """Whether row `step` of `chunk` may be submitted; `before` are the session's earlier chunks in flight.

    - The rows of a chunk run in order, each once, and none while it is being encoded.
    - What its last pass over chunk 0 has left is what every row's ring starts from (StreamDiffusionV2 prepares a stream
      with all steps of its first chunk), so all rows wait for chunk 0 to be complete.
    - Each row sees the chunks in order.
    - Chunks end in order, also where the step count falls: a last row waits for the chunk before to be complete.
    """
    if step != chunk.submitted or step >= chunk.rows or chunk.encoding:
        return False
    if _reached(chunk, needs.step) < step:
        return False
    for earlier in before:
        reached = _reached(earlier, needs.chunk)
        if reached >= earlier.rows:
            continue
        if earlier.index == 0 or step == chunk.rows - 1 or reached <= step:
            return False
    return True


def _reached(chunk: ChunkInFlight, needed: Reached) -> int:
    return chunk.submitted if needed is Reached.SUBMITTED else chunk.collected
