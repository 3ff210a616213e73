from collections.abc import Sequence

import pytest

from genlock_core.clock import ManualClock
from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import Chunk, EngineFailure, Fed, Row, StreamSettings
from genlock_worker.engines.mock import MockEngine, StepTiming
from genlock_worker.engines.mock.device import DeviceLost, Faults
from genlock_worker.engines.stepwise import BatchLost
from genlock_worker.profiling.measure import CATCH_UP_S, Effort, Measurement, Skipped, measure, measure_all
from genlock_worker.profiling.plan import Combination, combinations, parse_resolution

SIZE = 64
EFFORT = Effort(seconds=0.0, chunks=4)
BASE_S, ROW_S = 0.1, 0.05


class Known:
    """A meter that knows the bytes."""

    def begin(self) -> None:
        pass

    def session_bytes(self, session: str) -> int | None:
        return 1_000

    def resident_bytes(self) -> int | None:
        return 5_000


class SmallEngine(MockEngine):
    """Has a place for so many rows; watches that sessions are closed and that no prompt is used unprepared."""

    def __init__(self, clock: ManualClock, *, rows: int = 64) -> None:
        super().__init__("tiny", StepTiming(StepTime(BASE_S, ROW_S)), clock, clock.advance)
        self.rows_free = rows
        self.open_sessions = dict[str, int]()
        self.prepared = set[str]()
        self.batches: list[int] = []

    def prepare(self, prompt: str) -> None:
        self.prepared.add(prompt)

    def open(self, session: str, settings: StreamSettings) -> None:
        assert settings.prompt in self.prepared
        if settings.steps > self.rows_free:
            raise EngineFailure(session, "refused: no memory")
        super().open(session, settings)
        self.rows_free -= settings.steps
        self.open_sessions[session] = settings.steps

    def close(self, session: str) -> None:
        super().close(session)
        self.rows_free += self.open_sessions.pop(session, 0)

    def submit(self, number: int, rows: Sequence[Row]) -> None:
        self.batches.append(len(rows))
        super().submit(number, rows)


def one(steps: int, sessions: int) -> Combination:
    return Combination(SIZE, SIZE, steps, sessions)


def measured(combination: Combination) -> tuple[Measurement, SmallEngine]:
    clock = ManualClock()
    engine = SmallEngine(clock)
    return measure(engine, combination, clock=clock, memory=Known(), effort=EFFORT), engine


@pytest.mark.parametrize(("steps", "sessions"), [(1, 1), (3, 1), (2, 3)])
def test_all_rows_of_all_sessions_share_a_forward_and_the_figures_follow_its_time(steps: int, sessions: int) -> None:
    result, engine = measured(one(steps, sessions))
    step_s = BASE_S + ROW_S * steps * sessions
    assert engine.batches[-EFFORT.chunks :] == [steps * sessions] * EFFORT.chunks
    assert result.fps_per_session == pytest.approx(4 / step_s)
    assert result.micro_step_ms == pytest.approx(1000 * step_s)
    assert result.latencies_ms == pytest.approx([steps * step_s * 1000] * EFFORT.chunks)
    first_s = (BASE_S + ROW_S) * steps * 5 / 4
    assert result.first_frame_ms == pytest.approx((CATCH_UP_S + first_s) * 1000)
    assert (result.bytes_per_session, result.bytes_resident) == (1_000, 5_000)


def test_a_measurement_lasts_as_long_as_it_was_told() -> None:
    clock = ManualClock()
    engine = SmallEngine(clock)
    measure(engine, one(1, 1), clock=clock, memory=Known(), effort=Effort(seconds=30.0, chunks=1))
    assert sum(engine.batches) * (BASE_S + ROW_S) >= 30.0


def test_no_session_is_left_behind_also_when_it_fails() -> None:
    _, engine = measured(one(2, 2))
    assert engine.open_sessions == {}
    clock = ManualClock()
    full = SmallEngine(clock, rows=3)
    with pytest.raises(EngineFailure):
        measure(full, one(2, 2), clock=clock, memory=Known(), effort=EFFORT)
    assert full.open_sessions == {}


def test_fewer_steps_than_asked_for_are_no_measurement() -> None:
    class Short(SmallEngine):
        def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
            return super().feed(session, chunk, steps=steps - 1)

    clock = ManualClock()
    with pytest.raises(EngineFailure, match="1 steps instead of 2"):
        measure(Short(clock), one(2, 1), clock=clock, memory=Known(), effort=EFFORT)


def test_what_does_not_fit_is_skipped_with_all_that_need_as_much() -> None:
    clock = ManualClock()
    engine, told = SmallEngine(clock, rows=3), list[tuple[str, bool]]()
    plan = combinations([parse_resolution("64x64")], [1, 2], [1, 2, 4])
    outcomes = list(
        measure_all(
            engine,
            plan,
            clock=clock,
            memory=Known(),
            effort=EFFORT,
            begins=lambda combination, left_s: told.append((str(combination), left_s is not None)),
        )
    )
    done = [outcome.combination for outcome in outcomes if isinstance(outcome, Measurement)]
    skipped = {(o.combination.steps, o.combination.sessions): o.reason for o in outcomes if isinstance(o, Skipped)}
    assert [(combination.steps, combination.sessions) for combination in done] == [(1, 1), (1, 2), (2, 1)]
    assert skipped[1, 4] == "profile/3: refused: no memory"
    assert skipped[2, 4] == "needs as much as 64x64, 1 step, 4 sessions"
    assert skipped.keys() == {(1, 4), (2, 4), (2, 2)}
    assert [is_known for _, is_known in told] == [False, True, True, True, True]


def test_a_batch_that_the_device_loses_is_not_taken_for_a_lack_of_memory() -> None:
    class Lost(Faults):
        def begins(self, number: int, rows: Sequence[Row]) -> None:
            raise DeviceLost("the bus is gone")

    clock = ManualClock()
    engine = MockEngine("tiny", StepTiming.instant(), clock, clock.advance, faults=Lost())
    with pytest.raises(BatchLost, match="the bus is gone"):
        list(measure_all(engine, [one(1, 1)], clock=clock, memory=Known(), effort=EFFORT, begins=lambda *_: None))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    class Broken(SmallEngine):
        def submit(self, number: int, rows: Sequence[Row]) -> None:
            raise RuntimeError("a bug")

    clock = ManualClock()
    with pytest.raises(RuntimeError, match="a bug"):
        list(
            measure_all(Broken(clock), [one(1, 1)], clock=clock, memory=Known(), effort=EFFORT, begins=lambda *_: None)
        )
