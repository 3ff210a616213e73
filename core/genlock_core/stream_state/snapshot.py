"""A session's snapshot as bytes and back, without I/O: one head, written each chunk, and blocks, written once each.

The head holds the facts, the small arrays, and the digest of every block that belongs to it. A head and blocks that do
not belong together are refused.

The layers: `tensors` (a payload), `formats` (which payload), `container` (the envelope), this module (what it means),
`snapshot_store` (where it lies).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from genlock_core.errors import SnapshotNotRead, SnapshotRefused
from genlock_core.media import SourcePosition
from genlock_core.stream_state.container import Part, PartKind, seal, unseal
from genlock_core.stream_state.formats import FORMATS, PayloadFormat
from genlock_core.stream_state.tensors import Tensors

MAX_BLOCKS = 4_096
MAX_CHUNKS = 1_024
"""In flight: more than any engine takes."""
MAX_FRAMES = 255
"""Of one chunk."""

Formats = Mapping[int, PayloadFormat]

_Text = Annotated[str, Field(max_length=512)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Index = Annotated[str, Field(pattern=r"^[0-9]{1,19}$")]
"""The number of a chunk, as JSON has its names."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a session's next owner needs."""

    session: str
    model: str
    format: int
    epoch: int
    chunk: int
    control_id: str
    """The last control entry that was applied."""

    # The engine's own state (`EngineState`).
    attributes: Mapping[str, JsonValue]
    head: Tensors
    blocks: Mapping[str, Tensors]

    source: SourcePosition | None = None
    """The last source frame that was fed; None for a session without a publisher."""

    places: Mapping[int, tuple[SourcePosition, ...]] = field(default_factory=dict)
    """Where the source frames of each chunk in flight stand, by the chunk's number. The release before wrote none."""


@dataclass(frozen=True, slots=True)
class SnapshotDelta:
    """What `SnapshotStore.write` is to write."""

    head: bytes
    blocks: Mapping[str, bytes]
    """The blocks that are not stored yet."""
    keep: frozenset[str]
    """Stored blocks that belong to this head as well."""
    digests: Mapping[str, str]
    """Of all blocks of this head; the next `encode_delta` takes it as `written`."""

    @property
    def size(self) -> int:
        """Bytes that are written."""
        return len(self.head) + sum(map(len, self.blocks.values()))


class _Source(BaseModel):
    model_config = ConfigDict(strict=True)

    run: _Count
    capture_us: Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Facts(BaseModel):
    """What stands in a head beside its arrays."""

    model_config = ConfigDict(strict=True)

    session: _Text
    model: _Text
    epoch: _Count
    chunk: _Count
    control_id: _Text
    attributes: dict[str, JsonValue]
    source: _Source | None
    blocks: Annotated[dict[_Text, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]], Field(max_length=MAX_BLOCKS)]
    places: Annotated[
        dict[_Index, Annotated[list[_Source], Field(max_length=MAX_FRAMES)]], Field(max_length=MAX_CHUNKS)
    ] = Field(default_factory=dict)
    """Readers of the release before leave it out."""


def encode_delta(snapshot: Snapshot, *, written: Mapping[str, str], formats: Formats = FORMATS) -> SnapshotDelta:
    """The head, and the blocks that are not in `written` (id -> digest of what is stored; {} for a whole snapshot).

    A change to a format with other blocks needs a whole snapshot. Raises SnapshotRefused if it cannot be stored: a
    dtype, a size.
    """
    blocks: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    for block_id, tensors in sorted(snapshot.blocks.items()):
        if block_id in written:
            digests[block_id] = written[block_id]
        else:
            blocks[block_id], digests[block_id] = encode_block(snapshot, block_id, tensors, formats=formats)
    head = encode_head(snapshot, digests, formats=formats)
    return SnapshotDelta(head, blocks, frozenset(digests) - frozenset(blocks), digests)


