"""The figures of a profile that a worker is told: chosen, written, read again, and asked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.sizing.measured import (
    MAX_JSON_CHARS,
    FpsBySize,
    InvalidFigures,
    measured_fps,
    parse,
    step_fps,
    to_json,
)
from genlock_core.sizing.profile import MAX_ROWS, ProfileRow, UnknownProfile, load_profiles
from genlock_core.spec.session import Resolution

ROWS = load_profiles()
WIDE, SQUARE = Resolution(width=832, height=480), Resolution(width=512, height=512)
sides = st.integers(4, 120).map(lambda n: 16 * n)
sizes = st.builds(lambda width, height: Resolution(width=width, height=height), sides, sides)
figures = st.dictionaries(
    sizes, st.dictionaries(st.integers(1, 4), st.floats(0.001, 10_000), min_size=1), min_size=1, max_size=6
)


def row(size: str, steps: int, fps: float, **fields: Any) -> ProfileRow:
    given = {"model": "own", "gpuProduct": "NVIDIA-L4", "gpus": 1, "source": "mine", **fields}
    return ProfileRow.model_validate({"resolution": size, "steps": steps, "fpsPerSession": fps, **given})


def own(rows: list[ProfileRow]) -> FpsBySize:
    return measured_fps(rows, engine="mock", model="own", gpu_product="NVIDIA-L4", gpus=1)


def test_the_figures_are_those_of_one_session_with_this_model_on_these_gpus() -> None:
    others = [
        row("512x512", 1, 99, model="other"),
        row("512x512", 1, 99, gpuProduct="NVIDIA-T4"),
        row("512x512", 1, 99, gpus=2),
        row("512x512", 1, 99, sessions=2),
    ]
    assert own([*others, row("512x512", 2, 7), row("832x480", 1, 5), row("512x512", 1, 8)]) == {
        SQUARE: {2: 7, 1: 8},
        WIDE: {1: 5},
    }
    assert own(others) == {}


def test_the_size_of_the_first_row_comes_first_and_the_first_of_two_figures_counts() -> None:
    found = own([row("832x480", 1, 5), row("512x512", 1, 8), row("832x480", 1, 6)])
    assert list(found) == [WIDE, SQUARE]
    assert found[WIDE] == {1: 5}


@given(figures)
def test_what_was_written_is_read_again_in_the_same_order(measured: FpsBySize) -> None:
    again = parse(to_json(measured))
    assert again == measured
    assert list(again) == list(measured)


def test_the_largest_profile_is_not_too_long() -> None:
    sizes = (Resolution(width=16 * (4 + n % 100), height=16 * (100 + n // 100)) for n in range(MAX_ROWS))
    text = to_json({size: {1: 1 / 3} for size in sizes})
    assert len(parse(text)) == MAX_ROWS
    assert len(text) < MAX_JSON_CHARS / 2


def test_no_text_is_no_figures() -> None:
    assert parse("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fast", "Invalid JSON"),
        ("[" * 50_000, "Invalid JSON"),
        ("[]", "an object"),
        ('{"832*480": {"1": 2}}', "832*480: Value error, not a size"),
        ('{"830x480": {"1": 2}}', "830x480.width: Input should be a multiple of 16"),
        ('{"99999x480": {"1": 2}}', "99999x480.width"),
        ('{"832x480": {"5": 2}}', "832x480.5: Input should be less than or equal to 4"),
        ('{"832x480": {"one": 2}}', "832x480.one"),
        ('{"832x480": {"1": 0}}', "832x480.1: Input should be greater than 0"),
        ('{"832x480": {"1": NaN}}', "832x480.1"),
        ('{"832x480": {"1": 1e999}}', "832x480.1"),
        ('{"832x480": {"1": "2"}}', "832x480.1: Input should be a valid number"),
        ('{"832x480": {"1": true}}', "832x480.1: Input should be a valid number"),
        ('{"832x480": {}}', "832x480"),
        (" " * (MAX_JSON_CHARS + 1), "65537 characters; at most 65536 are read"),
    ],
)
def test_a_malformed_text_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(InvalidFigures) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_no_text_gets_past_but_as_figures(text: str) -> None:
    try:
        found = parse(text)
    except InvalidFigures:
        return
    assert parse(to_json(found)) == found


def test_the_fps_of_each_step_count_are_the_measured_ones() -> None:
    measured = measured_fps(ROWS, engine="mock", model="wan2.1-1.3b", gpu_product="NVIDIA-H100", gpus=4)
    assert step_fps(measured, WIDE) == {1: 44.38, 2: 43.41, 3: 43.08, 4: 42.26}


def test_a_resolution_that_was_not_measured_follows_the_nearest_one_by_its_pixels() -> None:
    measured = measured_fps(ROWS, engine="mock", model="wan2.1-1.3b", gpu_product="NVIDIA-H100", gpus=1)
    fps = step_fps(measured, Resolution(width=416, height=480))
    assert fps[1] == pytest.approx(26.21 * 512 * 512 / (416 * 480))


def test_a_size_that_was_measured_at_more_step_counts_comes_before_a_nearer_one() -> None:
    measured = {WIDE: {2: 8.0}, SQUARE: {1: 20.0, 2: 15.0}}
    scale = 512 * 512 / (832 * 480)
    assert step_fps(measured, WIDE) == pytest.approx({1: 20 * scale, 2: 15 * scale})
    assert step_fps({WIDE: {2: 8.0}}, WIDE) == {2: 8.0}


@given(figures, sizes)
def test_figures_are_positive_at_every_resolution(measured: FpsBySize, wanted: Resolution) -> None:
    assert all(fps > 0 for fps in step_fps(measured, wanted).values())


@pytest.mark.parametrize(
    ("model", "product", "gpus"),
    [("wan3", "NVIDIA-H100", 1), ("wan2.1-1.3b", "NVIDIA-T4", 1), ("wan2.1-1.3b", "NVIDIA-H100", 8)],
)
def test_an_unknown_shape_has_no_fps(model: str, product: str, gpus: int) -> None:
    measured = measured_fps(ROWS, engine="mock", model=model, gpu_product=product, gpus=gpus)
    assert not measured
    with pytest.raises(UnknownProfile, match="nobody measured"):
        step_fps(measured, WIDE)
