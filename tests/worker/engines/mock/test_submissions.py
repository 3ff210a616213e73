"""Several batches under way: order, verdicts, a lost device, ends, snapshots, refusals; pictures stay to the byte."""

import threading
import weakref
from concurrent.futures import CancelledError

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from genlock_worker.engines.contract import Change, EngineFailure, EngineState, Row
from genlock_worker.engines.mock import MockEngine
from genlock_worker.engines.mock.device import Faults
from genlock_worker.engines.readiness import ChunkInFlight, may_run
from tests.worker.engines.driven import Driven
from tests.worker.engines.mock.streams import bare_engine, chunk, engine, play, settings
from tests.worker.engines.mock.submissions import Collector, Held

PLANS = {
    "a": (settings("ink", steps=3, seed=1), 0),
    "b": (settings("oil winter", steps=2, seed=2), 1),
    "c": (settings("neon", steps=1, seed=3), 2),
}
CHUNKS = 4


def played(session: str) -> list[bytes]:
    """What a session gives alone, one batch at a time."""
    one = engine()
    plan, scene = PLANS[session]
    one.open(session, plan)
    outputs = play(one, session, range(CHUNKS), scene=scene)
    one.engine.stop()
    return [output.tobytes() for output in outputs]


@pytest.fixture(scope="module")
def alone() -> dict[str, list[bytes]]:
    return {session: played(session) for session in PLANS}


def play_on(mock: MockEngine, name: str, plan: str) -> list[bytes]:
    """Open a session under a name of its own and play it as `played` does."""
    driven = Driven(mock)
    settings_, scene = PLANS[plan]
    driven.open(name, settings_)
    return [output.tobytes() for output in play(driven, name, range(CHUNKS), scene=scene)]


def open_and_feed(mock: MockEngine, *sessions: str) -> None:
    for session in sessions:
        plan, scene = PLANS[session]
        mock.open(session, plan)
        mock.feed(session, chunk(0, scene=scene), steps=plan.steps)


class Late(Faults):
    """Holds back what it is told to."""

    def __init__(self, late: frozenset[int]) -> None:
        self._late = late

    def held_back(self, number: int) -> bool:
        return number in self._late


@limits(max_examples=25)
@given(data=st.data(), depth=st.sampled_from([3, 4]), late=st.frozensets(st.integers(1, 40)))
def test_outputs_with_answers_out_of_order_equal_those_of_one_batch_at_a_time(
    data: st.DataObject, depth: int, late: frozenset[int], alone: dict[str, list[bytes]]
) -> None:
    mock = bare_engine(depth=depth, faults=Late(late))
    collector = Collector(mock)
    for session, (plan, _) in PLANS.items():
        mock.open(session, plan)
    chunks: dict[str, list[ChunkInFlight]] = {session: [] for session in PLANS}
    outputs: dict[str, dict[int, bytes]] = {session: {} for session in PLANS}
    under_way: dict[int, list[Row]] = {}
    fed = dict.fromkeys(PLANS, 0)
    number = 0

    while any(len(found) < CHUNKS for found in outputs.values()):
        hungry = [session for session in PLANS if fed[session] < CHUNKS]
        ready = [
            Row(session, one.submitted, one.index)
            for session, held in chunks.items()
            for place, one in enumerate(held)
            if may_run(one.submitted, one, held[:place], mock.needs)
        ]
        actions = ["collect"] if under_way else []
        if hungry:
            actions.append("feed")
        if ready and len(under_way) < depth:
            actions.append("submit")

        match data.draw(st.sampled_from(actions)):
            case "feed":
                session = data.draw(st.sampled_from(hungry))
                plan, scene = PLANS[session]
                mock.feed(session, chunk(fed[session], scene=scene), steps=plan.steps)
                chunks[session].append(ChunkInFlight(index=fed[session], rows=plan.steps))
                fed[session] += 1
            case "submit":
                rows = data.draw(st.lists(st.sampled_from(ready), min_size=1, unique=True))
                number += 1
                mock.submit(number, rows)
                under_way[number] = rows
                for row in rows:
                    next(one for one in chunks[row.session] if one.index == row.chunk).submitted += 1
            case _:
                came = data.draw(st.sampled_from(sorted(under_way)))
                under_way.pop(came)
                for result in collector.batch(came).rows:
                    session = result.row.session
                    one = next(one for one in chunks[session] if one.index == result.row.chunk)
                    one.collected += 1
                    chunks[session] = [one for one in chunks[session] if not one.is_complete]
                    if result.output is not None:
                        outputs[session][result.row.chunk] = result.output.tobytes()

    mock.stop()
    assert {session: [found[index] for index in sorted(found)] for session, found in outputs.items()} == alone


