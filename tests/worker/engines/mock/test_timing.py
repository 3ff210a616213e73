"""The mock's clock: the fit of core, for the size that the figures are of, and in proportion for others."""

import pytest

from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import CHUNK_FRAMES
from genlock_worker.engines.mock.timing import StepTiming

H100_480P = {1: 20.47, 2: 17.97, 3: 15.68, 4: 13.95}


def test_a_chunk_of_the_measured_size_takes_what_the_fit_says() -> None:
    timing = StepTiming.from_fps(H100_480P, width=832, height=480)
    fit = StepTime.from_fps(H100_480P, chunk_frames=CHUNK_FRAMES)
    for rows in range(1, 9):
        assert timing.seconds(rows=rows, width=832, height=480, frames=4) == fit.seconds(rows)


def test_a_larger_picture_and_a_longer_chunk_take_longer() -> None:
    timing = StepTiming.from_fps(H100_480P, width=832, height=480)
    one = timing.seconds(rows=1, width=832, height=480, frames=4)
    assert timing.seconds(rows=1, width=1664, height=480, frames=4) == pytest.approx(2 * one)
    assert timing.seconds(rows=1, width=832, height=480, frames=5) == pytest.approx(1.25 * one)


def test_without_a_size_the_size_does_not_matter() -> None:
    timing = StepTiming.from_fps(H100_480P)
    small, large = (timing.seconds(rows=2, width=side, height=side, frames=4) for side in (64, 1024))
    assert small == large == pytest.approx(4 / 17.97, rel=0.02)


def test_no_rows_take_no_time() -> None:
    assert StepTiming(StepTime(base_s=1.0, row_s=1.0)).seconds(rows=0, width=64, height=64, frames=4) == 0.0


def test_the_instant_engine_takes_no_time() -> None:
    assert StepTiming.instant().seconds(rows=4, width=832, height=480, frames=5) == 0.0
