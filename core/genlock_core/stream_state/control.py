"""A session's control stream: the truth about prompt, steps, noise, pause and resets, in the order they were asked for.

Gateways append what their clients ask for and nudge the worker over the link; the worker reads on from the last id that
it applied, which its snapshot carries. The stream is capped; the record keeps the last value of each field.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from genlock_core.spec.fields import ClientName, NoiseScale, OnlyTrue, Prompt, RequestNumber, Steps, Switch
from genlock_core.spec.session import Model
from genlock_core.store import MAX_BLOCK_MS, Store
from genlock_core.stream_state import keys, lua

logger = logging.getLogger(__name__)

STREAM_ENTRIES = 512
"""About so many entries are kept (Redis trims whole nodes)."""
REMEMBERED_REQUESTS = 1_024
"""So many requests per session are known again when they are repeated ..."""
REMEMBERED_MS = 600_000
"""... for this long."""
FIRST_ID = "0-0"
"""The id before every entry."""


class ControlChange(Model):
    """What a client wants changed; None leaves a field as it is, and at least one is not None."""

    prompt: Prompt | None = None
    steps: Steps | None = None
    noise_scale: NoiseScale | None = None
    paused: Switch | None = None
    reset: OnlyTrue | None = Field(
        None, description="Begin the picture anew: nothing of the frames so far counts any more."
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if all(getattr(self, name) is None for name in ControlChange.model_fields):
            raise ValueError("nothing to change: give prompt, steps, noiseScale, paused or reset")
        return self

    def to_fields(self) -> dict[str, str]:
        """As strings by camelCase name: the form of the stream, and of the record's last values."""
        values = self.model_dump(by_alias=True, exclude_none=True, include=set(ControlChange.model_fields))
        return {name: _to_text(value) for name, value in values.items()}

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Self:
        """The inverse; fields of a newer version are left out. Raises pydantic.ValidationError."""
        readers = {"prompt": str, "steps": _whole, "noiseScale": float, "paused": _truth, "reset": _truth}
        return cls.model_validate(
            {name: _read(readers[name], text) for name, text in fields.items() if name in readers}
        )


class ControlRequest(ControlChange):
    """A change to the picture; at least one of prompt, steps, noiseScale, paused and reset.

    `client` and `number` name it: the same pair again changes nothing, so a client may repeat what it is not sure of.
    """

    client: ClientName | None = None
    number: RequestNumber | None = None

    @model_validator(mode="after")
    def _client_counts(self) -> Self:
        if self.client is not None and self.number is None:
            raise ValueError("client goes with number")
        return self

    @property
    def change(self) -> ControlChange:
        """The change alone."""
        return ControlChange(**{name: getattr(self, name) for name in ControlChange.model_fields})


class _RequestName(Model):
    """The name of a request in the stream."""

    client: ClientName
    number: RequestNumber


def _to_text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _read(reader: Any, text: str) -> object:
    """The value, or the text itself where it is none, for the model to name as the mistake that it is."""
    try:
        return reader(text)
    except (ValueError, KeyError):
        return text


def _whole(text: str) -> int:
    return int(text)


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text]


@dataclass(frozen=True, slots=True)
class ControlEntry:
    """One change in the stream; `id` orders them, `number` counts the client's requests."""

    id: str
    client: str
    number: int
    change: ControlChange


def entry_order(entry_id: str) -> tuple[int, int]:
    """What ids sort by. Raises ValueError for what is no id."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


class ControlStream:
    """The control streams of all sessions in one Redis."""

    def __init__(self, redis: Store) -> None:
        self._redis = redis

    async def append(self, session: str, *, client: str, number: int, change: ControlChange) -> str:
        """Add a change and give its id; the same (client, number) again gives the first one's id and adds nothing.

        Raises pydantic.ValidationError for what is no `ClientName` or `RequestNumber`.
        """
        _RequestName(client=client, number=number)
        fields = {"client": client, "number": str(number), **change.to_fields()}
        reply = await lua.run(
            self._redis,
            "append",
            [keys.control(session), keys.control_ids(session), keys.control_recent(session)],
            [
                f"{client}:{number}",
                STREAM_ENTRIES,
                REMEMBERED_REQUESTS,
                REMEMBERED_MS,
                *(part for item in fields.items() for part in item),
            ],
        )
        return _text(reply)

    async def read(self, session: str, after: str = FIRST_ID, limit: int = 256) -> list[ControlEntry]:
        """At most `limit` entries behind the id `after`, the oldest first."""
        found: Any = await self._redis.xrange(keys.control(session), min=f"({after}", count=limit)
        return list(_entries(session, found))

    async def tail(self, session: str, after: str, *, block_ms: int, limit: int = 256) -> list[ControlEntry]:
        """Like `read`, but waits up to `block_ms` (at most MAX_BLOCK_MS) for one; holds a connection meanwhile."""
        block_ms = max(1, min(block_ms, MAX_BLOCK_MS))
        found: Any = await self._redis.xread({keys.control(session): after}, count=limit, block=block_ms)
        return [entry for _, entries in found or () for entry in _entries(session, entries)]

    async def delete(self, session: str) -> None:
        """Forget the session's controls."""
        await self._redis.delete(keys.control(session), keys.control_ids(session), keys.control_recent(session))


def _entries(session: str, found: Iterable[tuple[Any, Mapping[Any, Any]]]) -> Iterable[ControlEntry]:
    """The entries that this version understands. It passes over the others: none may stop the stream."""
    for entry_id, raw in found:
        fields = {_text(name): _text(value) for name, value in raw.items()}
        try:
            change = ControlChange.from_fields(fields)
            yield ControlEntry(_text(entry_id), fields["client"], int(fields["number"]), change)
        except (ValidationError, KeyError, ValueError) as error:
            logger.warning("%s: control entry %s passed over: %s", session, _text(entry_id), type(error).__name__)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
