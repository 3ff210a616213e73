"""What counts as one client."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.process.address_groups import NOBODY, group_of


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", NOBODY),
        ("host.example", NOBODY),
    ],
)
def test_an_ipv4_address_is_one_client_and_so_is_an_ipv6_network(address: str, group: str) -> None:
    assert group_of(address) == group


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_a_whole_ipv6_network_is_one_client(address: ipaddress.IPv6Address, other: int) -> None:
    neighbour = ipaddress.IPv6Address((int(address) >> 64 << 64) | other)
    if address.ipv4_mapped is None and neighbour.ipv4_mapped is None:
        assert group_of(str(neighbour)) == group_of(str(address))


@given(st.text())
def test_every_text_has_a_group(text: str) -> None:
    assert group_of(text)
