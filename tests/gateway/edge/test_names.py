"""Which names are a gateway's own, and how a request may write them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.edge.names import SERVER_NAME, Authority, OwnNames, parse_authority

OWN = OwnNames.of(["live.example.org", "Other.Example.", "*.wild.example", "192.0.2.1", ""])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:8080", "192.0.2.77:80", "127.0.0.1.", "[::1]", "[::1]:8080", "[2001:DB8::1]:1",
        "localhost", "LocalHost:8080", "localhost.", "localhost.:8080", "localhost:",
        "live.example.org", "LIVE.Example.ORG.:443", "other.example", "a.wild.example", "A-1.Wild.Example.:1",
    ],
)  # fmt: skip
def test_addresses_localhost_and_listed_names_are_its_own(host: str) -> None:
    authority = parse_authority(host)
    assert authority is not None
    assert OWN.include(authority)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8080", "live.example.org.evil.example", "xlive.example.org", "example.org",
        "localhost.evil.example", "evil.localhost", "127.0.0.1.evil.example", "wild.example", "a.b.wild.example",
        # What a resolver takes for an address, and a browser never sends.
        "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "127.0.0.1..", "1.2.3", "::1",
    ],
)  # fmt: skip
def test_every_other_name_is_not(host: str) -> None:
    authority = parse_authority(host)
    assert authority is None or not OWN.include(authority)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", ":80", "a b", "user@127.0.0.1", "127.0.0.1, evil.example", "127.0.0.1:99999", "127.0.0.1:8080:1",
        "127.0.0.1:x", "[::1", "::1]", "[127.0.0.1]", "[v1.x]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "%31.example",
        "http://127.0.0.1", "localhost/", "localhost?", "localhost#", "localhost\\", "local\thost", "..", "a..b",
        "-a.b", "a" * 64, "a." * 130,
        "\u217c\u217colocalhost", "127.0.0.1\u3002evil.example", "\u0661.\u0662.\u0663.\u0664",
    ],
)  # fmt: skip
def test_what_is_no_host_and_port_is_none(text: str) -> None:
    assert parse_authority(text) is None


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,10}[a-z0-9])?){1,3}", fullmatch=True)
PORTS = st.one_of(st.just(""), st.integers(0, 65_535).map(lambda port: f":{port}"))


@given(NAMES, PORTS, st.booleans(), st.booleans())
def test_a_name_is_the_same_with_a_port_a_dot_and_in_capitals(name: str, port: str, dot: bool, capitals: bool) -> None:
    written = f"{name.upper() if capitals else name}{'.' if dot else ''}{port}"
    authority = parse_authority(written)
    assert authority == Authority(name, is_address=False)
    assert OwnNames.of([name]).include(authority)
    assert not OwnNames.of([f"x{name}"]).include(authority)


@given(st.ip_addresses(), PORTS)
def test_every_address_is_its_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: str) -> None:
    authority = parse_authority(f"[{address}]{port}" if address.version == 6 else f"{address}{port}")
    assert authority is not None
    assert OwnNames().include(authority)


@given(st.one_of(st.text(), NAMES, NAMES.map(lambda name: f"x.{name}")), st.lists(NAMES, max_size=3))
def test_no_name_is_included_but_localhost_and_those_that_were_listed(text: str, listed: list[str]) -> None:
    authority = parse_authority(text)
    if authority is not None and not authority.is_address:
        assert OwnNames.of(listed).include(authority) == (authority.host in {"localhost", *listed})
        parents = [f"*.{name}" for name in listed]
        assert OwnNames.of(parents).include(authority) == (
            authority.host == "localhost" or authority.host.partition(".")[2] in listed
        )


@pytest.mark.parametrize("text", ["", "https://live.example.org", "live.example.org:443", "*", "*.", "a.*.b", "a b"])
def test_a_listed_name_is_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as live\.example\.org"):
        SERVER_NAME.parse(text)
    assert SERVER_NAME.parse("*.Example.ORG.") == "*.example.org"
