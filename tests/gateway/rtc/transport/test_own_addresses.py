"""Which of a machine's addresses clients are told."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.rtc.transport.own_addresses import (
    LOOPBACK,
    MAX_OWN_ADDRESSES,
    bind_addresses,
    choose,
    own_addresses,
)

IPS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


def test_the_address_of_the_default_route_is_first_and_loopback_last() -> None:
    found = ["10.89.0.1", "127.0.0.1", "192.0.2.2", "fd00::2", "fe80::1%eth0", "::1", "169.254.3.4"]
    chosen = choose(found, usual=["192.0.2.2", "fd00::2"], ipv6=True)
    assert chosen == ("192.0.2.2", "fd00::2", "10.89.0.1", "169.254.3.4", "127.0.0.1")
    assert choose(found, usual=[], ipv6=False) == ("10.89.0.1", "192.0.2.2", "169.254.3.4", "127.0.0.1")


@given(st.lists(IPS), st.lists(IPS, max_size=2), st.booleans())
def test_only_addresses_that_sdp_can_name_and_only_a_handful(found: list[str], usual: list[str], ipv6: bool) -> None:
    chosen = choose(found, usual=usual, ipv6=ipv6)
    assert chosen[-1] == LOOPBACK
    assert len(set(chosen)) == len(chosen) <= MAX_OWN_ADDRESSES + 1
    for text in chosen[:-1]:
        address = ipaddress.ip_address(text)
        assert text in {str(ipaddress.ip_address(one)) for one in found}
        assert not any((address.is_loopback, address.is_unspecified, address.is_multicast))
        assert address.version == 4 or (ipv6 and not address.is_link_local)


def test_every_own_address_can_be_bound() -> None:
    for address in own_addresses():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))


def test_the_wildcard_stands_for_what_is_found_and_names_are_not_looked_up() -> None:
    def own(*, ipv6: bool) -> tuple[str, ...]:
        return ("192.0.2.2", "fd00::2", LOOPBACK) if ipv6 else ("192.0.2.2", LOOPBACK)

    assert bind_addresses(["0.0.0.0"], own=own) == {"192.0.2.2": True, LOOPBACK: True}
    assert bind_addresses(["::1", "::"], own=own) == {"::1": False, "192.0.2.2": True, "fd00::2": True, LOOPBACK: True}
    with pytest.raises(ValueError, match="localhost"):
        bind_addresses(["localhost"])
