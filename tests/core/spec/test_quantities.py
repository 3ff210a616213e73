import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.durations import MAX_DURATION_MS, format_duration_ms, parse_duration_ms
from genlock_core.spec.quantities import (
    format_bitrate,
    format_share,
    parse_bitrate,
    parse_share,
)


@given(st.integers(0, MAX_DURATION_MS))
def test_a_duration_is_read_back_as_it_was_written(duration_ms: int) -> None:
    assert parse_duration_ms(format_duration_ms(duration_ms)) == duration_ms


@given(st.integers(0, 10**9))
def test_a_bitrate_is_read_back_as_it_was_written(bits_per_second: int) -> None:
    assert parse_bitrate(format_bitrate(bits_per_second)) == bits_per_second


@given(st.integers(0, 10_000))
def test_a_share_is_read_back_as_it_was_written(hundredths_of_percent: int) -> None:
    share = hundredths_of_percent / 10_000
    assert parse_share(format_share(share)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "duration_ms"), [("500ms", 500), ("1m30s", 90_000), ("0.5s", 500), ("12h", 43_200_000), ("0s", 0)]
)
def test_durations_as_people_write_them(text: str, duration_ms: int) -> None:
    assert parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize(
    "value", ["", "500", 500, 0.5, True, None, "-1s", "1 s", "1s ", "1d", "s", "1" * 40 + "s", "١s"]
)
def test_a_duration_without_a_unit_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="with its unit"):
        parse_duration_ms(value)


@pytest.mark.parametrize("value", ["", 1_500_000, "1500K", "-1k", "1e6", None])
def test_a_bitrate_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="bitrate"):
        parse_bitrate(value)


@pytest.mark.parametrize("value", ["101%", "1", 0.01, "-1%", "%", None])
def test_a_share_outside_one_or_without_percent_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_share(value)
