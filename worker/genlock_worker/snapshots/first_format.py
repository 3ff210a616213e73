"""What is in flight, as snapshot format 1 has it: twice, in the engine's attributes and beside them."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from genlock_core.errors import SnapshotRefused
from genlock_core.media import SourcePosition
from genlock_core.stream_state.snapshot import Snapshot
from genlock_worker.engines.contract import ChunkState, EngineState, chunk_frames
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.snapshots.places import positions_of

_IN_FLIGHT = TypeAdapter(list[tuple[int, int, int, int, int]])
"""(index, rows, done, run, capture_us) of each chunk in flight."""
_OF_THE_MOCK = "fedSteps"
"""An attribute of the mock engine alone, which names rows and first frame of its chunks, too."""


def attributes(checkpoint: Checkpoint) -> Mapping[str, JsonValue]:
    """The attributes of a stored checkpoint."""
    state = checkpoint.state
    marks = []
    for chunk in state.in_flight:
        last = checkpoint.positions[chunk.index][-1]
        marks.append([chunk.index, chunk.rows, chunk.done, last.run, last.capture_us])

    engine = {**state.attributes, "flights": [_of_the_engine(chunk, state) for chunk in state.in_flight]}
    return cast("Mapping[str, JsonValue]", {"engine": engine, "flights": marks})


def _of_the_engine(chunk: ChunkState, state: EngineState) -> dict[str, object]:
    named: dict[str, object] = {"index": chunk.index, **chunk.attributes, "done": chunk.done}
    if _OF_THE_MOCK in state.attributes:
        named |= {"steps": chunk.rows, "firstFrame": chunk.first_frame}
    return named


def to_checkpoint(snapshot: Snapshot) -> Checkpoint:
    """The checkpoint that was stored. Raises SnapshotRefused if the attributes are not ours."""
    engine = snapshot.attributes.get("engine")
    if not isinstance(engine, dict):
        raise SnapshotRefused(snapshot.session, "it has no engine attributes")
    try:
        marks = _IN_FLIGHT.validate_python(snapshot.attributes.get("flights"))
        entries: list[dict[str, Any]] = TypeAdapter(list[dict[str, Any]]).validate_python(engine.get("flights"))
        beside = _rows_beside_steps(engine)
        chunks = tuple(_chunk(mark, entry, beside) for mark, entry in zip(marks, entries, strict=True))
    except (ValidationError, ValueError, KeyError) as error:
        raise SnapshotRefused(snapshot.session, f"its chunks in flight cannot be read: {_first_line(error)}") from error

    state = EngineState(
        chunk=snapshot.chunk,
        in_flight=chunks,
        attributes={name: value for name, value in engine.items() if name != "flights"},
        head=snapshot.head,
        blocks=snapshot.blocks,
    )
    last = {index: SourcePosition(run, us) for index, _, _, run, us in marks}
    return Checkpoint(state, positions_of(snapshot, last), snapshot.source)


def _rows_beside_steps(engine: Mapping[str, Any]) -> int:
    """The diffusion engine runs one clean row more for a session without a camera; the format counts rows alone."""
    identity = engine.get("identity", {})
    return int(_OF_THE_MOCK not in engine and isinstance(identity, dict) and identity.get("textOnly") is True)


def _chunk(mark: tuple[int, int, int, int, int], entry: Mapping[str, Any], beside: int) -> ChunkState:
    """One chunk of what is stored twice. Raises ValueError where the two differ."""
    index, rows, done, _, _ = mark
    if (entry["index"], entry["done"], entry.get("steps", rows)) != (index, done, rows):
        raise ValueError(f"chunk {index} is stored twice, and the two differ")
    own = {name: value for name, value in entry.items() if name not in ("index", "done", "steps", "firstFrame")}
    return ChunkState(
        index=index,
        steps=rows - beside,
        rows=rows,
        done=done,
        first_frame=entry.get("firstFrame", 0 if index == 0 else index + 1),
        latents=2 if index == 0 else 1,
        pictures=chunk_frames(index),
        attributes=own,
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