def test_answers_of_two_sessions_come_out_of_order() -> None:
    faults = Held(late=frozenset({1}))
    mock = bare_engine(depth=2, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0)])
    mock.submit(2, [Row("b", 0, 0)])
    faults.go.set()
    collector.batch(1)
    collector.batch(2)
    assert collector.order == [2, 1]


def test_answers_of_one_session_come_in_order() -> None:
    faults = Held(late=frozenset({1, 2}))
    mock = bare_engine(depth=3, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0)])
    mock.submit(2, [Row("a", 1, 0), Row("b", 0, 0)])
    mock.submit(3, [Row("b", 1, 0)])
    faults.go.set()
    collector.batch(3)
    assert collector.order == [1, 2, 3]


def test_a_failure_that_comes_late_is_its_sessions_alone(alone: dict[str, list[bytes]]) -> None:
    faults = Held(bad={Row("a", 0, 0): "not finite"})
    mock = bare_engine(depth=3, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0), Row("b", 0, 0)])
    mock.submit(2, [Row("b", 1, 0), Row("a", 1, 0)])
    snapshot = mock.snapshot("a")
    faults.go.set()

    assert [result.failure for result in collector.batch(1).rows] == ["not finite", None]
    good, bad = collector.batch(2).rows
    assert (good.failure, bad.failure, bad.pictures) == (None, "not finite", None)
    assert good.output is not None
    assert good.output.tobytes() == alone["b"][0]
    assert collector.batch(1).lost is collector.batch(2).lost is None
    with pytest.raises(EngineFailure, match="a: its state cannot be taken: not finite"):
        snapshot.result()

    mock.close("a")
    assert play_on(mock, "a2", "a") == alone["a"]


def test_a_lost_device_loses_what_was_submitted_and_works_again(alone: dict[str, list[bytes]]) -> None:
    faults = Held(lost_with=1)
    mock = bare_engine(depth=3, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "a", "b", "c")
    mock.submit(1, [Row("a", 0, 0)])
    mock.submit(2, [Row("b", 0, 0)])
    faults.go.set()
    for number in (1, 2):
        result = collector.batch(number)
        assert (result.lost, result.rows) == ("it fell off the bus", ())

    # What was open is gone, too; a batch that is submitted now is computed, and says so.
    mock.submit(3, [Row("c", 0, 0)])
    after = collector.batch(3)
    assert after.lost is None
    assert [row.failure for row in after.rows] == ["it fell off the bus"]

    for session in ("a", "b", "c"):
        mock.close(session)
        assert play_on(mock, f"{session}2", session) == alone[session]


def test_what_is_submitted_after_a_loss_was_told_is_not_lost() -> None:
    faults = Held(lost_with=1)
    mock = bare_engine(depth=3, faults=faults)
    told, go_on = threading.Event(), threading.Event()

    def wake() -> None:
        told.set()
        go_on.wait()

    mock.call_when_ready(wake)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0)])
    mock.submit(2, [Row("b", 0, 0)])
    faults.go.set()

    # The device has told of batch 1, and has not come to batch 2.
    assert told.wait(20)
    collected = list(mock.collect())
    open_and_feed(mock, "c")
    mock.submit(3, [Row("c", 0, 0)])
    go_on.set()

    collector = Collector(mock)
    assert [getattr(one, "number", None) for one in collected] == [1]
    assert collector.batch(3).lost is None
    assert collector.batch(3).rows[0].output is not None
    assert collector.batch(2).lost == "it fell off the bus"


