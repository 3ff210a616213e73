import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genlock_core.sizing.candidates import PoolShape
from genlock_core.sizing.profile import ProfileRow
from genlock_core.sizing.quality import StepQualities, qualities_of
from genlock_core.spec.session import Resolution, ResolvedSession, SessionKey, StreamSessionSpec, resolve

POOL = PoolShape("p", "wan2.1-1.3b", "H100", 1, "diffusion")


def session(**changes: Any) -> ResolvedSession:
    return resolve(SessionKey(name="demo"), StreamSessionSpec(steps=4)).model_copy(update=changes)


def row(steps: int, quality: float | None, **changes: Any) -> ProfileRow:
    plain: dict[str, Any] = {
        "model": "wan2.1-1.3b", "resolution": Resolution(width=832, height=480), "gpu_product": "H100", "gpus": 1,
        "fps_per_session": 30, "engine": "diffusion", "source": "a test",
    }  # fmt: skip
    return ProfileRow(**{**plain, "steps": steps, "quality": quality, **changes})


def qualities(*rows: ProfileRow) -> StepQualities:
    return qualities_of(session(), rows, POOL)


def at(steps: int, *rows: ProfileRow) -> float:
    return qualities(*rows).by_steps[steps - 1]


def test_what_was_measured_counts_and_what_was_not_is_told_as_guessed() -> None:
    found = qualities(row(4, 1.0), row(3, 0.97), row(1, 0.2))
    assert found == StepQualities((0.2, 0.5, 0.97, 1.0), guessed=(2,), doubtful=())


def test_without_any_measurement_the_quality_is_the_share_of_steps() -> None:
    found = qualities(row(4, None))
    assert found.by_steps == (0.25, 0.5, 0.75, 1.0)
    assert found.is_guessed
    assert not qualities(row(1, 0.25)).is_guessed


def test_steps_that_nobody_measured_look_no_worse_than_measured_fewer_ones() -> None:
    assert qualities(row(4, 1.0), row(1, 0.9)).by_steps == (0.9, 0.9, 0.9, 1.0)


def test_a_quality_that_grows_when_steps_fall_is_taken_as_equal_and_told_as_doubtful() -> None:
    found = qualities(row(4, 0.9), row(3, 0.8), row(2, 0.85), row(1, 0.7))
    assert found.by_steps == (0.7, 0.8, 0.8, 0.9)
    assert found.doubtful == (2,)


def test_the_picture_of_another_gpu_is_the_same_but_the_pools_own_is_nearer() -> None:
    assert at(2, row(2, 0.8, gpu_product="L4")) == 0.8
    assert at(2, row(2, 0.8, gpu_product="L4"), row(2, 0.7)) == 0.7
    assert at(2, row(2, 0.7, doubtful=True), row(2, 0.8, gpu_product="L4")) == 0.8


def test_another_model_another_size_and_figures_for_the_mock_say_nothing() -> None:
    others = [
        row(2, 0.9, model="wan2.1-14b"),
        row(2, 0.9, resolution=Resolution(width=512, height=512)),
        row(2, 0.9, engine="mock"),
    ]
    assert qualities(*others).is_guessed


@pytest.mark.parametrize("quality", [math.nan, math.inf, -0.1, 1.1])
def test_a_profile_with_a_quality_that_is_none_is_refused(quality: float) -> None:
    with pytest.raises(ValidationError):
        row(2, quality)


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 1), st.booleans()), max_size=8))
def test_fewer_steps_never_look_better_whatever_was_measured(measured: list[tuple[int, float, bool]]) -> None:
    found = qualities(*(row(steps, quality, doubtful=doubtful) for steps, quality, doubtful in measured))
    assert list(found.by_steps) == sorted(found.by_steps)
    assert all(0 <= quality <= 1 for quality in found.by_steps)
    assert set(found.guessed) == {1, 2, 3, 4} - {steps for steps, _, _ in measured}
