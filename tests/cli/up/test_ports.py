import socket

import pytest

from genlock_cli.up.ports import NoSuchAddress, PortTaken, check_port, choose_ports


def free_port(media: str) -> int:
    """One that is free for TCP and UDP, and that the system gives to nobody meanwhile."""
    return choose_ports("127.0.0.1", 1, media=["127.0.0.1", media])


@pytest.mark.parametrize(("kind", "type_"), [("TCP", socket.SOCK_STREAM), ("UDP", socket.SOCK_DGRAM)])
def test_a_taken_port_is_named_with_what_to_do(kind: str, type_: socket.SocketKind) -> None:
    port = free_port("127.0.0.1")
    with socket.socket(socket.AF_INET, type_) as taken:
        taken.bind(("127.0.0.1", port))
        if type_ is socket.SOCK_STREAM:
            taken.listen()
        with pytest.raises(PortTaken, match=f"{kind} port {port} .* is taken; choose another one with --port"):
            check_port("127.0.0.1", port, media=["127.0.0.1"])
    check_port("127.0.0.1", port, media=["127.0.0.1"])


@pytest.mark.parametrize("host", ["203.0.113.7", "a..b", "x" * 70, "nobody.invalid"])
def test_an_address_that_is_not_this_machines_is_refused_whatever_the_port(host: str) -> None:
    with pytest.raises(NoSuchAddress, match="this machine has no such address"):
        check_port(host, 8080, media=[])
    with pytest.raises(NoSuchAddress):
        choose_ports(host, 1, media=[])


def test_chosen_ports_are_free_neighbours() -> None:
    first = choose_ports("127.0.0.1", 3, media=["127.0.0.1"])
    for port in range(first, first + 3):
        check_port("127.0.0.1", port, media=["127.0.0.1"])


def test_media_needs_the_port_on_each_of_its_addresses() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = free_port("127.0.0.2")
        taken.bind(("127.0.0.2", port))
        check_port("127.0.0.1", port, media=["127.0.0.1"])
        with pytest.raises(PortTaken, match=f"UDP port {port} on 127.0.0.2 is taken"):
            check_port("127.0.0.1", port, media=["127.0.0.1", "127.0.0.2"])
