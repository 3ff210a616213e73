"""Snapshots as bytes: what goes in comes out, and nothing that is cut, damaged, foreign or too new is taken."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import JsonValue

from genlock_core.errors import SnapshotNotRead, SnapshotRefused
from genlock_core.media import SourcePosition
from genlock_core.stream_state import container, tensors
from genlock_core.stream_state.container import PartKind, seal
from genlock_core.stream_state.formats import FORMATS, PayloadFormat
from genlock_core.stream_state.snapshot import Snapshot, block_digests, decode, encode_delta
from genlock_core.stream_state.tensors import Tensors

SESSION, MODEL = "default/demo", "wan2.1-1.3b"
RNG = np.random.default_rng(0)
DEMO = Snapshot(
    session=SESSION,
    model=MODEL,
    format=1,
    epoch=1_700_000_000_123,
    chunk=12,
    control_id="17-0",
    attributes={"prompt": "ink", "clock": [1, 2.5, None], "nested": {"a": True}},
    head={"noise": np.array(0.5, np.float32), "last": RNG.integers(0, 255, (2, 4, 6, 3), np.uint8)},
    blocks={
        "r0.f1": {"latent": RNG.standard_normal((3, 4, 5)).astype(np.float16), "t": np.array([7], np.int64)},
        "r0.f2": {"mask": np.array([True, False]), "empty": np.zeros((0, 3), np.int32)},
    },
    source=SourcePosition(run=4, capture_us=-9),
)


def refused(head: bytes, blocks: Mapping[str, bytes], *, session: str = SESSION, model: str = MODEL) -> str:
    with pytest.raises(SnapshotRefused) as refusal:
        decode(head, blocks, session=session, model=model)
    return refusal.value.reason


def assert_same(one: Snapshot, other: Snapshot) -> None:
    bare: Tensors = {}
    assert replace(one, head=bare, blocks={}) == replace(other, head=bare, blocks={})
    assert_same_tensors(one.head, other.head)
    assert one.blocks.keys() == other.blocks.keys()
    for block_id in one.blocks:
        assert_same_tensors(one.blocks[block_id], other.blocks[block_id])


def assert_same_tensors(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        found = other[name]
        assert (array.dtype, array.shape, array.tobytes()) == (found.dtype, found.shape, found.tobytes())


def test_a_snapshot_comes_back_as_it_was() -> None:
    delta = encode_delta(DEMO, written={})
    assert delta.keep == frozenset()
    decoded = decode(delta.head, {**delta.blocks, "left.over": b"x"}, session=SESSION, model=MODEL)
    assert_same(decoded, DEMO)
    assert not decoded.head["last"].flags.writeable
    assert block_digests(delta.head, session=SESSION) == delta.digests


def test_a_delta_holds_only_new_blocks_and_keeps_the_others() -> None:
    first = encode_delta(DEMO, written={})
    later = replace(DEMO, chunk=13, blocks={"r0.f2": DEMO.blocks["r0.f2"], "r0.f3": {"x": np.ones(3, np.float32)}})
    second = encode_delta(later, written=first.digests)
    assert (set(second.blocks), second.keep) == ({"r0.f3"}, frozenset({"r0.f2"}))
    assert second.size == len(second.head) + len(second.blocks["r0.f3"])
    stored = {"r0.f2": first.blocks["r0.f2"], **second.blocks}
    assert_same(decode(second.head, stored, session=SESSION, model=MODEL), later)


def test_arrays_that_lie_crosswise_in_memory_come_back_as_they_look() -> None:
    crosswise = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-1].T
    swapped = np.array([1, 2, 3], dtype=">i4")
    delta = encode_delta(replace(DEMO, head={"a": crosswise, "b": swapped}), written={})
    decoded = decode(delta.head, delta.blocks, session=SESSION, model=MODEL)
    np.testing.assert_array_equal(decoded.head["a"], crosswise)
    np.testing.assert_array_equal(decoded.head["b"], swapped)


def test_another_sessions_or_models_snapshot_is_refused() -> None:
    delta = encode_delta(DEMO, written={})
    assert "of session default/demo" in refused(delta.head, delta.blocks, session="default/other")
    assert f"model {MODEL}" in refused(delta.head, delta.blocks, model="wan2.1-14b")


def test_a_missing_and_a_swapped_block_are_refused() -> None:
    delta = encode_delta(DEMO, written={})
    assert refused(delta.head, {"r0.f1": delta.blocks["r0.f1"]}) == "block r0.f2 is missing"
    swapped = {"r0.f1": delta.blocks["r0.f2"], "r0.f2": delta.blocks["r0.f1"]}
    assert "not the one that the head means" in refused(delta.head, swapped)
    assert "kind" in refused(delta.blocks["r0.f1"], delta.blocks)


def test_a_newer_format_is_refused_by_name() -> None:
    head, _ = seal(3, PartKind.HEAD, b"whatever comes after safetensors")
    assert refused(head, {}) == "head: format 3 is newer than this worker reads"
    with pytest.raises(SnapshotNotRead):
        decode(head, {}, session=SESSION, model=MODEL)


def test_another_format_is_one_more_entry_in_the_table() -> None:
    def pack(facts: Mapping[str, object], arrays: Tensors) -> bytes:
        return b"3" + tensors.pack(facts, arrays)

    def unpack(payload: bytes) -> tuple[dict[str, object], Tensors]:
        if not payload.startswith(b"3"):
            raise ValueError("not format 3")
        return tensors.unpack(payload[1:])

    more = {**FORMATS, 3: PayloadFormat(pack, unpack, blocks=3)}
    for number in (1, 2, 3):
        delta = encode_delta(replace(DEMO, format=number), written={}, formats=more)
        decoded = decode(delta.head, delta.blocks, session=SESSION, model=MODEL, formats=more)
        assert_same(decoded, replace(DEMO, format=number))
    assert "newer" in refused(delta.head, delta.blocks)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_change_between_formats_with_the_same_blocks_writes_a_head_alone(before: int, after: int) -> None:
    whole = encode_delta(replace(DEMO, format=before), written={})
    changed = encode_delta(replace(DEMO, format=after), written=whole.digests)
    assert not changed.blocks
    decoded = decode(changed.head, whole.blocks, session=SESSION, model=MODEL)
    assert_same(decoded, replace(DEMO, format=after))


def test_what_cannot_be_stored_is_refused_when_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    strings: Tensors = {"s": np.array(["text"])}
    objects: Tensors = {"o": np.array([{}], dtype=object)}
    reserved: Tensors = {"__metadata__": np.zeros(1, np.uint8)}
    for bad in (strings, objects, reserved):
        with pytest.raises(SnapshotRefused):
            encode_delta(replace(DEMO, head=bad), written={})
    with pytest.raises(SnapshotRefused, match="JSON"):
        encode_delta(replace(DEMO, attributes={"bad": float("nan")}), written={})
    monkeypatch.setattr(container, "MAX_PART_BYTES", 400)
    with pytest.raises(SnapshotRefused, match="too large"):
        encode_delta(replace(DEMO, blocks={"b": {"x": np.zeros(1_000, np.uint8)}}), written={})


def test_a_part_that_is_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    delta = encode_delta(DEMO, written={})
    monkeypatch.setattr(container, "MAX_PART_BYTES", len(delta.head) - 1)
    assert "too large" in refused(delta.head, delta.blocks)


def test_a_well_sealed_part_with_nonsense_in_it_is_refused() -> None:
    deep = b"[" * 200_000
    nonsense = [
        b"",
        b"\xff" * 8,
        b"{}",
        (2).to_bytes(8, "little") + b"{}",
        len(deep).to_bytes(8, "little") + deep,
        tensors.pack({}, {}),
        tensors.pack({"session": 3}, {}),
        tensors.pack({"session": SESSION}, {"x": np.zeros(3, np.float64)}).replace(b"F64", b"F08"),
    ]
    for payload in nonsense:
        assert refused(seal(1, PartKind.HEAD, payload)[0], {}).startswith("head: ")


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_flipped_byte_or_cut_is_refused(data: st.DataObject) -> None:
    delta = encode_delta(DEMO, written={})
    parts = {"": delta.head, **delta.blocks}
    victim = data.draw(st.sampled_from(sorted(parts)))
    part = bytearray(parts[victim])
    position = data.draw(st.integers(0, len(part) - 1))
    if data.draw(st.booleans()):
        part[position] ^= data.draw(st.integers(1, 255))
    else:
        del part[position:]
    parts[victim] = bytes(part)
    refused(parts.pop(""), parts)


@given(st.binary(max_size=300), st.integers(0, 3), st.sampled_from(list(PartKind)))
@settings(max_examples=200, deadline=None)
def test_random_payloads_are_refused(payload: bytes, number: int, kind: PartKind) -> None:
    refused(seal(number, kind, payload)[0], {})
    refused(payload, {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.text(max_size=12).filter(lambda name: name != "__metadata__")
some_tensors = st.dictionaries(
    names,
    arrays.arrays(
        st.sampled_from(sorted(tensors.DTYPES.values())), arrays.array_shapes(min_dims=0, max_side=4, min_side=0)
    ),
    max_size=3,
)


@given(
    attributes=st.dictionaries(st.text(max_size=8), json_values, max_size=3),
    head=some_tensors,
    blocks=st.dictionaries(st.text(max_size=12), some_tensors, max_size=3),
    source=st.none() | st.builds(SourcePosition, st.integers(0, 2**62), st.integers(-(2**62), 2**62)),
)
@settings(max_examples=80, deadline=None)
def test_every_snapshot_comes_back(
    attributes: Mapping[str, JsonValue],
    head: Tensors,
    blocks: Mapping[str, Tensors],
    source: SourcePosition | None,
) -> None:
    snapshot = replace(DEMO, attributes=attributes, head=head, blocks=blocks, source=source)
    delta = encode_delta(snapshot, written={})
    assert_same(decode(delta.head, delta.blocks, session=SESSION, model=MODEL), snapshot)