def test_a_session_is_closed_with_batches_under_way(alone: dict[str, list[bytes]]) -> None:
    faults = Held()
    mock = bare_engine(depth=3, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0), Row("b", 0, 0)])
    mock.submit(2, [Row("a", 1, 0)])
    mock.close("a")
    with pytest.raises(ValueError, match="a is not open"):
        mock.submit(3, [Row("a", 2, 0)])
    mock.submit(3, [Row("b", 1, 0)])
    faults.go.set()

    for number in (1, 2, 3):
        assert collector.batch(number).lost is None
    assert collector.batch(3).rows[0].pictures is not None
    assert play_on(mock, "a2", "a") == alone["a"]


def same(one: EngineState, other: EngineState) -> bool:
    """Whether two states are the same to the byte."""

    def parts(state: EngineState) -> object:
        arrays = {name: array.tobytes() for name, array in state.head.items()}
        blocks = {
            name: {part: array.tobytes() for part, array in block.items()} for name, block in state.blocks.items()
        }
        return state.chunk, state.in_flight, state.attributes, arrays, blocks, state.sink_digests

    return parts(one) == parts(other)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_snapshot_is_the_state_after_exactly_what_was_submitted(rows: int) -> None:
    states = []
    for goes_on in (False, True):
        faults = Held()
        mock = bare_engine(depth=4, faults=faults)
        collector = Collector(mock)
        open_and_feed(mock, "a")
        faults.go.set()
        for step in range(3):
            mock.submit(step + 1, [Row("a", step, 0)])
            collector.batch(step + 1)

        faults.go.clear()
        mock.feed("a", chunk(1), steps=3)
        for step in range(rows):
            mock.submit(10 + step, [Row("a", step, 1)])
        snapshot = mock.snapshot("a")
        if goes_on:
            mock.apply("a", Change(prompt="pastel", noise_scale=0.3))
            mock.submit(20, [Row("a", rows, 1)])
            mock.feed("a", chunk(2), steps=2)
        faults.go.set()
        states.append(snapshot.result(20))
        mock.stop()

    assert states[0].in_flight[0].done == rows
    assert same(states[0], states[1])


def test_what_goes_on_after_a_snapshot_changes_nothing_in_it() -> None:
    """The comparison sees a difference where there is one."""
    mock = engine()
    mock.open("a", settings(steps=2))
    play(mock, "a", range(2))
    before = mock.snapshot("a")
    play(mock, "a", range(2, 3))
    assert same(before, before)
    assert not same(before, mock.snapshot("a"))


def test_a_batch_beyond_the_depth_is_refused_and_nothing_is_taken(alone: dict[str, list[bytes]]) -> None:
    faults = Held()
    mock = bare_engine(depth=2, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "b", "c")
    mock.submit(1, [Row("b", 0, 0)])
    mock.submit(2, [Row("b", 1, 0)])
    with pytest.raises(ValueError, match="2 batches are under way already"):
        mock.submit(3, [Row("c", 0, 0)])
    faults.go.set()

    assert collector.batch(1).rows[0].failure is None
    mock.submit(3, [Row("c", 0, 0)])
    (row,) = collector.batch(3).rows
    assert row.output is not None
    assert row.output.tobytes() == alone["c"][0]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([Row("b", 0, 0), Row("b", 0, 0)], "there twice"),
        ([Row("b", 0, 0), Row("b", 1, 0)], "there twice"),
        ([Row("b", 0, 0), Row("a", 0, 0)], "may not run yet"),
        ([Row("b", 0, 0), Row("a", 2, 0)], "may not run yet"),
        ([Row("b", 0, 0), Row("a", 1, 1)], "not in flight"),
        ([Row("b", 0, 0), Row("a", -1, 0)], "may not run yet"),
        ([Row("b", 0, 0), Row("z", 0, 0)], "z is not open"),
        ([], "no rows"),
    ],
)
def test_rows_that_cannot_be_taken_are_refused_and_nothing_is_taken(
    rows: list[Row], reason: str, alone: dict[str, list[bytes]]
) -> None:
    mock = bare_engine(depth=2)
    collector = Collector(mock)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0)])
    collector.batch(1)
    with pytest.raises((ValueError, EngineFailure), match=reason):
        mock.submit(2, rows)

    # Had one of them been taken, it could not be submitted now, or depth would be used up.
    mock.submit(2, [Row("b", 0, 0)])
    mock.submit(3, [Row("b", 1, 0), Row("a", 1, 0)])
    (last, _) = collector.batch(3).rows
    assert last.output is not None
    assert last.output.tobytes() == alone["b"][0]


