"""What a worker is told of its forwards: fitted by size, written, read again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.sizing.measured import InvalidFigures
from genlock_core.sizing.measured_steps import (
    StepTimeBySize,
    measured_step_times,
    parse,
    step_times,
    to_json,
)
from genlock_core.sizing.profile import ProfileRow, load_profiles
from genlock_core.sizing.step_time import StepTime
from genlock_core.spec.session import Resolution

WIDE, SQUARE = Resolution(width=832, height=480), Resolution(width=512, height=512)
TRUTH = StepTime(base_s=0.030, row_s=0.002, compute_s=0.008)
seconds = st.floats(1e-6, 10)


def row(size: str, steps: int, sessions: int, ms: float | None, **fields: Any) -> ProfileRow:
    given = {"model": "own", "gpuProduct": "NVIDIA-L4", "gpus": 1, "source": "mine", "engine": "diffusion", **fields}
    figures = {"resolution": size, "steps": steps, "sessions": sessions, "fpsPerSession": 1, "microStepMs": ms}
    return ProfileRow.model_validate(figures | given)


def measured(size: str, truth: StepTime) -> list[ProfileRow]:
    return [
        row(size, steps, sessions, 1000 * truth.seconds(steps * sessions))
        for steps in (1, 2, 4)
        for sessions in (1, 4, 8)
    ]


def test_the_parts_are_those_of_the_forwards_of_each_size() -> None:
    found = step_times([*measured("512x512", TRUTH), *measured("832x480", StepTime(0.05, 0.01))])
    assert list(found) == [SQUARE, WIDE]
    assert found[SQUARE].knee == TRUTH.knee
    assert found[WIDE].seconds(3) == pytest.approx(0.08)
    assert found[WIDE].compute_s == 0


def test_one_size_of_forwards_says_nothing_of_the_parts() -> None:
    assert step_times([row("512x512", 2, 1, 20), row("512x512", 1, 2, 21)]) == {}


def test_rows_from_before_say_nothing_of_forwards_and_are_read_as_they_were() -> None:
    assert step_times(load_profiles()) == {}
    assert all(one.micro_step_ms is None for one in load_profiles())


def test_only_rows_of_the_workers_own_kind_count() -> None:
    others = [one.model_copy(update={"gpu_product": "NVIDIA-T4"}) for one in measured("512x512", StepTime(0.09, 0.09))]
    found = measured_step_times(
        [*others, *measured("512x512", TRUTH)], engine="diffusion", model="own", gpu_product="NVIDIA-L4", gpus=1
    )
    assert found == step_times(measured("512x512", TRUTH))


@given(st.dictionaries(st.sampled_from([WIDE, SQUARE]), st.builds(StepTime, seconds, seconds, seconds), min_size=1))
def test_what_was_written_is_read_again_in_the_same_order(times: StepTimeBySize) -> None:
    again = parse(to_json(times))
    assert again == times
    assert list(again) == list(times)


def test_a_part_of_a_later_release_is_read_past_and_one_that_lacks_is_none() -> None:
    text = '{"832x480": {"base": 0.1, "row": 0.2, "encode": 3}}'
    assert parse(text) == {WIDE: StepTime(0.1, 0.2, 0.0)}
    assert parse("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fast", "Invalid JSON"),
        ('{"832*480": {"base": 1, "row": 1}}', "not a size"),
        ('{"832x480": {"base": 1}}', "832x480.row: Field required"),
        ('{"832x480": {"base": -1, "row": 1}}', "832x480.base: Input should be greater than or equal to 0"),
        ('{"832x480": {"base": 4000, "row": 1}}', "832x480.base: Input should be less than or equal to 3600"),
        ('{"832x480": {"base": "1", "row": 1}}', "832x480.base: Input should be a valid number"),
        ('{"832x480": {"base": 0, "row": 0}}', "832x480: Value error, no forward takes no time"),
    ],
)
def test_what_cannot_be_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(InvalidFigures) as caught:
        parse(text)
    assert words in str(caught.value)
    assert '"compute": 0.012' in str(caught.value)
