"""A session's control stream: the truth about prompt, steps, noise and pause, in the order in which they were asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from genlock_core.spec.session import MAX_PROMPT_CHARS, Model


class ControlChange(Model):
    """What a client wants changed; None leaves a field as it is, and at least one is not None."""

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)] | None = None
    steps: Annotated[int, Field(ge=1, le=4)] | None = None
    noise_scale: Annotated[float, Field(ge=0.1, le=1.0)] | None = None
    paused: bool | None = None

    def to_fields(self) -> dict[str, str]:
        """As strings by camelCase name, the form of the stream and of the record's last values."""
        raise NotImplementedError

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "ControlChange":
        """The inverse; fields of a newer version are left out. Raises pydantic.ValidationError."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ControlEntry:
    id: str
    client: str
    number: int
    change: ControlChange


class ControlStream:
    """`redis`: a client of bytes or of text."""

    def __init__(self, redis: object) -> None:
        raise NotImplementedError

    async def append(self, session: str, *, client: str, number: int, change: ControlChange) -> str: raise NotImplementedError
    async def read(self, session: str, after: str = "0", limit: int = 256) -> list[ControlEntry]: raise NotImplementedError
    async def tail(self, session: str, after: str, *, block_ms: int, limit: int = 256) -> list[ControlEntry]:
        """Like `read`, but waits for the next entry; give it a client of its own, it holds a connection."""
        raise NotImplementedError
    async def last_id(self, session: str) -> str: raise NotImplementedError
    async def delete(self, session: str) -> None: raise NotImplementedError
