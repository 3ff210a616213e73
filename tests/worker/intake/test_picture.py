"""Pictures of any shape come into the session's as its manifest says: cut off, between bars, or stretched."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.spec.session import PictureFit
from genlock_worker.intake.picture import centre_crop, fit_picture, letterbox

sides = st.integers(1, 4000)


@given(width=sides, height=sides, target_width=st.integers(64, 1920), target_height=st.integers(64, 1920))
def test_a_crop_lies_inside_is_centred_and_has_the_targets_shape(
    width: int, height: int, target_width: int, target_height: int
) -> None:
    crop = centre_crop(width, height, target_width=target_width, target_height=target_height)
    assert crop.x >= 0
    assert crop.y >= 0
    assert 1 <= crop.width <= width - crop.x
    assert 1 <= crop.height <= height - crop.y
    assert crop.width == width or crop.height == height
    assert abs((width - crop.width) - 2 * crop.x) <= 1
    assert abs((height - crop.height) - 2 * crop.y) <= 1
    stretch = crop.width * target_height - crop.height * target_width
    assert abs(stretch) <= max(target_width, target_height)


def test_the_middle_of_a_wide_picture_is_kept() -> None:
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 255
    assert fit_picture(picture, width=64, height=64).min() == 255


def test_a_picture_that_fits_is_not_touched() -> None:
    picture = np.arange(96 * 128 * 3, dtype=np.uint8).reshape(96, 128, 3)
    assert np.array_equal(fit_picture(picture, width=128, height=96), picture)


def test_a_small_picture_grows() -> None:
    assert fit_picture(np.full((10, 10, 3), 7, np.uint8), width=96, height=64).shape == (64, 96, 3)


@given(width=sides, height=sides, target_width=st.integers(64, 1920), target_height=st.integers(64, 1920))
def test_a_whole_picture_lies_inside_is_centred_and_keeps_its_shape(
    width: int, height: int, target_width: int, target_height: int
) -> None:
    place = letterbox(width, height, target_width=target_width, target_height=target_height)
    assert 1 <= place.width <= target_width
    assert 1 <= place.height <= target_height
    assert place.width == target_width or place.height == target_height
    assert 0 <= (target_width - place.width) - 2 * place.x <= 1
    assert 0 <= (target_height - place.height) - 2 * place.y <= 1
    if min(place.width, place.height) > 1:
        assert abs(place.width * height - place.height * width) <= max(width, height)


def test_an_upright_picture_is_whole_between_black_bars() -> None:
    picture = np.full((160, 96, 3), 200, np.uint8)
    picture[0] = picture[-1] = 90
    fitted = fit_picture(picture, width=128, height=96, fit=PictureFit.FIT)
    assert fitted.shape == (96, 128, 3)
    assert fitted[:, :35].max() == fitted[:, -35:].max() == 0
    assert fitted[:, 36:92].min() >= 90
    assert int(fitted[0, 64, 0]) < 180, "its first line is there"


def test_a_stretched_picture_has_all_of_itself_and_no_bars() -> None:
    picture = np.zeros((160, 96, 3), np.uint8)
    picture[:, :48] = 255
    fitted = fit_picture(picture, width=128, height=96, fit=PictureFit.FILL)
    assert fitted[:, :60].min() == 255
    assert fitted[:, 68:].max() == 0