def test_a_number_that_is_under_way_is_refused() -> None:
    faults = Held()
    mock = bare_engine(depth=2, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0)])
    with pytest.raises(ValueError, match="a batch 1 is under way already"):
        mock.submit(1, [Row("b", 0, 0)])
    faults.go.set()
    assert [result.row.session for result in collector.batch(1).rows] == ["a"]
    mock.submit(2, [Row("b", 0, 0)])
    assert collector.batch(2).rows[0].failure is None


def test_a_restoration_that_fails_leaves_the_name_free_and_the_others_alone(alone: dict[str, list[bytes]]) -> None:
    faults = Held()
    mock = bare_engine(depth=2, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "c")
    state = mock.snapshot("c")
    faults.go.set()
    broken = EngineState(chunk=0, in_flight=(), attributes={}, head={})
    mock.restore("d", PLANS["c"][0], broken)
    mock.submit(1, [Row("c", 0, 0)])

    assert "cannot be restored" in (collector.restored("d").failure or "")
    output = collector.batch(1).rows[0].output
    assert output is not None
    assert output.tobytes() == alone["c"][0]

    mock.restore("d", PLANS["c"][0], state.result(20))
    with pytest.raises(ValueError, match="open already"):
        mock.restore("d", PLANS["c"][0], state.result(20))
    mock.submit(2, [Row("d", 0, 0)])
    restored = collector.batch(2).rows[0].output
    assert restored is not None
    assert restored.tobytes() == alone["c"][0]


def test_a_device_that_hangs_makes_no_progress_while_commands_arrive() -> None:
    faults = Held()
    mock = bare_engine(depth=2, faults=faults)
    collector = Collector(mock)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0)])
    assert faults.reached.wait(20)
    before = mock.progress
    mock.submit(2, [Row("b", 0, 0)])
    mock.apply("a", Change(prompt="pastel"))
    mock.feed("a", chunk(1), steps=3)
    assert mock.collect() == []
    assert mock.progress == before

    faults.go.set()
    collector.batch(2)
    assert mock.progress >= before + 2


def devices() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "mock device"}


def started(others: set[threading.Thread]) -> threading.Thread:
    (thread,) = devices() - others
    return thread


def test_stop_ends_the_thread_and_cancels_the_snapshots_that_wait() -> None:
    others, faults = devices(), Held()
    mock = bare_engine(depth=3, faults=faults)
    thread = started(others)
    open_and_feed(mock, "a", "b")
    mock.submit(1, [Row("a", 0, 0)])
    mock.submit(2, [Row("b", 0, 0)])
    snapshot = mock.snapshot("a")
    assert faults.reached.wait(20)
    threading.Timer(0.1, faults.go.set).start()
    mock.stop()

    assert not thread.is_alive()
    assert [getattr(one, "number", None) for one in mock.collect()] == [1]
    with pytest.raises(CancelledError):
        snapshot.result(0)


def test_stop_does_not_wait_for_a_device_that_hangs() -> None:
    others, faults = devices(), Held()
    mock = bare_engine(faults=faults)
    thread = started(others)
    open_and_feed(mock, "a")
    mock.submit(1, [Row("a", 0, 0)])
    assert faults.reached.wait(20)
    mock.stop()
    assert thread.is_alive()
    faults.go.set()
    thread.join(20)
    assert not thread.is_alive()


def test_an_engine_that_nobody_has_ends_its_thread() -> None:
    others = devices()
    mock = bare_engine()
    thread, dropped = started(others), weakref.ref(mock)
    collector = Collector(mock)
    open_and_feed(mock, "a")
    mock.submit(1, [Row("a", 0, 0)])
    collector.batch(1)
    del mock, collector
    thread.join(20)
    assert not thread.is_alive()
    assert dropped() is None
