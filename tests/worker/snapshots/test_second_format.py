"""What is in flight, as format 2 stores it: once; whatever is not ours is refused with the reason."""

import copy
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from genlock_core.errors import SnapshotRefused
from genlock_core.media import SourcePosition
from genlock_core.slo import sink_digests
from genlock_core.stream_state.snapshot import Snapshot, decode, encode_delta
from genlock_worker.engines.contract import ChunkState, EngineState, SinkReplacement
from genlock_worker.rows.checkpoint import Checkpoint
from genlock_worker.snapshots import first_format
from genlock_worker.snapshots.second_format import attributes, to_checkpoint

DIGEST = "ab" * 32
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8), json_values, max_size=4)


RUNS, CAPTURES_US = st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1)


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    count, chunk = draw(st.integers(0, 5)), draw(st.integers(5, 2**40))
    chunks, positions = [], {}
    for index in range(chunk + 1 - count, chunk + 1):
        rows = draw(st.integers(1, 5))
        chunks.append(
            ChunkState(
                index=index,
                steps=draw(st.integers(1, rows)),
                rows=rows,
                done=draw(st.integers(0, rows - 1)),
                first_frame=draw(st.integers(0, 2**40)),
                latents=draw(st.integers(1, 9)),
                pictures=draw(st.integers(1, 33)),
                attributes=draw(objects),
            )
        )
        positions[index] = tuple(draw(st.lists(st.builds(SourcePosition, RUNS, CAPTURES_US), min_size=1, max_size=5)))
    digests = tuple(draw(st.lists(st.sampled_from(["", DIGEST, "0" * 64]), max_size=5)))
    replacement = draw(st.none() | st.builds(SinkReplacement, st.integers(0, 255), st.integers(0, 2**40)))
    state = EngineState(chunk, tuple(chunks), draw(objects), {}, sink_replacement=replacement, sink_digests=digests)
    return Checkpoint(state, positions, SourcePosition(3, 99))


def stored(one: Checkpoint) -> Snapshot:
    return Snapshot("s", "m", 2, 5, one.state.chunk, "0-0", attributes(one), {}, {}, one.source, one.positions)


def demo() -> Snapshot:
    chunks = tuple(
        ChunkState(index, 2, 3, 2 - place, index + 1, 1, 4, {"level": [0.5, 3]}) for place, index in enumerate((8, 9))
    )
    state = EngineState(9, chunks, {"format": 1}, {}, sink_digests=(DIGEST, ""))
    return stored(
        Checkpoint(state, {8: (SourcePosition(3, 99),), 9: (SourcePosition(3, 133),)}, SourcePosition(3, 133))
    )


@given(checkpoints())
def test_a_checkpoint_comes_back_from_its_bytes_as_it_was(one: Checkpoint) -> None:
    delta = encode_delta(stored(one), written={})
    again = to_checkpoint(decode(delta.head, delta.blocks, session="s", model="m"))
    assert again == one


def test_the_form_is_the_one_that_is_written_down() -> None:
    assert demo().attributes == {
        "engine": {"format": 1},
        "inFlight": [
            {
                "index": index,
                "steps": 2,
                "rows": 3,
                "done": done,
                "source": {"run": 3, "captureUs": us},
                "firstFrame": index + 1,
                "latents": 1,
                "pictures": 4,
                "engine": {"level": [0.5, 3]},
            }
            for index, done, us in ((8, 2, 99), (9, 1, 133))
        ],
        "sinkReplacement": None,
        "sinkDigests": {"version": 1, "rows": [DIGEST, ""]},
    }


def test_it_says_what_format_1_said() -> None:
    """A chunk whose sizes are the usual ones goes from the one format to the other and back."""
    checkpoint = to_checkpoint(demo())
    chunks = tuple(replace(chunk, steps=chunk.rows) for chunk in checkpoint.state.in_flight)
    checkpoint = replace(checkpoint, state=replace(checkpoint.state, in_flight=chunks, sink_digests=()))
    older = replace(demo(), format=1, attributes=first_format.attributes(checkpoint))
    assert first_format.to_checkpoint(older) == checkpoint


