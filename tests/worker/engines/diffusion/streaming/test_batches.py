"""Several micro-steps under way: booked as they are handed over, judged as the device comes to them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
import torch

from genlock_core.clock import ManualClock
from genlock_worker.engines.contract import (
    BatchResult,
    Change,
    Collected,
    EngineFailure,
    EngineState,
    Frames,
    RestoreResult,
    Row,
    RowResult,
)
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.streaming.device_queue import Reached
from tests.worker.engines.diffusion.deferred import DeferredQueue, StreamsUnderWay
from tests.worker.engines.diffusion.streams import BlockVae, Poison, caches, components, diffusion_engine, settings

SINKS_CHANGE = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=1, sink_delay_chunks=6)
PLANS = {"a": settings("ink", steps=2, seed=1), "b": settings("oil", steps=3, seed=2)}
CHUNKS = 18
STEPS = {"a": {5: 4, 11: 1}, "b": {9: 1, 13: 4}}
"""From these chunks on."""
PROMPTS = {"a": {4: "neon"}, "b": {7: "snow", 8: "ash"}}


def streams(
    depth: int, *, options: StreamOptions = SINKS_CHANGE, forward: object = None, sessions: Sequence[str] = "ab"
) -> StreamsUnderWay:
    queue = DeferredQueue()
    made = diffusion_engine(
        options=options,
        vae=BlockVae(),
        depth=depth,
        queue=queue,
        forward=forward,  # type: ignore[arg-type]
    )
    for session in sessions:
        made.prepare(PLANS[session].prompt)
        made.open(session, PLANS[session])
    return StreamsUnderWay(made, queue)


def run(one: StreamsUnderWay, chunks: range, *, sessions: Sequence[str] = "ab") -> list[dict[str, Future[EngineState]]]:
    """As many rounds as there are chunks: each feeds every session and runs a row of each chunk in flight.

    The states after each round's submission.
    """
    states = []
    for index in chunks:
        for session in sessions:
            steps = [PLANS[session].steps, *(n for since, n in STEPS[session].items() if since <= index)][-1]
            change = Change(prompt=PROMPTS[session].get(index))
            one.feed(session, steps=steps, change=change, scene=index // 6)
        one.step(sessions)
        states.append({session: one.engine.snapshot(session) for session in sessions})
    return states


def shown(result: RowResult) -> Frames:
    assert result.output is not None
    return result.output


def told(states: Sequence[Mapping[str, Future[EngineState]]]) -> list[object]:
    """All of some states, to be compared; the device has come to them."""
    return [
        (
            session,
            state.chunk,
            state.in_flight,
            state.attributes,
            state.sink_digests,
            state.sink_replacement,
            {name: array.tobytes() for name, array in state.head.items()},
            {(name, part): array.tobytes() for name, block in state.blocks.items() for part, array in block.items()},
        )
        for each in states
        for session, taken in each.items()
        for state in [taken.result(20)]
    ]


@pytest.fixture(scope="module")
def one_by_one() -> tuple[Mapping[tuple[str, int], Frames], list[object]]:
    """What is shown with one batch at a time, and the states on the way."""
    one = streams(1)
    states = run(one, range(CHUNKS))
    pictures = one.finish("ab")
    assert one.most == 1
    assert len(pictures) == 2 * CHUNKS
    replaced = [{cache.replaced_in for cache in caches(one.engine, session)} for session in "ab"]
    assert all(None not in each for each in replaced)
    decided = {state.result().sink_replacement for each in states for state in each.values()}
    assert {None if one is None else one.frame for one in decided} == {None, 11, 19}, "the delay and the cooldown apart"
    return pictures, told(states)


@pytest.mark.parametrize("depth", [2, 3])
def test_pictures_and_states_are_the_same_however_many_are_under_way(
    depth: int, one_by_one: tuple[Mapping[tuple[str, int], Frames], list[object]]
) -> None:
    """Sinks are replaced, prompts and steps change meanwhile; to the bit, also states that are taken in between."""
    one = streams(depth)
    states = run(one, range(CHUNKS))
    pictures = one.finish("ab")
    assert one.most == depth
    expected, expected_states = one_by_one
    assert pictures.keys() == expected.keys()
    assert all(np.array_equal(frames, expected[key]) for key, frames in pictures.items())
    assert told(states) == expected_states


def test_nothing_comes_back_before_the_device_has_come_to_it() -> None:
    one = streams(2, sessions="a")
    woken: list[int] = []
    one.engine.call_when_ready(lambda: woken.append(1))
    one.feed("a", steps=2)
    one.submit([Row("a", 0, 0)])
    one.submit([Row("a", 1, 0)])
    assert (list(one.engine.collect()), woken) == ([], [])
    before = one.engine.progress
    assert [one.collect().number for _ in range(2)] == [1, 2]
    assert len(woken) == 2
    assert one.engine.progress >= before + 2


def test_more_than_its_depth_is_refused_and_so_is_a_number_that_is_under_way() -> None:
    one = streams(2, sessions="b")
    one.feed("b", steps=3)
    one.submit([Row("b", 0, 0)])
    with pytest.raises(ValueError, match="a batch 1 is under way already"):
        one.engine.submit(1, [Row("b", 1, 0)])
    one.submit([Row("b", 1, 0)])
    with pytest.raises(ValueError, match="2 batches are under way already"):
        one.engine.submit(3, [Row("b", 2, 0)])
    one.collect()
    one.submit([Row("b", 2, 0)])


def test_a_row_that_is_not_finite_voids_what_is_behind_it_of_its_session_alone() -> None:
    poison = Poison({555.0}, times=0)
    one, clean = streams(3, forward=poison), streams(1)
    for each in (one, clean):
        run(each, range(3))
        each.finish("ab")
        for session in "ab":
            each.feed(session, steps=2)
    one.engine._session("a").chunks_in_flight[3].timesteps = (555.0, 500.0)
    poison.times = 1

    # While the first is under way nobody knows: the next ones are taken, and a chunk and a snapshot as well.
    batches = [Row("a", 0, 3), Row("b", 0, 3)], [Row("b", 1, 3), Row("a", 1, 3)]
    for rows in batches:
        one.submit(rows)
    one.feed("a", steps=2)
    one.submit([Row("a", 0, 4)])
    state = one.engine.snapshot("a")
    found = [one.collect().rows for _ in range(3)]
    assert [[row.failure is None for row in answers] for answers in found] == [[False, True], [True, False], [False]]
    failed = [row for answers in found for row in answers if row.failure]
    assert all("not finite" in (row.failure or "") and row.pictures is None for row in failed)

    # What was taken meanwhile counts for nothing, and says so. Nothing more is taken of it, and what its owner had
    # chosen before it has looked is not run.
    one.queue.go_on()
    with pytest.raises(EngineFailure, match="not finite"):
        one.feed("a", steps=2)
    for taken in (state, one.engine.snapshot("a")):
        with pytest.raises(EngineFailure, match="its state cannot be taken: the network's answer is not finite"):
            taken.result(20)
    tried = poison.rows
    one.submit([Row("a", 1, 4)])
    assert [row.failure is None for row in one.collect().rows] == [False]
    assert poison.rows == tried
    one.engine.close("a")

    # The other one goes on as if nothing had been.
    for rows in batches:
        clean.submit(rows)
        expected = clean.collect().rows
    assert np.array_equal(shown(found[1][0]), shown(expected[0]))
    for each in (one, clean):
        each.results = []
        each.feed("b", steps=2)
    assert np.array_equal(one.finish("b")["b", 4], clean.finish("b")["b", 4])


def test_a_fault_of_the_device_loses_all_that_is_under_way_and_what_comes_after_runs() -> None:
    one = streams(2)
    for session in "ab":
        one.feed(session, steps=2)
    one.submit([Row("a", 0, 0)])
    one.submit([Row("b", 0, 0), Row("a", 1, 0)])
    taken = one.engine.snapshot("a")
    one.queue.fail(RuntimeError("CUDA error: unspecified launch failure"))
    results = one.engine.collect()
    reason = "RuntimeError: CUDA error: unspecified launch failure"
    assert results == [BatchResult(1, lost=reason), BatchResult(2, lost=reason)]
    assert one.engine.collect() == []

    with pytest.raises(EngineFailure, match="a: its state cannot be taken: CUDA error: unspecified launch failure"):
        taken.result(20)

    # Both sessions are void; one that is opened now is not.
    one.under_way = 0
    for session in "ab":
        with pytest.raises(EngineFailure, match="unspecified launch failure"):
            one.engine.snapshot(session).result(20)
        one.engine.close(session)
    assert one.engine.budget.taken == {}
    one.engine.open("c", PLANS["a"])
    one.feed("c", steps=2)
    one.step("c")
    assert one.collect().lost is None


def test_a_batch_that_cannot_be_queued_comes_back_lost_behind_those_before_it() -> None:
    faults: list[Exception] = []

    def forward(batch: RowBatch) -> Denoised:
        if faults:
            raise faults.pop()
        answer: Denoised = components().transformer(batch)
        return answer

    one = streams(2, forward=forward)
    for session in "ab":
        one.feed(session, steps=2)
    one.submit([Row("a", 0, 0)])
    faults.append(RuntimeError("CUDA error: out of resources"))
    one.submit([Row("b", 0, 0)])
    assert one.engine.collect() == []
    taken = one.engine.snapshot("a")
    one.queue.go_on()
    first, second = one.engine.collect()
    assert isinstance(first, BatchResult)
    assert [row.failure for row in first.rows] == [None]
    assert second == BatchResult(2, lost="RuntimeError: CUDA error: out of resources")
    assert taken.result(20).chunk == 0
    with pytest.raises(EngineFailure, match="out of resources"):
        one.engine.snapshot("b").result(20)


def test_memory_of_a_closed_session_is_free_once_every_batch_that_names_it_is_back() -> None:
    one = streams(2)
    pool = one.engine._shared.pool
    for session in "ab":
        one.feed(session, steps=2)
    one.submit([Row("a", 0, 0), Row("b", 0, 0)])
    one.submit([Row("a", 1, 0)])
    taken = one.engine.budget.taken
    free = pool.free
    one.engine.close("a")
    with pytest.raises(ValueError, match="a is not open"):
        one.engine.snapshot("a")
    with pytest.raises(ValueError, match="a is open already"):
        one.engine.open("a", PLANS["a"])
    assert (one.engine.budget.taken, pool.free) == (taken, free)
    one.collect()
    one.engine.close("a")
    assert (one.engine.budget.taken, pool.free) == (taken, free)
    one.collect()
    assert one.engine.budget.taken.keys() == {"b"}
    assert pool.free > free

    # Nobody else noticed, and the name is free.
    one.engine.open("a", PLANS["a"])
    one.submit([Row("b", 1, 0)])
    assert one.collect().rows[0].output is not None


def test_a_decision_that_is_not_collected_is_waited_for() -> None:
    """As long as the delay is longer than what is under way nobody ever does."""
    options = replace(SINKS_CHANGE, sink_delay_chunks=1)
    one = streams(3, options=options, sessions="a")
    one.feed("a", steps=1)
    one.submit([Row("a", 0, 0)])
    one.feed("a", steps=1)
    with pytest.raises(EngineFailure, match="row 0 of chunk 1 may not run before chunk 0 was collected"):
        one.submit([Row("a", 0, 1)])
    one.collect()
    one.submit([Row("a", 0, 1)])


def test_one_row_without_memory_leaves_what_came_before_it() -> None:
    """The batch before turns out well, and its pictures are shown; what comes after is void."""
    full: list[bool] = []

    def forward(batch: RowBatch) -> Denoised:
        if full:
            raise torch.OutOfMemoryError("no room")
        answer: Denoised = components().transformer(batch)
        return answer

    one = streams(3, forward=forward, sessions="a")
    one.feed("a", steps=1)
    one.submit([Row("a", 0, 0)])
    one.feed("a", steps=2)
    full.append(True)
    one.submit([Row("a", 0, 1)])
    full.clear()
    one.submit([Row("a", 1, 1)])
    before, without, after = (one.collect().rows[0] for _ in range(3))
    assert (before.failure, before.output is not None) == (None, True)
    assert "no room" in (without.failure or "")
    assert "no room" in (after.failure or "")


def test_each_batch_tells_its_own_seconds() -> None:
    clock = ManualClock()

    def forward(batch: RowBatch) -> Denoised:
        clock.advance(0.5 * batch.rows)
        answer: Denoised = components().transformer(batch)
        return answer

    queue = DeferredQueue()
    made = diffusion_engine(vae=BlockVae(), queue=queue, forward=forward, clock=clock)
    one = StreamsUnderWay(made, queue)
    for session in "ab":
        made.prepare(PLANS[session].prompt)
        made.open(session, PLANS[session])
    one.feed("a", steps=2)
    one.submit([Row("a", 0, 0)])
    one.feed("b", steps=2)
    one.submit([Row("a", 1, 0), Row("b", 0, 0)])
    queue.go_on()
    first, second = (batch for batch in made.collect() if isinstance(batch, BatchResult))
    assert (first.seconds.rows, second.seconds.rows) == (0.5, 1.0)
    assert first.encoded + second.encoded == 2


class Obliging(DeferredQueue):
    """Goes on as soon as somebody waits for the end of what is queued."""

    def reached(self) -> Reached:
        mark = super().reached()
        if self.obliges:
            self.go_on()
        return mark

    obliges = False


@pytest.mark.parametrize("begins", ["anew", "from a state"])
def test_a_session_that_begins_again_where_memory_is_full_waits_for_what_its_former_generation_has(begins: str) -> None:
    plan, queue = PLANS["a"], Obliging()
    fits = diffusion_engine(vae=BlockVae()).session_bytes(plan)
    made = diffusion_engine(vae=BlockVae(), queue=queue, limit_bytes=fits + fits // 2)
    made.prepare(plan.prompt)
    made.open("a#1", plan)
    one = StreamsUnderWay(made, queue)
    one.feed("a#1", steps=2)
    one.submit([Row("a#1", 0, 0)])
    taken = made.snapshot("a#1")
    queue.go_on()
    state = taken.result(20)
    one.submit([Row("a#1", 1, 0)])
    made.close("a#1")
    queue.obliges = True
    if begins == "anew":
        made.open("a#2", plan)
    else:
        made.restore("a#2", plan, state)
        told = list[Collected]()
        while RestoreResult("a#2") not in told:
            told += made.collect()
        assert [one.number for one in told if isinstance(one, BatchResult)] == [1, 2]
    assert made.budget.taken == {"a#2": fits}
    assert made.session_memory("a#1") is None

    # Only what leaves is waited for.
    with pytest.raises(EngineFailure, match="refused"):
        made.open("b", PLANS["b"])
