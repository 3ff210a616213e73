"""What stands in a snapshot beside its arrays: written from a session, read back as something that may be anything.

The rules that hold between the facts are checked here, so that what passes is a session that can go on: chunks in
flight follow each other, and each row holds just the frames that its next chunk expects to find.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from genlock_worker.engines.algorithm.blend import BLEND_CHUNKS, PromptBlend, Weights
from genlock_worker.engines.algorithm.flow import MAX_STEPS
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.contract import ChunkState, SinkReplacement, chunk_frames
from genlock_worker.engines.diffusion.streaming.row_cache import chunk_of, first_frame, latent_frames, opening_length

FORMAT = 1
MAX_ROWS = MAX_STEPS + 1
MAX_KEPT = 64
MAX_IN_FLIGHT = 16
"""Chunks in flight: each may have keys and values of its own. A stream batch has one per row."""
MAX_SINK_DELAY = 64
"""Chunks that the replacement of a sink may lie ahead: another release may decide earlier than this one."""
MAX_MIXED = 8
"""Prompts of a mixture."""
_TOLERANCE = 1e-6
"""Of a sum of weights, which were computed in float64."""


def check_mixture(pairs: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """`pairs` themselves. Raises ValueError unless they are weights of at least one prompt that sum to 1."""
    fits = all(-_TOLERANCE <= weight <= 1 + _TOLERANCE for _, weight in pairs)
    _expect(fits and abs(sum(weight for _, weight in pairs) - 1) <= _TOLERANCE, "the weights of prompts sum to 1")
    return pairs


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0, lt=2**40)]
Share = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)]
Timestep = Annotated[float, Field(ge=0, le=1000)]
Mixture = Annotated[
    list[tuple[Digest, Share]], Field(min_length=1, max_length=MAX_MIXED), AfterValidator(check_mixture)
]


class _StrictFacts(BaseModel):
    """Snapshots come from outside: an unknown field or a number that is none refuses the whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WantedState(_StrictFacts):
    """What the next chunk will use; `prompt` is a digest."""

    prompt: Digest
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    noise_scale: Annotated[float, Field(ge=0, le=1)]


class Blend(_StrictFacts):
    """A PromptBlend."""

    start: Mixture
    target: Digest
    done: Annotated[int, Field(ge=0, le=BLEND_CHUNKS)]

    @classmethod
    def of(cls, blend: PromptBlend) -> "Blend":
        return cls(start=list(blend.start), target=blend.target, done=blend.done)

    def value(self) -> PromptBlend:
        return PromptBlend(start=tuple(self.start), target=self.target, done=self.done)


class RowFacts(_StrictFacts):
    """A row's stored frames by name: what each slot holds, and the first frames."""

    slots: Annotated[list[Name], Field(max_length=MAX_KEPT)]
    opening: Annotated[list[Name], Field(max_length=MAX_KEPT)]
    replaced_in: Count | None


class InFlightFacts(_StrictFacts):
    """A chunk in flight, of the contract's and the engine's own facts; its next input lies in the head."""

    index: Count
    rows: Annotated[int, Field(ge=1, le=MAX_ROWS)]
    timesteps: Annotated[list[Timestep], Field(min_length=1, max_length=MAX_ROWS)]
    steps_before: Annotated[int, Field(ge=1, le=MAX_ROWS)]
    level: tuple[Share, Annotated[int, Field(ge=0, le=1000)]]
    prompts: Mixture
    refreshes: bool
    done: Annotated[int, Field(ge=0, lt=MAX_ROWS)]

    @classmethod
    def of(cls, state: ChunkState) -> Self:
        """Raises ValueError (pydantic's, too) for one that does not fit together."""
        facts = cls.model_validate({**state.attributes, "index": state.index, "rows": state.rows, "done": state.done})
        frames = latent_frames(state.index)
        _expect(len(facts.timesteps) == facts.rows, f"chunk {state.index} has other rows than timesteps")
        _expect(
            (state.first_frame, state.latents, state.pictures) == (frames[0], len(frames), chunk_frames(state.index)),
            f"chunk {state.index} has other frames than this engine gives it",
        )
        return facts


class StateFacts(_StrictFacts):
    """All of them; the attributes of an EngineState."""

    format: Literal[1]
    identity: dict[str, JsonValue]
    wanted: WantedState
    blend: Blend
    prompts: Mixture | Annotated[list[tuple[Digest, Share]], Field(max_length=0)]
    """Of the last chunk fed; empty before the first."""
    embeddings: Annotated[list[Digest], Field(max_length=MAX_KEPT)]
    fed_rows: Annotated[int, Field(ge=0, le=MAX_ROWS)]
    scale: Share | None
    rows: Annotated[list[RowFacts], Field(min_length=1, max_length=MAX_ROWS)]
    inputs: Annotated[list[Count], Field(max_length=MAX_KEPT)]
    outputs: Annotated[list[Count], Field(max_length=MAX_KEPT)]


def check(facts: StateFacts, chunks: Sequence[InFlightFacts], *, chunk: int, text_only: bool) -> None:
    """Raise ValueError unless the facts describe a session that was fed up to `chunk`."""
    # Chunks end in order, so those in flight are the last ones that were fed.
    fed = chunk + 1
    indices = [in_flight.index for in_flight in chunks]
    finished = fed - len(indices)
    _expect(chunk >= -1 and indices == list(range(finished, fed)), "the chunks in flight are not the last ones")
    _expect((facts.fed_rows == 0) == (fed == 0) == (facts.scale is None) == (not facts.prompts), "nothing was fed")
    _check_chunks_in_flight(facts, chunks, text_only=text_only)

    # There is a ring for every row of the longest chunk that is in flight or was fed last.
    _expect(not fed or _is_row_count(facts.fed_rows, text_only=text_only), f"a chunk has no {facts.fed_rows} rows")
    rows = max([facts.fed_rows, *(in_flight.rows for in_flight in chunks)])
    _expect(not fed or len(facts.rows) == rows, f"{rows} rows are needed and {len(facts.rows)} are there")

    # What primes the VAE.
    _expect(_last(facts.inputs, 0 if text_only else fed), "the input chunks are not the last ones")
    _expect(_last(facts.outputs, finished), "the output chunks are not the last ones")


