from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.algorithm import noise

# Recorded from the StreamDiffusionV2 reference (Apache-2.0).
RECORDED = Path(__file__).parents[1] / "diffusion" / "golden" / "noise_controller.npz"


def test_a_draw_depends_on_its_key_alone() -> None:
    first = noise.draw(seed=7, chunk=3, step=1, shape=(2, 4, 5, 3))
    noise.draw(seed=7, chunk=4, step=1, shape=(2, 4, 5, 3))
    assert np.array_equal(first, noise.draw(seed=7, chunk=3, step=1, shape=(2, 4, 5, 3)))
    others = [(8, 3, 1), (7, 4, 1), (7, 3, 2), (-7, 3, 1)]
    for seed, chunk, step in others:
        assert not np.array_equal(first, noise.draw(seed=seed, chunk=chunk, step=step, shape=(2, 4, 5, 3)))


def test_motion_is_the_largest_step_including_the_one_from_the_chunk_before() -> None:
    def flat(value: int) -> np.ndarray:
        return np.full((8, 8, 3), value, np.uint8)

    frames = np.stack([flat(100), flat(110), flat(105)])
    assert noise.motion(frames, None) == pytest.approx(10 / 127.5)
    assert noise.motion(frames, flat(40)) == pytest.approx(60 / 127.5)


def test_the_controller_follows_the_written_formula() -> None:
    still = noise.next_level(noise_scale=0.8, moved=0.0, previous=0.8)
    assert still.scale == 0.9 * (0.8 - 0.1 * 0.0) + (1 - 0.9) * 0.8
    assert still.timestep == int(1000 * still.scale) - 100
    wild = noise.next_level(noise_scale=0.8, moved=5.0, previous=0.8)
    assert wild.scale == pytest.approx(0.71)
    assert noise.first_level(0.8) == noise.NoiseLevel(0.8, 700)


def test_the_controller_decides_as_recorded_over_six_clips() -> None:
    """The recorded clips lie between the levels of 8-bit pictures, so their motion is computed here."""
    with np.load(RECORDED, allow_pickle=False) as recorded:
        clips, scales, timesteps = recorded["video"][:, 0], recorded["noise_scale"], recorded["current_step"]
    scale = 0.8
    for clip, recorded_scale, timestep in zip(clips, scales, timesteps, strict=True):
        moved = float(np.sqrt(np.square(np.diff(clip, axis=1)).mean((0, 2, 3))).max())
        pictures = np.rint((clip + 1) * 127.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 3, 0)
        assert noise.motion(pictures[1:], pictures[0]) == pytest.approx(moved, abs=1e-3)
        level = noise.next_level(noise_scale=0.8, moved=moved, previous=scale)
        scale = level.scale
        assert scale == pytest.approx(recorded_scale, abs=1e-7)
        assert level.timestep == timestep


@given(st.floats(0, 1), st.lists(st.floats(0, 2), max_size=30))
def test_noise_never_exceeds_its_bound_nor_falls_more_than_a_tenth_below(bound: float, motions: list[float]) -> None:
    scale = noise.first_level(bound).scale
    for moved in motions:
        level = noise.next_level(noise_scale=bound, moved=moved, previous=scale)
        scale = level.scale
        assert max(bound - 0.1, 0.0) - 1e-9 <= scale <= bound + 1e-9
        assert 0 <= level.timestep <= 900
