"""Snapshot and restore, to the byte."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from numpy.typing import NDArray

from genlock_worker.engines.contract import Change, Chunk, EngineFailure, EngineState, Frames, Row
from tests.worker.engines.driven import Driven
from tests.worker.engines.mock.streams import chunk, engine, play, settings


def stored(state: EngineState) -> EngineState:
    """The state as it is after a way through JSON and bytes."""

    def copies(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        return {k: np.frombuffer(v.tobytes(), v.dtype).reshape(v.shape) for k, v in arrays.items()}

    return replace(
        state,
        in_flight=tuple(
            replace(one, attributes=json.loads(json.dumps(dict(one.attributes)))) for one in state.in_flight
        ),
        attributes=json.loads(json.dumps(dict(state.attributes))),
        head=copies(state.head),
        blocks={name: copies(arrays) for name, arrays in state.blocks.items()},
    )


def advance(mock: Driven, session: str, fed: int, done: list[int], rounds: int, steps: int) -> list[Frames]:
    """Stream batch: each round feeds a chunk and runs one row of each chunk in flight; `done` counts rows per chunk.

    Chunk 0 goes first, all of it.
    """
    outputs: list[Frames] = []
    for index in range(fed, fed + rounds):
        mock.feed(session, chunk(index))
        done.append(0)
        for number, rows in enumerate(done):
            if rows < steps and (number == 0 or done[0] == steps):
                output = mock.run([Row(session, rows, number)])[0].output
                done[number] += 1
                outputs += [] if output is None else [output]
    return outputs


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("boundary", [1, 2, 4, 7])
def test_a_restored_stream_goes_on_to_the_byte_with_rows_in_flight(steps: int, boundary: int) -> None:
    mock, done = engine(), list[int]()
    plan = settings("oil dusk", steps=steps)
    mock.open("s", plan)
    advance(mock, "s", 0, done, boundary, steps)
    state = stored(mock.snapshot("s"))
    other, other_done = engine(), list(done)
    other.restore("s", plan, state)
    assert other.sink_digest("s") == mock.sink_digest("s")
    expected = advance(mock, "s", boundary, done, 6, steps)
    found = advance(other, "s", boundary, other_done, 6, steps)
    assert len(expected) >= 3
    assert [output.tobytes() for output in found] == [output.tobytes() for output in expected]
    assert other.sink_digest("s") == mock.sink_digest("s")


CHANGES = st.dictionaries(
    st.integers(0, 7),
    st.builds(
        Change,
        prompt=st.sampled_from([None, "neon", "ink winter", "my own thing"]),
        steps=st.sampled_from([None, 1, 2, 3, 4]),
        noise_scale=st.sampled_from([None, 0.4, 0.8]),
    ),
    max_size=4,
)


@limits(max_examples=10, deadline=None)
@given(changes=CHANGES, boundary=st.integers(1, 7), rows_first=st.integers(0, 4))
def test_restore_is_exact_amid_changes_of_prompt_steps_and_noise(
    changes: dict[int, Change], boundary: int, rows_first: int
) -> None:
    mock = engine()
    plan = settings(steps=2)
    mock.open("s", plan)
    play(mock, "s", range(boundary), changes=changes)
    mock.apply("s", changes.get(boundary, Change()))
    steps = mock.feed("s", chunk(boundary))
    ran = min(rows_first, steps - 1)
    for step in range(ran):
        mock.run([Row("s", step, boundary)])
    mock.apply("s", Change(prompt="pastel", steps=4))
    other = engine()
    other.restore("s", plan, stored(mock.snapshot("s")))
    # The next chunk's steps come with the chunk: they are not the engine's to remember.
    other.apply("s", Change(steps=4))
    results = []
    for each in (mock, other):
        outputs = [each.run([Row("s", step, boundary)])[0].output for step in range(ran, steps)]
        last = outputs[-1]
        assert last is not None
        later = play(each, "s", range(boundary + 1, boundary + 4), changes=changes)
        results.append([last.tobytes(), *(output.tobytes() for output in later)])
    assert results[0] == results[1]


def test_a_session_without_a_source_is_restored_to_the_byte() -> None:
    mock, other = engine(), engine()
    plan = settings("neon city", text_only=True)
    mock.open("s", plan)
    play(mock, "s", range(3), text_only=True)
    other.restore("s", plan, stored(mock.snapshot("s")))
    for a, b in zip(
        play(mock, "s", range(3, 6), text_only=True), play(other, "s", range(3, 6), text_only=True), strict=True
    ):
        assert np.array_equal(a, b)


def test_a_snapshot_does_not_change_while_the_stream_goes_on() -> None:
    mock, done = engine(), list[int]()
    mock.open("s", settings(steps=3))
    advance(mock, "s", 0, done, 5, 3)
    state = mock.snapshot("s")
    kept = stored(state)
    advance(mock, "s", 5, done, 8, 3)
    after = stored(state)
    assert after.attributes == kept.attributes
    assert all(np.array_equal(after.head[name], kept.head[name]) for name in kept.head)
    for name, arrays in kept.blocks.items():
        assert all(np.array_equal(after.blocks[name][part], value) for part, value in arrays.items())


def test_blocks_are_immutable_and_few_are_new_per_chunk() -> None:
    mock = engine()
    mock.open("s", settings(steps=2))
    play(mock, "s", range(6))
    before = stored(mock.snapshot("s"))
    play(mock, "s", range(6, 7))
    after = stored(mock.snapshot("s"))
    assert set(after.blocks) - set(before.blocks) == {"r0.f7", "r1.f7"}
    for name in set(after.blocks) & set(before.blocks):
        assert all(np.array_equal(before.blocks[name][k], v) for k, v in after.blocks[name].items())


def test_a_snapshot_at_480p_stays_small() -> None:
    mock = engine()
    plan = replace(settings(steps=2), width=832, height=480)
    mock.open("s", plan)
    noise = np.random.default_rng(1).integers(0, 255, (5, 480, 832, 3), np.uint8)
    mock.feed("s", Chunk(0, noise))
    mock.run([Row("s", 0, 0)])
    state = mock.snapshot("s")
    assert max(sum(a.nbytes for a in block.values()) for block in state.blocks.values()) < 50_000
    assert sum(a.nbytes for a in state.head.values()) < 6 * 200_000


IN_FLIGHT = {
    "other chunk": {"index": 2},
    "more rows": {"rows": 3},
    "too many steps": {"steps": 5, "rows": 5},
    "too few rows": {"done": -1},
    "all rows": {"done": 2},
    "other latents": {"latents": 2},
    "other pictures": {"pictures": 5},
}
"""What a damaged state says of chunk 3, which has run one row of two."""


def damaged(state: EngineState, what: str) -> EngineState:
    attributes, head, blocks = dict(state.attributes), dict(state.head), dict(state.blocks)
    in_flight = state.in_flight
    if what == "sink":
        del blocks["r0.f1"]
    elif what == "shape":
        blocks["r0.f1"] = {**blocks["r0.f1"], "latent": np.zeros((2, 2, 3), np.float16)}
    elif what == "swapped":
        blocks["r0.f1"] = blocks["r0.f2"]
    elif what == "input":
        head["c3.frame0"] = np.zeros(40, np.uint8)
    elif what == "hidden":
        del head["c3.hidden"]
    elif what == "format":
        attributes["format"] = 99
    elif what == "prompts":
        attributes["prompts"] = {"00": "other"}
    elif what in IN_FLIGHT:
        in_flight = (replace(in_flight[0], **IN_FLIGHT[what]),)  # type: ignore[arg-type]
    else:
        del attributes["rings"]
    return replace(state, in_flight=in_flight, attributes=attributes, head=head, blocks=blocks)


@pytest.mark.parametrize(
    "what", ["sink", "shape", "swapped", "input", "hidden", "format", "prompts", "rings", *IN_FLIGHT]
)
def test_damaged_state_is_refused_and_opens_nothing(what: str) -> None:
    mock = engine()
    plan = settings(steps=2)
    mock.open("s", plan)
    play(mock, "s", range(3))
    mock.feed("s", chunk(3))
    mock.run([Row("s", 0, 3)])
    state = stored(mock.snapshot("s"))
    with pytest.raises(EngineFailure, match="cannot be restored"):
        mock.restore("t", plan, damaged(state, what))
    mock.restore("t", plan, state)


@pytest.mark.parametrize("other", [{"seed": 8}, {"width": 64}, {"text_only": True}, {"frame_rate": 30}])
def test_state_of_another_session_is_refused(other: dict[str, int]) -> None:
    mock = engine()
    mock.open("s", settings())
    play(mock, "s", range(2))
    with pytest.raises(EngineFailure, match="another session"):
        mock.restore("t", replace(settings(), **other), mock.snapshot("s"))  # type: ignore[arg-type]
