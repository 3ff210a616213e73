"""SSIM against its definition, window by window; flicker against pictures whose flicker is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genlock_worker.profiling.similarity import Luma, flicker, luma, ssim

SIDE = 16


def by_definition(first: Luma, second: Luma) -> float:
    """Wang et al. 2004, equations 13 to 17, written out for each window of 11x11."""
    at = np.arange(11) - 5
    bell = np.exp(-(at**2) / (2 * 1.5**2))
    weights = np.outer(bell, bell) / np.outer(bell, bell).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    found = []
    for top in range(first.shape[0] - 10):
        for left in range(first.shape[1] - 10):
            x = first[top : top + 11, left : left + 11].astype(np.float64)
            y = second[top : top + 11, left : left + 11].astype(np.float64)
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            variance_x = (weights * (x - mean_x) ** 2).sum()
            variance_y = (weights * (y - mean_y) ** 2).sum()
            covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
            found.append(
                (2 * mean_x * mean_y + c1)
                * (2 * covariance + c2)
                / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
            )
    return float(np.mean(found))


pictures = arrays(np.float32, (SIDE, SIDE), elements=st.integers(0, 255).map(float))


@given(pictures, pictures)
@settings(max_examples=20, deadline=None)
def test_ssim_is_what_its_definition_says_of_every_window(first: Luma, second: Luma) -> None:
    assert ssim(first, second) == pytest.approx(by_definition(first, second), abs=1e-9)
    assert ssim(first, second) == pytest.approx(ssim(second, first), abs=1e-12)
    assert ssim(first, first) == pytest.approx(1.0, abs=1e-12)


def noise(sigma: float) -> Luma:
    scene = np.add.outer(np.arange(64.0), np.arange(64.0))
    drawn = np.random.default_rng(0).normal(0, sigma, scene.shape)
    return np.asarray(np.clip(scene + drawn, 0, 255), np.float32)


def test_more_noise_is_less_alike() -> None:
    values = [ssim(noise(0), noise(sigma)) for sigma in (1, 5, 20, 60)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.3 < 0.9 < values[0]


@pytest.mark.parametrize("other", [(16, 17), (10, 16)])
def test_pictures_that_cannot_be_compared_are_refused(other: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot compare pictures"):
        ssim(np.zeros(other, np.float32), np.zeros((10, 16), np.float32))


def flat(*lights: float) -> Luma:
    return np.stack([np.full((SIDE * 2, SIDE * 2), light, np.float32) for light in lights])


def test_light_that_goes_up_and_down_flickers_by_the_smaller_of_both_ways() -> None:
    assert flicker(flat(100, 110, 100)) == pytest.approx(10 / 255)
    assert flicker(flat(100, 110, 104)) == pytest.approx(6 / 255)
    assert flicker(flat(0, 255, 0, 255)) == pytest.approx(1.0)


@pytest.mark.parametrize("lights", [(100, 110, 120), (100, 100, 100), (100, 110), (100, 100, 110)])
def test_a_still_and_light_that_goes_on_in_one_direction_do_not_flicker(lights: tuple[float, ...]) -> None:
    assert flicker(flat(*lights)) == 0


def test_flicker_at_one_place_counts_by_its_share_of_the_picture() -> None:
    clip = flat(100, 100, 100)
    clip[1, :SIDE, :SIDE] += 20
    assert flicker(clip) == pytest.approx(20 / 255 / 4)


def test_luma_weighs_green_most_and_keeps_grey() -> None:
    colours = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [77, 77, 77]]]], np.uint8)
    red, green, blue, grey = luma(colours)[0, 0]
    assert green > red > blue > 0
    assert math.isclose(grey, 77)
