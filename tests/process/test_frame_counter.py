import itertools

import cv2
import numpy as np

from genlock_cli.encoded_source import test_card as card
from tests.process.frame_counter import read_counter


def test_the_counter_is_read_back_also_from_a_smeared_picture() -> None:
    for number, frame in enumerate(itertools.islice(card(832, 480), 40)):
        picture = frame.to_ndarray(format="rgb24")
        assert read_counter(np.asarray(picture, np.uint8)) == number
        assert read_counter(np.asarray(cv2.GaussianBlur(picture, (0, 0), 4) // 2 + 40, np.uint8)) == number


def test_a_picture_without_a_counter_is_not_read() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (480, 832, 3), dtype=np.uint8)
    assert read_counter(noise) is None
    assert read_counter(np.zeros((480, 832, 3), np.uint8)) is None
