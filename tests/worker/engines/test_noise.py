import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines import noise


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


@given(st.floats(0, 1), st.lists(st.floats(0, 2), max_size=30))
def test_noise_never_exceeds_its_bound_nor_falls_more_than_a_tenth_below(bound: float, motions: list[float]) -> None:
    scale = noise.first_level(bound).scale
    for moved in motions:
        level = noise.next_level(noise_scale=bound, moved=moved, previous=scale)
        scale = level.scale
        assert max(bound - 0.1, 0.0) - 1e-9 <= scale <= bound + 1e-9
        assert 0 <= level.timestep <= 900
