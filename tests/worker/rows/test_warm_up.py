"""What is run before a worker is ready: everything that a session can do for the first time, at every size."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from genlock_core.clock import ManualClock
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import CapturedGraphs, Chunk, EngineFailure, Fed, Row, StreamSettings
from genlock_worker.engines.mock import EffortPolicy, MockEngine, StepTiming
from genlock_worker.engines.stepwise import BatchLost
from genlock_worker.rows.warm_up import WARM_UP, WarmedUp, WarmUp, WarmUpPlan, live_a_little
from tests.worker.rows.tiny_engine import TinyEngine

SETTINGS = StreamSettings("oil", 2, 64, 64, 16, seed=1, noise_scale=0.7)
SQUARE, WIDE, TALL = (Resolution(width=w, height=h) for w, h in ((64, 64), (128, 64), (64, 128)))
PLAN = WarmUpPlan(SETTINGS, (SQUARE, WIDE, TALL))


class Sized(TinyEngine):
    """An engine with room for sessions of some sizes."""

    def __init__(self, *, room_for: Sequence[Resolution], clock: ManualClock) -> None:
        super().__init__(warms_each_size=True)
        self._room_for = room_for
        self._clock = clock
        self.opened = list[Resolution]()

    def open(self, session: str, settings: StreamSettings) -> None:
        size = Resolution(width=settings.width, height=settings.height)
        if size not in self._room_for:
            raise EngineFailure(session, "refused: 7 MiB are free")
        super().open(session, settings)
        self.opened.append(size)
        self._clock.advance(2.0)


def warm_up(engine: TinyEngine, plan: WarmUpPlan, clock: ManualClock) -> tuple[WarmedUp, list[str]]:
    told = list[str]()
    return WarmUp(engine, clock, told.append).run(plan), told


def test_a_session_of_each_size_is_run_and_told_while_it_is() -> None:
    clock = ManualClock()
    engine = Sized(room_for=PLAN.sizes, clock=clock)
    warmed_up, told = warm_up(engine, PLAN, clock)
    assert engine.opened == [SQUARE, WIDE, TALL]
    assert told == ["a session of 64x64", "a session of 128x64", "a session of 64x128", "graphs"]
    assert warmed_up == WarmedUp(6.0, (SQUARE, WIDE, TALL), ())
    assert str(warmed_up) == "warmed up in 6.0 s for 64x64, 128x64, 64x128"
    assert not engine.open_sessions


def test_where_sizes_are_alike_the_usual_one_is_enough() -> None:
    clock = ManualClock()
    engine = Sized(room_for=PLAN.sizes, clock=clock)
    engine.warms_each_size = False
    warmed_up, _ = warm_up(engine, PLAN, clock)
    assert engine.opened == [SQUARE]
    assert warmed_up.sizes == (SQUARE,)


def test_a_size_that_does_not_fit_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    warmed_up, _ = warm_up(Sized(room_for=[SQUARE, TALL], clock=clock), PLAN, clock)
    assert warmed_up.sizes == (SQUARE, TALL)
    assert str(warmed_up) == (
        "warmed up in 4.0 s for 64x64, 64x128; without a session of 128x64 (refused: 7 MiB are free)"
    )
    assert "a session of 128x64 cannot run here" in caplog.text


def test_graphs_are_for_the_sizes_that_there_is_room_for_and_what_they_lack_is_told() -> None:
    clock = ManualClock()
    engine = Sized(room_for=[SQUARE, TALL], clock=clock)
    engine.graphs = CapturedGraphs(13, 3 * 2**20, ("a graph of 16 rows of 64x64 (out of memory)",))
    warmed_up, told = warm_up(engine, PLAN, clock)
    assert engine.captured == [SQUARE, TALL]
    assert told[-1] == "graphs", "sessions are run before: what happens for the first time is in no graph"
    assert str(warmed_up) == (
        "warmed up in 4.0 s for 64x64, 64x128; 13 graphs of 3 MiB; without a session of 128x64 (refused: 7 MiB are "
        "free); without a graph of 16 rows of 64x64 (out of memory)"
    )
    assert (warmed_up.graphs, warmed_up.graph_bytes, len(warmed_up.lacks)) == (13, 3 * 2**20, 2)


def test_an_engine_without_room_for_the_usual_size_does_not_start() -> None:
    clock = ManualClock()
    with pytest.raises(EngineFailure, match="7 MiB"):
        warm_up(Sized(room_for=[WIDE], clock=clock), PLAN, clock)


def test_a_card_that_is_lost_meanwhile_ends_the_start_and_is_no_size_that_does_not_fit() -> None:
    clock = ManualClock()
    engine = Sized(room_for=PLAN.sizes, clock=clock)
    engine.failures = [RuntimeError("CUDA error: device lost")]
    with pytest.raises(BatchLost, match="device lost"):
        warm_up(engine, PLAN, clock)
    assert not engine.open_sessions


def test_rows_of_two_chunks_share_a_forward_and_the_session_is_restored() -> None:
    engine = TinyEngine()
    live_a_little(engine, SETTINGS)
    assert (Row(WARM_UP, 1, 2), Row(WARM_UP, 0, 3)) in engine.batches
    assert engine.restored == [f"{WARM_UP} again"]
    assert engine.prepared == ["oil", "ink"]
    assert not engine.open_sessions


class Cramped(TinyEngine):
    """An engine with memory for sessions of one step."""

    def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        return super().feed(session, chunk, steps=min(steps, 1))


def test_a_session_of_one_step_is_enough_where_there_is_no_memory_for_two() -> None:
    engine = Cramped()
    live_a_little(engine, SETTINGS)
    assert all(row.step == 0 for batch in engine.batches for row in batch)
    assert {row.chunk for batch in engine.batches for row in batch} == {0, 1, 2, 3, 4}


def test_the_mock_engine_warms_up() -> None:
    clock = ManualClock()
    engine = MockEngine("tiny", StepTiming.instant(), clock, lambda _: None, devices=1, depth=2, effort=EffortPolicy())
    try:
        assert WarmUp(engine, clock, lambda _: None).run(replace(PLAN, sizes=(SQUARE,))).sizes == (SQUARE,)
    finally:
        engine.stop()