def encode_head(snapshot: Snapshot, digests: Mapping[str, str], *, formats: Formats = FORMATS) -> bytes:
    """The head of a snapshot whose blocks have these digests. Raises SnapshotRefused."""
    try:
        facts = _Facts(
            session=snapshot.session,
            model=snapshot.model,
            epoch=snapshot.epoch,
            chunk=snapshot.chunk,
            control_id=snapshot.control_id,
            attributes=dict(snapshot.attributes),
            source=_Source(run=snapshot.source.run, capture_us=snapshot.source.capture_us) if snapshot.source else None,
            blocks=dict(sorted(digests.items())),
            places={
                str(index): [_Source(run=place.run, capture_us=place.capture_us) for place in places]
                for index, places in snapshot.places.items()
            },
        )
        payload = formats[snapshot.format].pack(facts.model_dump(), snapshot.head)
        return seal(snapshot.format, PartKind.HEAD, payload)[0]
    except ValueError as error:
        raise SnapshotRefused(snapshot.session, f"head: {error}") from None


def encode_block(
    snapshot: Snapshot, block_id: str, tensors: Tensors, *, formats: Formats = FORMATS
) -> tuple[bytes, str]:
    """A block and its digest. Raises SnapshotRefused."""
    try:
        payload_format = formats[snapshot.format]
        return seal(payload_format.blocks, PartKind.BLOCK, payload_format.pack({}, tensors))
    except ValueError as error:
        raise SnapshotRefused(snapshot.session, f"block {block_id}: {error}") from None


def decode(
    head: bytes, blocks: Mapping[str, bytes], *, session: str, model: str, formats: Formats = FORMATS
) -> Snapshot:
    """The snapshot, whole and checked; its arrays are read-only.

    Raises SnapshotRefused: truncated, corrupt, of another session or model, of a newer format, or without a block that
    belongs to it. Blocks that do not belong to it are left out.
    """
    part, facts, tensors = _open_head(head, session, formats)
    if facts.session != session or facts.model != model:
        raise SnapshotRefused(
            session, f"it is of session {facts.session}, model {facts.model}; wanted is model {model} of {session}"
        )
    return Snapshot(
        session=session,
        model=model,
        format=part.format,
        epoch=facts.epoch,
        chunk=facts.chunk,
        control_id=facts.control_id,
        attributes=facts.attributes,
        head=tensors,
        blocks={
            block_id: _open_block(block_id, digest, blocks, session, formats)
            for block_id, digest in facts.blocks.items()
        },
        source=SourcePosition(facts.source.run, facts.source.capture_us) if facts.source else None,
        places={
            int(index): tuple(SourcePosition(place.run, place.capture_us) for place in places)
            for index, places in facts.places.items()
        },
    )


def block_digests(head: bytes, *, session: str, formats: Formats = FORMATS) -> Mapping[str, str]:
    """The digests of a head's blocks: `written` for the worker that restored it. Raises SnapshotRefused."""
    return _open_head(head, session, formats)[1].blocks


def _open_head(head: bytes, session: str, formats: Formats) -> tuple[Part, _Facts, Tensors]:
    part, facts, tensors = _open(head, PartKind.HEAD, "head", session, formats)
    try:
        return part, _Facts.model_validate(facts), tensors
    except ValidationError as error:
        raise SnapshotRefused(session, f"head: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from None


def _open_block(block_id: str, digest: str, blocks: Mapping[str, bytes], session: str, formats: Formats) -> Tensors:
    data = blocks.get(block_id)
    if data is None:
        raise SnapshotRefused(session, f"block {block_id} is missing")
    part, _, tensors = _open(data, PartKind.BLOCK, f"block {block_id}", session, formats)
    if part.digest != digest:
        raise SnapshotRefused(session, f"block {block_id} is not the one that the head means")
    return tensors


def _open(
    data: bytes, kind: PartKind, what: str, session: str, formats: Formats
) -> tuple[Part, dict[str, object], Tensors]:
    try:
        part = unseal(data, kind)
    except ValueError as error:
        raise SnapshotRefused(session, f"{what}: {error}") from None
    payload_format = formats.get(part.format)
    if payload_format is None:
        age = "newer" if part.format > max(formats) else "older"
        raise SnapshotNotRead(session, f"{what}: format {part.format} is {age} than this worker reads")
    try:
        return part, *payload_format.unpack(part.payload)
    except ValueError as error:
        raise SnapshotRefused(session, f"{what}: {error}") from None
