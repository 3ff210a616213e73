"""What is in flight, as snapshot format 2 has it: once, each chunk with its place, its frames and the engine's facts.

The sizes of a chunk stand with the chunk, so that they may come to differ. An engine refuses those that it cannot run.
"""

from collections.abc import Mapping
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from genlock_core.errors import SnapshotRefused
from genlock_core.media import SourcePosition
from genlock_core.slo import sink_digests
from genlock_core.slo.sink_digests import SinkDigests
from genlock_core.stream_state.snapshot import Snapshot
from genlock_worker.engines.contract import ChunkState, EngineState, SinkReplacement
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.snapshots.places import positions_of

MAX_IN_FLIGHT = 1_024
"""More chunks than any engine takes. What an engine takes is its own word."""

_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Small = Annotated[int, Field(ge=1, le=255)]


class _Part(BaseModel):
    """Snapshots come from outside: an unknown field or a number that is none refuses the whole."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, strict=True, frozen=True, extra="forbid", allow_inf_nan=False
    )


class _Source(_Part):
    """The last source frame of a chunk."""

    run: _Count
    capture_us: Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _ChunkInFlight(_Part):
    index: _Count
    steps: _Small
    rows: _Small
    done: Annotated[int, Field(ge=0, le=255)]
    """Rows that had run."""
    source: _Source
    first_frame: _Count
    """The counter of its first latent frame."""
    latents: _Small
    """Latent frames."""
    pictures: _Small
    """Pixel frames."""
    engine: dict[str, JsonValue]


class _SinkReplacement(_Part):
    """A sink that is to give its place to a newer frame, as was decided and not done by every row."""

    row: Annotated[int, Field(ge=0, le=255)]
    """0, and nobody looks at it: the decision is one for all rows."""
    sink: Annotated[int, Field(ge=0, le=255)]
    frame: _Count

    @classmethod
    def of(cls, replacement: SinkReplacement | None) -> "_SinkReplacement | None":
        return None if replacement is None else cls(row=0, sink=replacement.sink, frame=replacement.frame)


class _Attributes(_Part):
    engine: dict[str, JsonValue]
    in_flight: Annotated[list[_ChunkInFlight], Field(max_length=MAX_IN_FLIGHT)]
    """Oldest first."""
    sink_replacement: _SinkReplacement | None
    """Engines that decide nothing ahead leave it null, and drop one that they find: later frames decide it again."""
    sink_digests: SinkDigests


def attributes(checkpoint: Checkpoint) -> Mapping[str, JsonValue]:
    """The attributes of a stored checkpoint. Raises ValueError for one that no reader would take."""
    state = checkpoint.state
    stored = _Attributes(
        engine=cast("dict[str, JsonValue]", dict(state.attributes)),
        in_flight=[_stored(chunk, checkpoint.positions[chunk.index][-1]) for chunk in state.in_flight],
        sink_replacement=_SinkReplacement.of(state.sink_replacement),
        sink_digests=SinkDigests(version=sink_digests.VERSION, rows=state.sink_digests),
    )
    return stored.model_dump(mode="json", by_alias=True)


def to_checkpoint(snapshot: Snapshot) -> Checkpoint:
    """The checkpoint that was stored. Raises SnapshotRefused if the attributes are not ours."""
    try:
        stored = _Attributes.model_validate(dict(snapshot.attributes))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SnapshotRefused(snapshot.session, f"attributes: {where}: {first['msg']}") from None

    decided = stored.sink_replacement
    indices = [chunk.index for chunk in stored.in_flight]
    if indices != list(range(snapshot.chunk + 1 - len(indices), snapshot.chunk + 1)):
        raise SnapshotRefused(snapshot.session, f"chunks {indices} are in flight, which are not the last ones")
    for chunk in stored.in_flight:
        if not chunk.done < chunk.rows >= chunk.steps:
            told = f"{chunk.done} are done for {chunk.steps} steps"
            raise SnapshotRefused(snapshot.session, f"chunk {chunk.index} has {chunk.rows} rows, of which {told}")

    state = EngineState(
        chunk=snapshot.chunk,
        in_flight=tuple(map(_restored, stored.in_flight)),
        attributes=stored.engine,
        head=snapshot.head,
        blocks=snapshot.blocks,
        sink_replacement=None if decided is None else SinkReplacement(decided.sink, decided.frame),
        sink_digests=stored.sink_digests.rows if stored.sink_digests.version == sink_digests.VERSION else (),
    )
    last = {one.index: SourcePosition(one.source.run, one.source.capture_us) for one in stored.in_flight}
    return Checkpoint(state, positions_of(snapshot, last), snapshot.source)


def _stored(chunk: ChunkState, last: SourcePosition) -> _ChunkInFlight:
    return _ChunkInFlight(
        index=chunk.index,
        steps=chunk.steps,
        rows=chunk.rows,
        done=chunk.done,
        source=_Source(run=last.run, capture_us=last.capture_us),
        first_frame=chunk.first_frame,
        latents=chunk.latents,
        pictures=chunk.pictures,
        engine=cast("dict[str, JsonValue]", dict(chunk.attributes)),
    )


def _restored(stored: _ChunkInFlight) -> ChunkState:
    return ChunkState(
        index=stored.index,
        steps=stored.steps,
        rows=stored.rows,
        done=stored.done,
        first_frame=stored.first_frame,
        latents=stored.latents,
        pictures=stored.pictures,
        attributes=stored.engine,
    )