def check_rows(
    facts: StateFacts, chunks: Sequence[InFlightFacts], rows: Sequence[Sequence[int]], *, chunk: int, layout: RingLayout
) -> None:
    """Raise ValueError unless each row's slots hold frames (`rows`: the counters by slot) with which it can go on."""
    for number, frames in enumerate(rows):
        newest = max(frames, default=-1)
        replaced = _check_ring(frames, newest, layout)
        row = facts.rows[number]
        _expect(row.replaced_in is not None or not replaced, f"row {number}: a sink was replaced in no chunk")
        _expect(row.replaced_in is None or row.replaced_in <= chunk, f"row {number}: a sink was replaced later")
        _expect(len(row.opening) == min(opening_length(layout), newest + 1), f"row {number}: first frames are missing")
        expected = _expected_newest(facts, chunks, number, chunk)
        _expect(expected in (None, newest), f"row {number} holds frames up to {newest}, not {expected}")


def check_sink_replacement(
    replacement: SinkReplacement, rows: Sequence[Sequence[int]], *, layout: RingLayout, leaves: int
) -> None:
    """Raise ValueError unless it can have been decided, and just the rows that have its frame have made it a sink.

    `rows` are the counters by slot, `leaves` is the chunk that leaves next.
    """
    sink, frame = replacement.sink, replacement.frame
    _expect(0 <= sink < layout.sinks, f"a ring has no sink {sink}")
    is_near = leaves <= chunk_of(frame) < leaves + MAX_SINK_DELAY
    _expect(is_near and frame >= layout.slots, f"frame {frame} cannot be about to become a sink")
    for number, frames in enumerate(rows):
        is_due = max(frames, default=-1) >= frame
        _expect(is_due == (frame in frames[: layout.sinks]), f"row {number}: frame {frame} was to become a sink")
        _expect(not is_due or frames[sink] == frame, f"row {number}: frame {frame} has become another sink")


def _expected_newest(facts: StateFacts, chunks: Sequence[InFlightFacts], row: int, chunk: int) -> int | None:
    """The newest frame that a row must hold; None if another row's ring will be copied over whatever it holds."""
    if any(in_flight.index == 0 for in_flight in chunks) or chunk < 0:
        return -1

    # The oldest chunk that has not passed the row yet has left it as the chunk before did.
    in_flight = next((in_flight for in_flight in chunks if in_flight.done <= row < in_flight.rows), None)
    if in_flight is None:
        return first_frame(chunk + 1) - 1 if row < facts.fed_rows else None
    if in_flight.done < in_flight.steps_before <= row:
        return None
    return first_frame(in_flight.index) - 1


def _check_ring(frames: Sequence[int], newest: int, layout: RingLayout) -> bool:
    """Whether sinks were replaced in a ring; raises ValueError for one that no stream leads to."""
    expected = layout.by_slot(newest + 1)
    _expect(len(frames) == len(expected), f"a ring after frame {newest} holds {len(expected)} frames")

    # A frame that is not where its counter puts it can only be one that has replaced a sink.
    changed = [slot for slot, (frame, own) in enumerate(zip(frames, expected, strict=True)) if frame != own]
    for slot in changed:
        is_newer = slot < layout.sinks and layout.slots - 1 <= frames[slot] <= newest
        _expect(is_newer, f"frame {frames[slot]} cannot be in slot {slot}")
    _expect(len({frames[slot] for slot in changed}) == len(changed), "one frame has replaced several sinks")
    return bool(changed)


def _check_chunks_in_flight(facts: StateFacts, chunks: Sequence[InFlightFacts], *, text_only: bool) -> None:
    """Raise ValueError unless each chunk in flight could have followed the one before, and has not overtaken it."""
    before: InFlightFacts | None = None
    for in_flight in chunks:
        where = f"chunk {in_flight.index}"
        for rows in (in_flight.rows, in_flight.steps_before):
            _expect(_is_row_count(rows, text_only=text_only), f"{where} has {rows} rows")
        _expect(in_flight.done < in_flight.rows, f"{where} is finished already")
        if before is not None:
            _expect(in_flight.steps_before == before.rows, f"{where} follows another chunk")
            waits = before.index == 0 and in_flight.done > 0
            _expect(not waits and in_flight.done <= max(before.done, 0), f"{where} overtook the chunk before")
        before = in_flight

    _expect(before is None or facts.fed_rows == before.rows, "the last chunk fed had other rows")


def _is_row_count(rows: int, *, text_only: bool) -> bool:
    return 1 + text_only <= rows <= MAX_STEPS + text_only


def _last(kept: Sequence[int], until: int) -> bool:
    """Whether `kept` are the last of the chunks 0..until-1, at least one if there are any."""
    return list(kept) == list(range(until - len(kept), until)) and bool(kept) == bool(until)


def weights(pairs: Sequence[tuple[str, float]]) -> Weights:
    """A mixture as the engine has it."""
    return tuple((digest, weight) for digest, weight in pairs)


def _expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise ValueError(otherwise)
