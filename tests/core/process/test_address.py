"""The one address: what is one, what is none, and that writing undoes reading."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.process.address import Address

hosts = st.one_of(
    st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8081", Address("127.0.0.1", 8_081)),
        ("[::]:0", Address("::", 0)),
        (":9", Address("0.0.0.0", 9)),
        ("live.example.org:443", Address("live.example.org", 443)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "8080", "host", "host:", "host:x", "host:70000", "::1:80", "[::1:80", "[host]:80", "a b:1", "u@h:1", "h:-1"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        Address.parse(text)


@given(host=hosts, port=st.integers(0, 65_535))
def test_what_is_written_is_read_again(host: str, port: int) -> None:
    address = Address(host, port)
    assert Address.parse(str(address)) == address


@given(host=st.ip_addresses())
def test_only_the_unspecified_addresses_are_everywhere(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert Address(str(host), 1).everywhere == host.is_unspecified
