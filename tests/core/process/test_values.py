"""The kinds of values: each reads what it writes, keeps its bounds, and refuses everything else in words."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.durations import format_duration_ms
from genlock_core.process import values
from genlock_core.process.values import Kind


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


KINDS: dict[str, Kind[Any]] = {
    "text": values.text(r"[a-z]{1,8}", must_be="small letters"),
    "one of": values.one_of("debug", "info", any_case=True),
    "member": values.member_of(Colour),
    "whole": values.whole(1, 65_535),
    "number": values.number(0.0, 1.0),
    "duration": values.duration(1.0, 60.0),
    "size": values.size(),
    "rate": values.rate(0.1),
    "switch": values.switch(),
    "address": values.address(),
    "reachable": values.address(reachable=True),
    "url": values.web_url(),
    "threshold": values.word_or(values.number(0.0), "off"),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@given(written=st.text(max_size=40))
def test_a_kind_reads_any_text_or_says_in_one_sentence_what_it_must_be(kind: Kind[Any], written: str) -> None:
    told = "must be good"
    try:
        kind.parse(written)
    except ValueError as mistake:
        told = str(mistake)
    assert told.startswith("must ")
    assert "\n" not in told


@given(duration_ms=st.integers(1_000, 60_000))
def test_durations_are_read_as_seconds(duration_ms: int) -> None:
    assert values.duration(1.0, 60.0).parse(format_duration_ms(duration_ms)) == duration_ms / 1_000


@given(duration_ms=st.integers(60_001, 10**9))
def test_a_duration_beyond_its_bounds_is_refused(duration_ms: int) -> None:
    with pytest.raises(ValueError, match="must lie between 1s and 1m"):
        values.duration(1.0, 60.0).parse(format_duration_ms(duration_ms))


@given(plain=st.decimals(0, 2_000_000, places=3, allow_nan=False).map(str))
def test_a_plain_number_of_seconds_is_written_with_its_unit(plain: str) -> None:
    kind = values.duration()
    modern = kind.with_unit(plain)
    assert modern is not None
    assert kind.parse(modern) == pytest.approx(float(plain))
    assert kind.with_unit(modern) is None


@given(number=st.integers(-(10**6), 10**6))
def test_a_whole_number_keeps_its_bounds(number: int) -> None:
    kind = values.whole(-5, 70_000)
    if -5 <= number <= 70_000:
        assert kind.parse(str(number)) == number
    else:
        with pytest.raises(ValueError, match="must be a whole number from -5 to 70000"):
            kind.parse(str(number))


@pytest.mark.parametrize("text", ["nan", "inf", "1e3", "0x10", "1_000", "٣", "+1", ""])
def test_a_number_is_written_with_digits_alone(text: str) -> None:
    for kind in (values.whole(0), values.number(0.0)):
        with pytest.raises(ValueError, match="must be a"):
            kind.parse(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("20Gi", 20 * 2**30), ("1.5k", 1_500), ("500MB", 500_000_000), ("4096B", 4_096)]
)
def test_sizes_are_read_as_bytes(text: str, size_bytes: int) -> None:
    assert values.size().parse(text) == size_bytes


@given(size_bytes=st.integers(0, 2**50))
def test_a_plain_number_of_bytes_is_written_with_its_unit(size_bytes: int) -> None:
    modern = values.size().with_unit(str(size_bytes))
    assert modern is not None
    assert values.size().parse(modern) == size_bytes


@pytest.mark.parametrize(("text", "per_s"), [("50/s", 50.0), ("6/m", 0.1), ("7200/h", 2.0)])
def test_rates_are_read_as_a_number_each_second(text: str, per_s: float) -> None:
    assert values.rate(0.1).parse(text) == pytest.approx(per_s)


@pytest.mark.parametrize("text", ["yes", "true", "1", "on", "YES", "True"])
def test_what_means_yes(text: str) -> None:
    assert values.switch().parse(text) is True


@pytest.mark.parametrize("text", ["no", "false", "0", "off", "No", "FALSE"])
def test_what_means_no(text: str) -> None:
    assert values.switch().parse(text) is False


def test_words_count_in_any_case_where_it_was_said() -> None:
    assert values.one_of("info", any_case=True).parse("INFO") == "info"
    with pytest.raises(ValueError, match="must be one of info"):
        values.one_of("info").parse("INFO")


def test_several_values_stand_in_one_text_or_are_given_again_and_again() -> None:
    paths = values.several(values.path())
    assert paths.parse(" a  b ") == (Path("a"), Path("b"))
    assert paths.gather is not None
    assert paths.gather(["a b", "c"]) == (Path("a b"), Path("c"))
    names = values.several(values.text(values.LABEL, must_be="a name"), separator=",")
    assert names.parse("a, b,") == ("a", "b")
    assert names.gather is not None
    assert names.gather(["a,b", "c"]) == ("a", "b", "c")


def test_a_file_is_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("PEM")
    assert values.content().parse(str(tmp_path / "key")) == "PEM"
    with pytest.raises(ValueError, match="must be a file that can be read"):
        values.content().parse(str(tmp_path))


def test_an_address_to_connect_to_names_a_host() -> None:
    with pytest.raises(ValueError, match="that others can connect to"):
        values.address(reachable=True).parse(":7000")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (values.whole(1, 9), 9, 10),
        (values.one_of("info", any_case=True), "INFO", "Info"),
        (values.text(values.LABEL, must_be="a name"), "live", "Live"),
        (values.several(values.text(values.LABEL, must_be="a name")), ["live"], ["Live"]),
        (values.switch(), True, "yes"),
        (values.number(0.5), 0.5, 0.25),
    ],
)
def test_a_schema_takes_what_the_kind_takes(kind: Kind[Any], good: object, bad: object) -> None:
    check = jsonschema.Draft7Validator(dict(kind.schema))
    assert check.is_valid(good)
    assert not check.is_valid(bad)
