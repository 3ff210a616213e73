import itertools

import cv2
import numpy as np
import pytest

from genlock_cli.encoded_source import test_card as card
from tests.process.frame_counter import read_counter, without_cross_fades


def test_the_counter_is_read_back_also_from_a_smeared_picture() -> None:
    for number, frame in enumerate(itertools.islice(card(832, 480), 40)):
        picture = frame.to_ndarray(format="rgb24")
        assert read_counter(np.asarray(picture, np.uint8)) == number
        assert read_counter(np.asarray(cv2.GaussianBlur(picture, (0, 0), 4) // 2 + 40, np.uint8)) == number


def test_a_picture_without_a_counter_is_not_read() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (480, 832, 3), dtype=np.uint8)
    assert read_counter(noise) is None
    assert read_counter(np.zeros((480, 832, 3), np.uint8)) is None


@pytest.mark.parametrize(
    ("shown", "meant"),
    [
        ([39, 40, 40, 47, 46, 46, 47, 48], [39, 40, 40, 46, 46, 47, 48]),
        ([1, 1, 11, 11, 10, 14], [1, 1, 11, 11, 14]),
        ([3, 4, 7, 9, 10], [3, 4, 7, 9, 10]),
    ],
)
def test_a_picture_that_is_half_of_each_neighbour_is_not_read(shown: list[int], meant: list[int]) -> None:
    assert without_cross_fades(shown) == meant


@pytest.mark.parametrize("shown", [[5, 6, 5], [5, 7, 6], [46, 47, 46, 47], [40, 46, 41, 47], [8, 9, 10, 2], [3, 1]])
def test_a_frame_that_comes_after_a_later_one_stays_a_step_back(shown: list[int]) -> None:
    assert without_cross_fades(shown) != sorted(without_cross_fades(shown))
