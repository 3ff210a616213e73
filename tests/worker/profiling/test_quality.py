import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import Chunk, EngineFailure, Fed
from genlock_worker.engines.mock import MockEngine, StepTiming
from genlock_worker.profiling.quality import LevelQuality, contradictions, measure_quality, quality_of

SIZE = Resolution(width=64, height=64)


class WatchedEngine(MockEngine):
    """Remembers what each stream was fed; takes at most so many steps where memory is short."""

    def __init__(self, most: int = 4) -> None:
        clock = ManualClock()
        super().__init__("tiny", StepTiming(StepTime(0.01, 0.01)), clock, clock.advance)
        self.most = most
        self.fed: dict[int, list[bytes]] = {}

    def feed(self, session: str, chunk: Chunk, *, steps: int) -> Fed:
        assert chunk.frames is not None
        self.fed.setdefault(steps, []).append(chunk.frames.tobytes())
        fed = super().feed(session, chunk, steps=steps)
        return Fed(steps=min(steps, self.most), rows=fed.rows)


def measured(engine: MockEngine, *steps: int) -> list[LevelQuality]:
    return list(measure_quality(engine, SIZE, steps, begins=lambda _: None, chunks=3))


def test_each_level_is_compared_with_the_most_steps_over_the_same_input() -> None:
    engine = WatchedEngine()
    found = measured(engine, 1, 2, 3, 4)
    assert [one.steps for one in found] == [4, 3, 2, 1]
    assert found[0].ssim == pytest.approx(1.0)
    assert found[0].quality == pytest.approx(1.0)
    assert all(0 < one.quality < 1 for one in found[1:])
    assert found[1].quality > found[3].quality  # the mock's hand gets coarser with fewer steps
    assert all(fed == engine.fed[4] for fed in engine.fed.values())


def test_the_most_steps_are_the_measure_also_where_nobody_asked_for_them() -> None:
    asked_alone, asked_for_all = measured(WatchedEngine(), 1), measured(WatchedEngine(), 1, 2, 3, 4)
    assert [one.steps for one in asked_alone] == [4, 1]
    assert asked_alone == [asked_for_all[0], asked_for_all[3]]


def test_every_level_is_told_before_it_begins() -> None:
    told: list[int] = []
    for one in measure_quality(WatchedEngine(), SIZE, [2], begins=told.append, chunks=3):
        assert told[-1] == one.steps
    assert told == [4, 2]


def test_an_engine_that_runs_fewer_steps_than_asked_for_is_not_taken_for_that_level() -> None:
    engine = WatchedEngine(most=3)
    with pytest.raises(EngineFailure, match="3 steps instead of 4"):
        measured(engine, 1)


def test_flicker_of_its_own_makes_a_level_worse_and_less_of_it_makes_it_no_better() -> None:
    assert quality_of(0.8, 0.01, 0.01) == pytest.approx(0.8)
    assert quality_of(0.8, 0.0, 0.01) == pytest.approx(0.8)
    assert quality_of(0.8, 0.01, 0.0) == pytest.approx(0.4)
    assert quality_of(-0.2, 0.0, 0.0) == 0


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_quality_is_a_share(similar: float, flickers: float, best: float) -> None:
    assert 0 <= quality_of(similar, flickers, best) <= 1


def test_fewer_steps_that_look_better_are_told_as_doubtful() -> None:
    rising = [LevelQuality(steps, 1, 0, quality) for steps, quality in ((4, 1.0), (2, 0.7), (1, 0.75))]
    (told,) = contradictions(rising)
    assert told == "quality 0.750 at 1 step is more than 0.700 at 2 steps: doubtful, they are taken to look the same"
    assert contradictions(rising[:2]) == []
