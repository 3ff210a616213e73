"""Whose a request is."""

from starlette.requests import HTTPConnection

from genlock_core.process.address_groups import NOBODY
from genlock_gateway.edge.addresses import client_address


def test_a_request_is_its_clients_group_of_addresses() -> None:
    request = HTTPConnection({"type": "http", "client": ("2001:db8:1:2:3:4:5:6", 1)})
    assert client_address(request) == "2001:db8:1:2::/64"


def test_who_has_no_address_is_counted_all_the_same() -> None:
    assert client_address(HTTPConnection({"type": "http", "client": None})) == NOBODY
