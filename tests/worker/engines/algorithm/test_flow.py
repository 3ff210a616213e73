from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.algorithm import flow

# Recorded from the StreamDiffusionV2 reference (Apache-2.0).
RECORDED = Path(__file__).parents[1] / "diffusion" / "golden" / "scheduler.npz"


def test_every_level_is_the_recorded_one() -> None:
    with np.load(RECORDED, allow_pickle=False) as recorded:
        for timestep, level in zip(recorded["timesteps"], recorded["sigmas"], strict=True):
            assert flow.sigma(float(timestep)) == pytest.approx(float(level), abs=1e-6)


def test_a_timestep_between_two_levels_takes_the_nearest_as_recorded() -> None:
    with np.load(RECORDED, allow_pickle=False) as recorded:
        for timestep, level in zip(recorded["lookup_t"], recorded["lookup_sigma"], strict=True):
            assert flow.sigma(int(timestep)) == pytest.approx(float(level), abs=1e-6)


@given(st.floats(0, 1000), st.floats(0, 1000))
def test_a_later_timestep_never_has_less_noise(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0.0 < flow.sigma(low) <= flow.sigma(high) <= 1.0


def test_fewer_steps_are_the_first_of_the_list() -> None:
    assert [flow.step_list(steps, text_only=False) for steps in (1, 2, 4)] == [
        (700,),
        (700, 500),
        (700, 500, 400, 200),
    ]


def test_a_session_without_a_camera_ends_with_a_clean_row() -> None:
    assert flow.step_list(1, text_only=True) == (1000, 0)
    assert flow.step_list(4, text_only=True) == (1000, 750, 500, 250, 0)


@pytest.mark.parametrize("steps", [0, 5])
def test_step_counts_that_there_are_not_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="steps must be 1 to 4"):
        flow.step_list(steps, text_only=False)
