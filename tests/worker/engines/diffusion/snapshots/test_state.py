"""What a snapshot holds, and that nothing that is not one of ours comes in."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import JsonValue

from genlock_core.stream_state.formats import FORMATS
from genlock_core.stream_state.snapshot import Snapshot, decode, encode_delta
from genlock_worker.engines.algorithm.blend import prompt_digest
from genlock_worker.engines.contract import (
    Change,
    EngineFailure,
    EngineState,
    RestoreResult,
    SinkReplacement,
    StreamSettings,
)
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.streaming.transfers import from_host, to_host
from tests.worker.engines.diffusion.streams import (
    BlockVae,
    StreamBatch,
    caches,
    chunk,
    engine,
    play,
    settings,
    stored,
)
from tests.worker.engines.driven import Driven

SINKS_CHANGE = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=1, sink_delay_chunks=4)


def small_engine() -> Driven:
    return engine(options=SINKS_CHANGE, vae=BlockVae())


def busy() -> EngineState:
    """Four rows, chunks in flight, a blend under way, a sink that row 0 has replaced and the others have not."""
    one = small_engine()
    one.open("s", settings(steps=2))
    stream = StreamBatch(one, "s")
    for index in range(9):
        if index == 7:
            one.apply("s", Change(prompt="neon", steps=4))
        stream.round(chunk(index))
    return stored(one.snapshot("s"))


BUSY = busy()
Mutation = Callable[[EngineState], EngineState]


def test_blocks_are_named_for_ever_and_only_new_ones_come_with_a_chunk() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings())
    play(one, "s", range(9))
    early = one.snapshot("s")
    play(one, "s", range(9, 10))
    late = one.snapshot("s")
    assert set(late.blocks) - set(early.blocks) == {"r0.f10", "r1.f10", "i.c9", "o.c9"}
    sinks = {"r1.f0", "r1.f1", "r0.f2", "r1.f2"}
    window = {f"r{row}.f{frame}" for row in (0, 1) for frame in (8, 9, 10)}
    primed = {f"{kind}.c{index}" for kind in "io" for index in (6, 7, 8, 9)}
    prompts = {f"p.{prompt_digest(settings().prompt)[:16]}"}
    assert set(late.blocks) == sinks | window | primed | prompts
    for name in early.blocks.keys() & late.blocks.keys():
        assert early.blocks[name].keys() == late.blocks[name].keys()
        for part, array in early.blocks[name].items():
            assert array.tobytes() == late.blocks[name][part].tobytes()


def test_what_was_copied_from_the_device_is_not_copied_again() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings())
    play(one, "s", range(7))
    first, second = one.snapshot("s"), one.snapshot("s")
    assert all(second.blocks[name]["latent"] is first.blocks[name]["latent"] for name in ("r1.f0", "r0.f7"))
    assert second.blocks["o.c6"]["latents"] is first.blocks["o.c6"]["latents"]


def test_no_prompt_is_in_it_as_text_and_every_array_can_be_stored() -> None:
    snapshot = Snapshot(
        session="s",
        model="tiny",
        format=max(FORMATS),
        epoch=1,
        chunk=BUSY.chunk,
        control_id="0-0",
        attributes=cast("Mapping[str, JsonValue]", {"engine": BUSY.attributes}),
        head=BUSY.head,
        blocks=BUSY.blocks,
    )
    delta = encode_delta(snapshot, written={})
    again = decode(delta.head, delta.blocks, session="s", model="tiny")
    engine_attributes = again.attributes["engine"]
    assert isinstance(engine_attributes, dict)
    state = replace(BUSY, attributes=engine_attributes, head=again.head, blocks=again.blocks)
    small_engine().restore("s", settings(), state)
    assert "watercolour" not in json.dumps(dict(BUSY.attributes))


def test_a_refreshed_frame_has_another_name_than_the_one_before() -> None:
    one = engine(options=StreamOptions(sink_threshold=None, refresh_on_prompt=True), vae=BlockVae())
    one.open("s", settings())
    play(one, "s", range(10), changes={6: Change(prompt="neon")})
    names = set(one.snapshot("s").blocks)
    neon = prompt_digest("neon")[:16]
    assert {f"r1.f0.p{neon}", f"r0.f2.p{neon}", "r0.f10"} <= names
    assert "r1.f0" not in names
    assert {name for name in names if name.startswith("p.")} == {f"p.{neon}"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_arrays_survive_the_way_through_the_host(dtype: torch.dtype) -> None:
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(from_host(to_host(tensor), dtype), tensor)
    with pytest.raises(ValueError, match="stored as"):
        from_host(np.zeros(3), dtype)
    with pytest.raises(ValueError, match="not finite"):
        from_host(to_host(tensor / 0), dtype)


def changed(state: EngineState, path: str, value: object) -> EngineState:
    """The state with one fact changed: an attribute (`wanted.steps`), or of a chunk in flight (`in_flight.0.done`)."""
    first, *rest = path.split(".")
    if first != "in_flight":
        return replace(state, attributes=_with(state.attributes, path.split("."), value))

    number, fact, *deeper = rest
    chunk = state.in_flight[int(number)]
    told: Any = {fact: _with(chunk.attributes, deeper, value) if deeper else value}
    chunks = [*state.in_flight]
    chunks[int(number)] = replace(chunk, **told)
    return replace(state, in_flight=tuple(chunks))


def _with(attributes: Mapping[str, object], path: Sequence[str], value: object) -> Mapping[str, object]:
    """The attributes with another value at `path`."""
    copied: Any = json.loads(json.dumps(dict(attributes)))
    at = copied
    *parents, last = [int(part) if part.isdigit() else part for part in path]
    for part in parents:
        at = at[part]
    at[last] = value
    return cast("Mapping[str, object]", copied)


def with_block(state: EngineState, name: str, **arrays: NDArray[np.generic]) -> EngineState:
    return replace(state, blocks={**state.blocks, name: {**state.blocks[name], **arrays}})


def without_block(state: EngineState, name: str) -> EngineState:
    return replace(state, blocks={key: arrays for key, arrays in state.blocks.items() if key != name})


def with_sink(state: EngineState, sink: int, frame: int) -> EngineState:
    return replace(state, sink_replacement=SinkReplacement(sink, frame))


def replaced_sink(state: EngineState) -> int:
    """The sink that frame 9 takes."""
    assert state.sink_replacement is not None
    assert state.sink_replacement.frame == 9
    return state.sink_replacement.sink


SINK = replaced_sink(BUSY)
OTHER_SINK = (SINK + 1) % 3
LATENT = np.asarray(BUSY.blocks["r0.f2"]["latent"], np.float32)


def ended(one: Driven) -> RestoreResult:
    """The end of the restoration that is under way."""
    while True:
        for result in one.collect():
            assert isinstance(result, RestoreResult)
            return result


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda s: changed(s, "format", 2), "format"),
        (lambda s: changed(s, "identity.seed", 8), "another session: seed"),
        (lambda s: changed(s, "rows.0.slots.4", "r0.f1"), "cannot be in slot 4|missing"),
        (lambda s: changed(s, "rows.0.slots", []), "first frames are missing"),
        (lambda s: changed(s, "rows.0.opening", []), "first frames"),
        (lambda s: changed(s, "in_flight.0.done", 3), "overtook|holds"),
        (lambda s: changed(s, "in_flight.0.first_frame", 3), "other frames than this engine"),
        (lambda s: changed(s, "in_flight.0.latents", 2), "other frames than this engine"),
        (lambda s: changed(s, "in_flight.0.pictures", 5), "other frames than this engine"),
        (lambda s: changed(s, "in_flight.0.attributes", {}), "Field required"),
        (lambda s: changed(s, "in_flight.0.attributes.prompts", [["0" * 64, 1.0]]), "without an embedding"),
        (lambda s: replace(s, in_flight=()), "in flight|rows|last ones"),
        (lambda s: replace(s, in_flight=s.in_flight[::-1]), "not the last ones"),
        (lambda s: changed(s, "inputs", []), "input chunks"),
        (lambda s: changed(s, "outputs", [0]), "output chunks"),
        (lambda s: changed(s, "wanted.steps", 5), "steps"),
        (lambda s: changed(s, "scale", float("nan")), "scale"),
        (lambda s: replace(s, chunk=99), "in flight"),
        (lambda s: replace(s, head={}), "hidden"),
        (lambda s: without_block(s, "r0.f2"), "r0.f2 is missing"),
        (lambda s: without_block(s, "i.c8"), "i.c8 is missing"),
        (lambda s: with_block(s, "r0.f2", frame=np.array(3)), "says that it is another one"),
        (lambda s: with_block(s, "r0.f2", latent=LATENT * np.float32("nan")), "not finite"),
        (lambda s: with_block(s, "r0.f2", latent=LATENT.astype(np.float64)), "stored as"),
        (lambda s: with_block(s, "r0.f2", latent=LATENT[:, :4]), "latents of"),
        (lambda s: with_block(s, "r0.f2", timestep=np.array(np.inf)), "timestep"),
        (lambda s: with_block(s, "r0.f2", weights=np.zeros(2)), "zip"),
        (lambda s: with_block(s, "i.c8", frame1=np.zeros(50, np.uint8)), "JPEG"),
        (lambda s: with_block(s, "o.c5", latents=np.zeros(3)), "latents of"),
        (lambda s: with_sink(s, 3, 9), "no sink 3"),
        (lambda s: with_sink(s, -1, 9), "no sink -1"),
        (lambda s: with_sink(s, 0, 7), "cannot be about to become a sink"),
        (lambda s: with_sink(s, 0, 99), "cannot be about to become a sink"),
        (lambda s: with_sink(s, OTHER_SINK, 9), "row 0: frame 9 has become another sink"),
        (lambda s: changed(s, f"rows.0.slots.{SINK}", f"r0.f{SINK}"), "row 0: frame 9 was to become a sink|is missing"),
    ],
)
def test_a_damaged_state_is_refused_with_its_reason(damage: Mutation, reason: str) -> None:
    one = small_engine()
    one.engine.restore("s", settings(), damage(BUSY))
    refused = ended(one)
    assert refused.session == "s"
    assert re.search(reason, refused.failure or "")
    assert one.budget.taken == {}
    one.open("s", settings())


def test_a_state_without_the_decision_goes_on_and_a_later_chunk_decides() -> None:
    """As a release stores it that decided row by row: a sink of row 0 may be another than that of the others."""
    one = small_engine()
    one.restore("s", settings(), replace(BUSY, sink_replacement=None))
    assert one._session("s").pending_sink is None
    stream = StreamBatch(one, "s", BUSY.chunk + 1)
    stream.chunks_in_flight = {chunk.index: (chunk.rows, chunk.done) for chunk in BUSY.in_flight}
    for index in range(BUSY.chunk + 1, BUSY.chunk + 14):
        stream.round(chunk(index))
    replaced = {cache.replaced_in for cache in caches(one, "s")}
    assert len(replaced) <= 2
    assert min(found for found in replaced if found is not None) > BUSY.chunk


@pytest.mark.parametrize(
    "other",
    [settings(seed=8), settings(width=80), settings(frame_rate=8), settings(text_only=True), settings(height=50)],
)
def test_a_state_of_another_session_is_refused(other: StreamSettings) -> None:
    with pytest.raises(EngineFailure, match="restored"):
        small_engine().restore("s", other, BUSY)


def test_a_state_of_another_ring_is_refused() -> None:
    one = engine(options=StreamOptions(normalise_latents=True), vae=BlockVae())
    with pytest.raises(EngineFailure, match="normalised differ"):
        one.restore("s", settings(), BUSY)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=5), st.just([]), st.just({})
)
ARRAYS = st.one_of(
    st.builds(np.zeros, st.sampled_from([(), (0,), (3,), (16, 8, 8), (2, 16, 8, 8), (32,)]), st.sampled_from("fdBHlq")),
    st.just(np.array("text")),
    st.just(np.full((16, 8, 8), np.inf, np.float32)),
)


def paths(value: object, prefix: str = "") -> list[str]:
    """Every place in the attributes, as `changed` names it."""
    items: list[tuple[object, object]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    found = [prefix.rstrip(".")] if prefix else []
    return found + [path for key, part in items for path in paths(part, f"{prefix}{key}.")]


PATHS = paths(BUSY.attributes)
PATHS_IN_FLIGHT = [
    path
    for number, one in enumerate(BUSY.in_flight)
    for name, value in asdict(one).items()
    for path in (f"in_flight.{number}.{name}", *paths(value, f"in_flight.{number}.{name}."))
]
EDITS = st.one_of(
    st.tuples(st.just("attribute"), st.sampled_from(PATHS), JUNK),
    st.tuples(st.just("attribute"), st.sampled_from(PATHS_IN_FLIGHT), JUNK),
    st.tuples(st.just("chunk"), st.just(""), st.integers(-5, 2**40)),
    st.tuples(st.just("sink"), st.just(""), st.tuples(st.integers(-1, 4), st.integers(0, 90))),
    st.tuples(st.just("head"), st.sampled_from(sorted(BUSY.head)), ARRAYS),
    st.tuples(st.just("missing"), st.sampled_from(sorted(BUSY.blocks)), st.none()),
    st.tuples(
        st.just("array"),
        st.sampled_from(sorted(f"{name} {part}" for name, arrays in BUSY.blocks.items() for part in arrays)),
        ARRAYS,
    ),
)


def edited(state: EngineState, kind: str, where: str, value: Any) -> EngineState:
    """The state with something else in one place; as it was if an edit before has taken that place away."""
    if kind == "attribute":
        try:
            return changed(state, where, value)
        except (IndexError, KeyError, TypeError):
            return state
    if kind == "chunk":
        return replace(state, chunk=value)
    if kind == "sink":
        return with_sink(state, *value)
    if kind == "head":
        return replace(state, head={**state.head, where: value})
    name, *part = where.split()
    if kind == "missing" or name not in state.blocks:
        return without_block(state, name)
    return with_block(state, name, **{part[0]: value})


@limits(max_examples=80, deadline=None)
@given(edits=st.lists(EDITS, min_size=1, max_size=2))
def test_whatever_comes_in_it_is_refused_or_goes_on(edits: list[tuple[str, str, Any]]) -> None:
    one, state = small_engine(), BUSY
    for edit in edits:
        state = edited(state, *edit)
    try:
        one.restore("s", settings(), state)
    except EngineFailure:
        assert one.budget.taken == {}
        one.open("s", settings())
        return
    stream = StreamBatch(one, "s", state.chunk + 1)
    session = one._session("s")
    stream.chunks_in_flight = {one.index: (one.rows, one.submitted) for one in session.chunks_in_flight.values()}
    stream.round(chunk(stream.fed))
    one.snapshot("s")
