"""Which chunk a session may be fed next."""

from dataclasses import replace

import numpy as np
import pytest

from genlock_worker.engines.contract import Chunk, StreamSettings
from genlock_worker.engines.input_check import check_chunk

SETTINGS = StreamSettings("ink", 2, width=96, height=64, frame_rate=16, seed=1, noise_scale=0.7)
TEXT_ONLY = replace(SETTINGS, text_only=True)


def chunk(index: int, *shape: int, kind: type = np.uint8) -> Chunk:
    return Chunk(index, np.zeros(shape, kind))


@pytest.mark.parametrize(("index", "frames"), [(0, 5), (1, 4), (7, 4)])
def test_the_next_chunk_with_its_number_of_frames_is_let_in(index: int, frames: int) -> None:
    check_chunk(chunk(index, frames, 64, 96, 3), SETTINGS, expected=index)
    check_chunk(Chunk(index, None), TEXT_ONLY, expected=index)


@pytest.mark.parametrize("index", [0, 1, 3])
def test_another_chunk_is_refused(index: int) -> None:
    for settings, one in ((SETTINGS, chunk(index, 4, 64, 96, 3)), (TEXT_ONLY, Chunk(index, None))):
        with pytest.raises(ValueError, match=f"chunk 2 comes next, not {index}"):
            check_chunk(one, settings, expected=2)


def test_a_session_with_a_source_is_not_fed_without_frames() -> None:
    with pytest.raises(ValueError, match="chunk 1 has no frames"):
        check_chunk(Chunk(1, None), SETTINGS, expected=1)


def test_a_session_without_a_source_is_not_fed_frames() -> None:
    with pytest.raises(ValueError, match="expected"):
        check_chunk(chunk(1, 4, 64, 96, 3), TEXT_ONLY, expected=1)


@pytest.mark.parametrize(
    "shape", [(8, 64, 96, 3), (5, 64, 96, 3), (3, 64, 96, 3), (4, 96, 64, 3), (4, 64, 96, 4), (4, 64, 96)]
)
def test_frames_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected, not uint8"):
        check_chunk(chunk(1, *shape), SETTINGS, expected=1)


def test_frames_that_are_no_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected, not float32"):
        check_chunk(chunk(1, 4, 64, 96, 3, kind=np.float32), SETTINGS, expected=1)
