import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genlock_core.approximation.levels import Level
from genlock_core.approximation.quality import LevelQualities, qualities_of
from genlock_core.sizing.placement import PoolShape
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.session import Resolution, ResolvedSession, SessionKey, StreamSessionSpec, resolve

POOL = PoolShape("p", "wan2.1-1.3b", "H100", 1, "diffusion")
LEVELS = [Level(steps) for steps in (4, 3, 2, 1)]


def session(**changes: Any) -> ResolvedSession:
    return resolve(SessionKey(name="demo"), StreamSessionSpec(steps=4)).model_copy(update=changes)


def row(steps: int, quality: float | None, **changes: Any) -> ProfileRow:
    plain: dict[str, Any] = {
        "model": "wan2.1-1.3b", "resolution": Resolution(width=832, height=480), "gpu_product": "H100", "gpus": 1,
        "fps_per_session": 30, "engine": "diffusion", "source": "a test",
    }  # fmt: skip
    return ProfileRow(**{**plain, "steps": steps, "quality": quality, **changes})


def qualities(*rows: ProfileRow, levels: list[Level] = LEVELS) -> LevelQualities:
    return qualities_of(session(), levels, rows, POOL)


def told(found: LevelQualities) -> list[float]:
    return list(found.by_level.values())


def test_what_was_measured_counts_and_what_was_not_is_told_as_unprofiled() -> None:
    found = qualities(row(4, 1.0), row(3, 0.97), row(1, 0.2))
    assert told(found) == [1.0, 0.97, 0.5, 0.2]
    assert found.unprofiled == ("quality at 2 steps",)
    assert found.doubtful == ()


def test_without_any_measurement_the_quality_is_the_share_of_steps() -> None:
    found = qualities(row(4, None))
    assert told(found) == [1.0, 0.75, 0.5, 0.25]
    assert len(found.unprofiled) == 4


def test_a_level_that_nobody_measured_looks_no_worse_than_a_measured_lower_one() -> None:
    assert told(qualities(row(4, 1.0), row(1, 0.9))) == [1.0, 0.9, 0.9, 0.9]


def test_a_quality_that_grows_when_steps_fall_is_taken_as_equal_and_told_as_doubtful() -> None:
    found = qualities(row(4, 0.9), row(3, 0.8), row(2, 0.85), row(1, 0.7))
    assert told(found) == [0.9, 0.8, 0.8, 0.7]
    assert found.doubtful == ("2 steps is profiled to look better than 3 steps (0.85)",)


def test_every_second_frame_halves_what_the_steps_leave_of_the_picture() -> None:
    found = qualities(row(1, 0.6), levels=[Level(1), Level(1, every=2)])
    assert told(found) == [0.6, 0.3]


def test_the_picture_of_another_gpu_is_the_same_but_the_pools_own_is_nearer() -> None:
    assert told(qualities(row(2, 0.8, gpu_product="L4"), levels=[Level(2)])) == [0.8]
    assert told(qualities(row(2, 0.8, gpu_product="L4"), row(2, 0.7), levels=[Level(2)])) == [0.7]
    assert told(qualities(row(2, 0.7, doubtful=True), row(2, 0.8, gpu_product="L4"), levels=[Level(2)])) == [0.8]


def test_another_model_another_size_and_figures_for_the_mock_say_nothing() -> None:
    others = [
        row(2, 0.9, model="wan2.1-14b"),
        row(2, 0.9, resolution=Resolution(width=512, height=512)),
        row(2, 0.9, engine="mock"),
    ]
    assert told(qualities(*others, levels=[Level(2)])) == [0.5]


@pytest.mark.parametrize("quality", [math.nan, math.inf, -0.1, 1.1])
def test_a_profile_with_a_quality_that_is_none_is_refused(quality: float) -> None:
    with pytest.raises(ValidationError):
        row(2, quality)


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 1), st.booleans()), max_size=8), st.integers(1, 4))
def test_no_lower_level_looks_better_whatever_was_measured(measured: list[tuple[int, float, bool]], every: int) -> None:
    rows = [row(steps, quality, doubtful=doubtful) for steps, quality, doubtful in measured]
    found = qualities(*rows, levels=[*LEVELS, Level(1, every=every)])
    values = list(found.by_level.values())
    assert values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 for value in values)
