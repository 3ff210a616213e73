"""What shows that a session's sinks survived a move: one digest for each row, and by which rule they were made.

A digest is comparable within one run of a session alone, from one owner to the next. Another run of the same session
may give other ones: the last bits of its numbers depend on the rows that shared its forwards.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

VERSION = 1
"""SHA-256 over a row's sink frames in their order, as the engine stores them. Another rule takes the next number."""
MAX_ROWS = 16

_Digest = Annotated[str, Field(max_length=128)]


class SinkDigests(BaseModel):
    """The digests by row, "" for a row without any sink. Those of a newer rule are read, and compared with none."""

    model_config = ConfigDict(frozen=True)

    version: Annotated[int, Field(ge=1, le=0xFFFF, strict=True)]
    rows: Annotated[tuple[_Digest, ...], Field(max_length=MAX_ROWS)]


def lost_rows(before: SinkDigests, after: SinkDigests) -> tuple[int, ...]:
    """The rows whose sinks are others than before, of those that both sides have and tell by the same rule."""
    if before.version != after.version:
        return ()
    pairs = enumerate(zip(before.rows, after.rows, strict=False))
    return tuple(row for row, (one, other) in pairs if one and other and one != other)
