"""The shared socket."""

import asyncio
import errno
import socket

import pytest

from genlock_gateway.rtc.transport.udp_port import UdpPort


@pytest.fixture
def listener() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(5)
    return sock


class Refusing:
    """A socket whose kernel does not segment."""

    def __init__(self, inner: socket.socket, code: int) -> None:
        self._inner = inner
        self._code = code
        self.attempts = 0

    def sendmsg(self, *args: object) -> int:
        self.attempts += 1
        raise OSError(self._code, "refused")

    def sendto(self, data: bytes, addr: tuple[str, int]) -> int:
        return self._inner.sendto(data, addr)


async def test_a_run_arrives_as_the_packets_it_is_made_of(listener: socket.socket) -> None:
    port = UdpPort(host="127.0.0.1", port=0)
    port.open()
    packets = [b"a" * 900, b"b" * 900, b"c" * 10]
    port.send_run(packets, listener.getsockname())
    assert [listener.recv(2000) for _ in packets] == packets
    port.close()
    listener.close()


async def test_without_segmentation_in_the_kernel_packets_go_one_by_one(listener: socket.socket) -> None:
    port = UdpPort(host="127.0.0.1", port=0)
    port.open()
    real = port._socket
    assert real is not None
    refusing = Refusing(real, errno.EIO)
    port._socket = refusing  # type: ignore[assignment]
    for _ in range(2):
        port.send_run([b"a" * 900, b"b" * 10], listener.getsockname())
        assert [listener.recv(2000)[:1] for _ in range(2)] == [b"a", b"b"]
    assert (refusing.attempts, port._segmentation) == (1, False)
    port._socket = real
    port.close()
    listener.close()


async def test_a_full_send_buffer_loses_packets_and_raises_nothing(listener: socket.socket) -> None:
    port = UdpPort(host="127.0.0.1", port=0)
    port.open()
    real = port._socket
    assert real is not None
    port._socket = Refusing(real, errno.EAGAIN)  # type: ignore[assignment]
    port.send_run([b"a", b"b"], listener.getsockname())
    assert (port.unsent, port._segmentation) == (2, True)
    port._socket = real
    port.close()
    port.send(b"x", listener.getsockname())
    port.close()
    listener.close()


async def test_strangers_are_counted_and_get_no_answer(listener: socket.socket) -> None:
    port = UdpPort(host="127.0.0.1", port=0)
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


def test_what_is_advertised_must_be_reachable_through_the_socket() -> None:
    assert UdpPort(host="0.0.0.0", port=1, advertised=["192.0.2.1", "192.0.2.2"]).advertised[1] == "192.0.2.2"
    for host, advertised in (("0.0.0.0", []), ("127.0.0.1", ["::1"]), ("127.0.0.1", ["example.org"]), ("host", [])):
        with pytest.raises(ValueError, match=r"address|advertised"):
            UdpPort(host=host, port=1, advertised=advertised)


async def test_a_taken_port_is_an_os_error() -> None:
    first = UdpPort(host="127.0.0.1", port=0)
    first.open()
    with pytest.raises(OSError, match="in use"):
        UdpPort(host="127.0.0.1", port=first.port).open()
    first.close()
    with pytest.raises(RuntimeError):
        _ = first.port
