"""`X-Forwarded-For`: the right-most address that no named proxy has."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.process.address_groups import parse_address
from genlock_gateway.edge.forwarded import MAX_HOPS, PROXY, NamedProxies, parse_element

PROXIES = NamedProxies(tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "fd00::/8"))))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Nobody but a named proxy is believed.
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("127.0.0.1", ["203.0.113.9"], "127.0.0.1"),
        ("not an address", ["203.0.113.9"], "not an address"),
        # A named one speaks for its client, in one line or in several.
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["2001:db8::9"], "2001:db8::9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
        # What stands left of the client's address is the client's own invention.
        ("10.0.0.1", ["10.9.9.9, 1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        # Only proxies: the first of them asks by itself.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        # What is no address ends the list, and nothing left of it counts.
        ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2, _hidden"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9\u00a0"], "10.0.0.1"),
    ],
)
def test_the_right_most_address_that_is_no_proxys_is_the_clients(peer: str, forwarded: list[str], client: str) -> None:
    assert PROXIES.client(peer, forwarded) == client


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.0.0.1"])
def test_nobody_is_named_unless_the_operator_does(peer: str) -> None:
    assert NamedProxies().client(peer, ["203.0.113.9"]) == peer


def test_a_list_that_never_ends_is_not_read_to_its_end() -> None:
    assert PROXIES.client("10.0.0.1", ["203.0.113.9," + "10.0.0.2," * MAX_HOPS + "10.0.0.3"]) == "10.0.0.2"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[192.0.2.1", None),
        ("192.0.2.1:", None),
        ("192.0.2.256", None),
        ("192.0.2.01", None),
        ("fe80::1%eth0", None),
        ("host.example", None),
        ("\u0661\u0662.0.2.1", None),
        ("", None),
    ],
)
def test_an_element_is_an_address_perhaps_with_a_port(text: str, address: str | None) -> None:
    assert parse_element(text) == address


HOPS = st.one_of(st.ip_addresses().map(str), st.text(alphabet="0123456789.:[]abcdef, %", max_size=20), st.text())


@given(st.ip_addresses().map(str), st.lists(HOPS))
def test_the_client_is_the_peer_or_an_address_behind_proxies_alone(peer: str, forwarded: list[str]) -> None:
    client = PROXIES.client(peer, forwarded)
    assert parse_address(client) is not None
    if peer not in PROXIES:
        assert client == peer


@given(st.lists(HOPS), st.ip_addresses().map(str), st.lists(st.sampled_from(["10.0.0.7", "fd00::7"]), max_size=5))
def test_no_client_can_choose_its_address(forged: list[str], real: str, proxies: list[str]) -> None:
    """Whatever a client sends, each named proxy on its way appends the one it was asked by."""
    if real not in PROXIES:
        assert parse_address(PROXIES.client("10.0.0.1", [*forged, real, *proxies])) == parse_address(real)


@pytest.mark.parametrize("text", ["", "proxy.example", "10.0.0.1/8", "10.0.0.0/33", "*"])
def test_a_proxy_is_an_address_or_a_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 192\.0\.2\.1, 10\.42\.0\.0/16"):
        PROXY.parse(text)
    assert str(PROXY.parse("192.0.2.1")) == "192.0.2.1/32"