def test_a_pending_replacement_of_a_sink_is_one_for_all_rows() -> None:
    changed = copy.deepcopy(dict(demo().attributes))
    changed["sinkReplacement"] = {"row": 1, "sink": 2, "frame": 40}
    checkpoint = to_checkpoint(replace(demo(), attributes=changed))
    assert checkpoint.state.sink_replacement == SinkReplacement(sink=2, frame=40)
    assert stored(checkpoint).attributes["sinkReplacement"] == {"row": 0, "sink": 2, "frame": 40}


def test_digests_that_were_made_by_another_rule_are_left() -> None:
    changed = copy.deepcopy(dict(demo().attributes))
    changed["sinkDigests"] = {"version": sink_digests.VERSION + 1, "rows": ["0" * 64]}
    assert to_checkpoint(replace(demo(), attributes=changed)).state.sink_digests == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a["inFlight"].pop(), r"chunks \[8\] are in flight, which are not the last ones"),
        (lambda a: a["inFlight"].reverse(), r"chunks \[9, 8\] are in flight, which are not the last ones"),
        (lambda a: a["inFlight"].append(a["inFlight"][1]), "which are not the last ones"),
        (lambda a: a["inFlight"][0].update(done=3), "chunk 8 has 3 rows, of which 3 are done for 2 steps"),
        (lambda a: a["inFlight"][0].update(steps=4), "chunk 8 has 3 rows, of which 2 are done for 4 steps"),
        (lambda a: a["inFlight"][0].update(latents=0), "attributes: inFlight.0.latents: "),
        (lambda a: a["inFlight"][0].update(pictures=1.5), "attributes: inFlight.0.pictures: "),
        (lambda a: a["inFlight"][0].update(done=True), "attributes: inFlight.0.done: "),
        (lambda a: a["inFlight"][0].update(firstFrame=-1), "attributes: inFlight.0.firstFrame: "),
        (lambda a: a["inFlight"][0].update(more=1), "attributes: inFlight.0.more: "),
        (lambda a: a["inFlight"][0]["source"].pop("run"), "attributes: inFlight.0.source.run: "),
        (lambda a: a.pop("engine"), "attributes: engine: "),
        (lambda a: a.pop("sinkReplacement"), "attributes: sinkReplacement: "),
        (lambda a: a["sinkDigests"].update(rows=[1]), "attributes: sinkDigests.rows.0: "),
        (lambda a: a.update(flights=[]), "attributes: flights: "),
    ],
)
def test_what_is_damaged_is_refused_with_the_reason(change: Any, reason: str) -> None:
    damaged = copy.deepcopy(dict(demo().attributes))
    change(damaged)
    with pytest.raises(SnapshotRefused, match=reason):
        to_checkpoint(replace(demo(), attributes=damaged))


def places(value: JsonValue, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to every part of a JSON value but the whole."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: list[tuple[str | int, ...]] = []
    for key, part in parts:
        found += [(*path, key), *places(part, (*path, key))]
    return found


@given(st.data(), json_values)
def test_whatever_stands_in_a_place_is_refused_or_can_be_stored_again(data: st.DataObject, value: JsonValue) -> None:
    damaged = copy.deepcopy(dict(demo().attributes))
    *way, last = data.draw(st.sampled_from(places(cast("JsonValue", damaged))))
    part: Any = damaged
    for key in way:
        part = part[key]
    part[last] = value
    try:
        checkpoint = to_checkpoint(replace(demo(), attributes=damaged))
    except SnapshotRefused as refusal:
        assert refusal.reason  # noqa: PT017
        return
    assert to_checkpoint(stored(checkpoint)) == checkpoint


@given(json_values)
def test_attributes_of_any_form_are_refused(value: JsonValue) -> None:
    with pytest.raises(SnapshotRefused):
        to_checkpoint(replace(demo(), attributes={"engine": value}))
