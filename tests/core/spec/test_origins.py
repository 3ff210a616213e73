"""Origins as an owner names them, and as browsers send them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.spec.origins import MAX_ORIGIN_CHARS, checked_origin, is_among
from genlock_core.spec.session import AccessSpec

NAMED = ("https://www.example.org", "http://192.0.2.1:8000", "http://[2001:db8::1]:81")


@pytest.mark.parametrize("origin", ["*", *NAMED, "http://localhost", f"https://{'a' * 63}.example:65535"])
def test_an_origin_is_a_scheme_a_host_and_perhaps_a_port(origin: str) -> None:
    assert checked_origin(origin) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "**",
        "https://*.example.org",
        "https://www.example.org/",
        "https://www.example.org/page",
        "https://www.example.org?x",
        "https://WWW.example.org",
        "https://me@www.example.org",
        "https://www.example.org; script-src *",
        "https://www.example.org\n",
        "https://-a.example",
        "https://a..example",
        "https://www.example.org:0",
        "https://www.example.org:",
        "//www.example.org",
        "ftp://www.example.org",
        "www.example.org",
    ],
)
def test_what_is_more_or_less_than_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        checked_origin(text)


@pytest.mark.parametrize(
    ("origin", "named", "among"),
    [
        ("https://www.example.org", NAMED, True),
        ("https://www.example.org:443", NAMED, True),
        ("http://[2001:db8::1]:81", NAMED, True),
        ("https://www.example.org:444", NAMED, False),
        ("http://www.example.org", NAMED, False),
        ("https://example.org", NAMED, False),
        ("https://www.example.org.evil.example", NAMED, False),
        ("https://www.example.org/", NAMED, False),
        ("https://a@www.example.org", NAMED, False),
        ("http://192.0.2.1", NAMED, False),
        ("http://192.0.2.1:99999", NAMED, False),
        ("http://[2001:db8::1", NAMED, False),
        ("null", NAMED, False),
        ("", NAMED, False),
        ("https://www.example.org", (), False),
        ("null", (), False),
        ("null", ("*",), True),
        ("https://whoever.example", ("*",), True),
        ("https://whoever.example", (*NAMED, "*"), True),
    ],
)
def test_an_origin_is_compared_by_scheme_host_and_port_and_null_only_by_all(
    origin: str, named: tuple[str, ...], among: bool
) -> None:
    assert is_among(origin, named) is among


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z0-9.:\[\]@/-]{0,40}", fullmatch=True))
def test_whatever_is_sent_is_compared_without_an_error_and_only_with_what_was_named(text: str) -> None:
    if is_among(text, NAMED):
        assert re.sub(r":(80|443)$", "", text.lower()) in NAMED


def test_how_many_may_be_named_is_bounded_and_how_long_they_are() -> None:
    AccessSpec(origins=("https://www.example.org",) * 16)
    for origins in (("https://www.example.org",) * 17, (f"https://{'a.' * MAX_ORIGIN_CHARS}example",)):
        with pytest.raises(ValueError, match="at most"):
            AccessSpec(origins=origins)
