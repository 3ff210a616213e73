"""The shared socket."""

import asyncio
import errno
import socket

import pytest

from genlock_gateway.rtc.transport.demultiplexer import Route
from genlock_gateway.rtc.transport.own_addresses import own_addresses
from genlock_gateway.rtc.transport.udp_port import HostAddress, UdpPort


@pytest.fixture
def listener() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(5)
    return sock


class Refusing:
    """A socket whose kernel does not segment."""

    def __init__(self, inner: socket.socket, code: int, *, sends: bool = True) -> None:
        self._inner = inner
        self._sends = sends
        self._code = code
        self.attempts = 0

    def sendmsg(self, *args: object) -> int:
        self.attempts += 1
        raise OSError(self._code, "refused")

    def sendto(self, data: bytes, addr: tuple[str, int]) -> int:
        if not self._sends:
            raise OSError(self._code, "refused")
        return self._inner.sendto(data, addr)


async def test_a_run_arrives_as_the_packets_it_is_made_of(listener: socket.socket) -> None:
    port = UdpPort(hosts=["127.0.0.1"], port=0)
    port.open()
    packets = [b"a" * 900, b"b" * 900, b"c" * 10]
    port.send_run(packets, Route(0, listener.getsockname()))
    assert [listener.recv(2000) for _ in packets] == packets
    port.close()
    listener.close()


async def test_without_segmentation_in_the_kernel_packets_go_one_by_one(listener: socket.socket) -> None:
    port = UdpPort(hosts=["127.0.0.1"], port=0)
    port.open()
    real = port._sockets[0].inner
    refusing = Refusing(real, errno.EIO)
    port._sockets[0].inner = refusing  # type: ignore[assignment]
    for _ in range(2):
        port.send_run([b"a" * 900, b"b" * 10], Route(0, listener.getsockname()))
        assert [listener.recv(2000)[:1] for _ in range(2)] == [b"a", b"b"]
    assert (refusing.attempts, port._sockets[0].segmentation) == (1, False)
    port._sockets[0].inner = real
    port.close()
    listener.close()


async def test_a_full_send_buffer_loses_packets_and_raises_nothing(listener: socket.socket) -> None:
    port = UdpPort(hosts=["127.0.0.1"], port=0)
    port.open()
    real = port._sockets[0].inner
    port._sockets[0].inner = Refusing(real, errno.EAGAIN)  # type: ignore[assignment]
    port.send_run([b"a", b"b"], Route(0, listener.getsockname()))
    assert (port.unsent, port._sockets[0].segmentation) == (2, True)
    port._sockets[0].inner = real
    port.close()
    port.send(b"x", Route(0, listener.getsockname()))
    port.close()
    listener.close()


async def test_strangers_are_counted_and_get_no_answer(listener: socket.socket) -> None:
    port = UdpPort(hosts=["127.0.0.1"], port=0)
    port.open()
    listener.sendto(b"hello", ("127.0.0.1", port.port))
    listener.sendto(b"", ("127.0.0.1", port.port))
    for _ in range(100):
        await asyncio.sleep(0)
    assert port.demultiplexer.dropped == 2
    listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.recv(10)
    port.close()
    listener.close()


async def test_an_address_that_the_machine_lost_says_nothing_of_segmentation(listener: socket.socket) -> None:
    port = UdpPort(hosts=["127.0.0.1"], port=0)
    port.open()
    real = port._sockets[0].inner
    refusing = Refusing(real, errno.EINVAL, sends=False)
    port._sockets[0].inner = refusing  # type: ignore[assignment]
    port.send_run([b"a" * 900, b"b" * 10], Route(0, listener.getsockname()))
    assert (port.unsent, port._sockets[0].segmentation) == (2, True)
    port._sockets[0].inner = real
    port.close()
    listener.close()


async def test_each_address_of_the_machine_gets_a_socket_with_the_same_number_and_answers_for_itself() -> None:
    port = UdpPort(hosts=["::"], port=0)
    port.open()
    assert [address.ip for address in port.addresses] == list(own_addresses())
    heard: list[Route] = []
    port.demultiplexer.datagram = lambda data, route: heard.append(route)  # type: ignore[method-assign]
    for address in port.addresses:
        family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.bind((address.ip, 0))
            client.settimeout(5)
            client.sendto(b"hello", (address.ip, port.port))
            while not heard:
                await asyncio.sleep(0)
            port.send(b"hello back", heard[-1])
            port.send_run([b"a" * 20, b"b" * 20], heard.pop())
            answers = [client.recvfrom(100) for _ in range(3)]
        assert [data[:1] for data, _ in answers] == [b"h", b"a", b"b"]
        assert {sender[:2] for _, sender in answers} == {(address.ip, port.port)}
    port.close()


async def test_an_address_that_went_between_looking_and_binding_is_done_without() -> None:
    port = UdpPort(hosts=["0.0.0.0"], port=0, own=lambda *, ipv6: ("203.0.113.7", "127.0.0.1"))
    port.open()
    assert port.addresses == (HostAddress("127.0.0.1", 0),)
    port.close()
    with pytest.raises(OSError, match=r"cannot listen on UDP port 0 of 203\.0\.113\.7"):
        UdpPort(hosts=["203.0.113.7"], port=0).open()


async def test_what_is_advertised_is_told_instead_and_has_one_socket() -> None:
    port = UdpPort(hosts=["0.0.0.0"], port=0, advertised=["192.0.2.1", "192.0.2.2"])
    port.open()
    assert port.addresses == (HostAddress("192.0.2.1", 0), HostAddress("192.0.2.2", 0))
    assert len(port._sockets) == 1
    port.close()


@pytest.mark.parametrize(
    ("hosts", "advertised"),
    [
        (["127.0.0.1"], ["::1"]),
        (["127.0.0.1"], ["example.org"]),
        (["host"], []),
        ([], []),
        (["0.0.0.0"], ["0.0.0.0"]),
        (["127.0.0.1", "::1"], ["192.0.2.1"]),
    ],
)
def test_what_no_client_could_reach_is_refused(hosts: list[str], advertised: list[str]) -> None:
    with pytest.raises(ValueError, match=r"address|advertised"):
        UdpPort(hosts=hosts, port=1, advertised=advertised)


async def test_a_taken_port_is_an_os_error() -> None:
    first = UdpPort(hosts=["127.0.0.1"], port=0)
    first.open()
    with pytest.raises(OSError, match="in use"):
        UdpPort(hosts=["127.0.0.1"], port=first.port).open()
    first.close()
    with pytest.raises(RuntimeError):
        _ = first.port
