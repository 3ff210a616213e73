"""A session's output does not depend on who shares its batch, who was there before it, or how its rows lay in time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from genlock_worker.engines.contract import Change, Chunk, Frames, Row
from genlock_worker.engines.diffusion.config import StreamOptions
from tests.worker.engines.diffusion.streams import (
    BlockVae,
    StreamBatch,
    caches,
    chunk,
    difference,
    engine,
    play,
    settings,
)
from tests.worker.engines.driven import Driven

PLANS = {
    "a": (settings("ink", steps=3, seed=1), 0),
    "b": (settings("oil winter", steps=1, seed=2), 1),
    "c": (settings("neon", steps=2, seed=3, text_only=True), 0),
}
CHANGES = {"a": {3: Change(prompt="oil winter", steps=2)}, "b": {2: Change(steps=4)}, "c": {4: Change(steps=1)}}
CHUNKS = 13
OPTIONS = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=1, sink_delay_chunks=6)
AHEAD = 5
"""Chunks of a session in flight: what it does to the sinks must be decided before a chunk begins."""
SAME = 0.02
"""Levels of 255, mean: float32 sums in another order now and then round to the next level."""


def small_engine() -> Driven:
    return engine(options=OPTIONS, vae=BlockVae())


def source(session: str, index: int) -> Chunk:
    plan, scene = PLANS[session]
    return Chunk(index, None) if plan.text_only else chunk(index, scene=scene)


def begin(stream: StreamBatch) -> None:
    """Change what shall change, and feed the next chunk."""
    stream.one.apply(stream.session, CHANGES[stream.session].get(stream.fed, Change()))
    stream.begin(source(stream.session, stream.fed))


@pytest.fixture(scope="module")
def expected() -> dict[str, list[Frames]]:
    """Every session alone on its engine, chunk after chunk, row after row."""
    outputs = {}
    for session, (plan, _) in PLANS.items():
        one = small_engine()
        one.open(session, plan)
        stream = StreamBatch(one, session)
        for _ in range(CHUNKS):
            begin(stream)
            while stream.chunks_in_flight:
                stream.run(stream.ready()[:1])
        outputs[session] = [stream.outputs[index] for index in range(CHUNKS)]
        assert {cache.replaced_in for cache in caches(one, session)} == {10}
    return outputs


def check(streams: dict[str, StreamBatch], expected: dict[str, list[Frames]]) -> None:
    for session, stream in streams.items():
        assert sorted(stream.outputs) == list(range(CHUNKS))
        for index, output in stream.outputs.items():
            assert difference(output, expected[session][index]) < SAME


@limits(max_examples=6, deadline=None)
@given(data=st.data())
def test_output_depends_neither_on_the_company_nor_on_how_rows_are_grouped_in_time(
    data: st.DataObject, expected: dict[str, list[Frames]]
) -> None:
    one = small_engine()
    streams = {session: StreamBatch(one, session) for session in PLANS}
    for session, (plan, _) in PLANS.items():
        one.open(session, plan)
    while any(len(stream.outputs) < CHUNKS for stream in streams.values()):
        ready = [row for stream in streams.values() for row in stream.ready()]
        hungry = [
            stream
            for stream in streams.values()
            if stream.fed < CHUNKS and 0 not in stream.chunks_in_flight and len(stream.chunks_in_flight) < AHEAD
        ]
        if hungry and (not ready or data.draw(st.booleans())):
            begin(data.draw(st.sampled_from(hungry)))
            continue
        chosen = data.draw(st.lists(st.sampled_from(ready), min_size=1, unique=True))
        results = {result.row: result.output for result in one.run(chosen)}
        for session, stream in streams.items():
            stream.note({row: output for row, output in results.items() if row.session == session})
    check(streams, expected)


def test_a_stream_batch_gives_what_one_row_after_the_other_gives(expected: dict[str, list[Frames]]) -> None:
    one = small_engine()
    streams = {session: StreamBatch(one, session) for session in PLANS}
    for session, (plan, _) in PLANS.items():
        one.open(session, plan)
    while any(len(stream.outputs) < CHUNKS for stream in streams.values()):
        for stream in streams.values():
            if stream.fed < CHUNKS and 0 not in stream.chunks_in_flight:
                begin(stream)
        rows = [row for stream in streams.values() for row in stream.ready()]
        results = {result.row: result.output for result in one.run(rows)}
        for session, stream in streams.items():
            stream.note({row: output for row, output in results.items() if row.session == session})
    check(streams, expected)


def test_who_was_there_before_makes_no_difference_to_a_bit() -> None:
    fresh, used = engine(), engine()
    for name, (plan, scene) in PLANS.items():
        used.open(name, plan)
        play(used, name, range(4), scene=scene, text_only=plan.text_only)
    for name in PLANS:
        used.close(name)
    outputs = []
    for one in (fresh, used):
        one.open("s", settings())
        outputs.append(play(one, "s", range(8)))
    for a, b in zip(*outputs, strict=True):
        assert np.array_equal(a, b)


def test_a_session_opened_again_under_its_name_begins_anew() -> None:
    one = engine(vae=BlockVae())
    outputs = []
    for _ in range(2):
        one.open("s", settings())
        outputs.append(play(one, "s", range(7)))
        one.close("s")
    assert all(np.array_equal(a, b) for a, b in zip(*outputs, strict=True))


def test_a_session_that_fails_leaves_the_others_with_what_they_would_have_had() -> None:
    alone, shared = engine(vae=BlockVae()), engine(vae=BlockVae())
    alone.open("s", settings())
    shared.open("s", settings())
    shared.open("t", settings(seed=8))
    expected = play(alone, "s", range(8))
    outputs = []
    for index in range(8):
        for session in "st":
            shared.feed(session, chunk(index))
        for step in range(2):
            results = shared.run([Row("s", step, index), Row("t", step, index)])
        output = results[0].output
        assert output is not None
        outputs.append(output)
        if index == 3:
            shared.close("t")
            shared.open("t", settings(seed=8))
            play(shared, "t", range(index + 1))
    assert max(difference(a, b) for a, b in zip(outputs, expected, strict=True)) < SAME
