"""The network that the tests are run over does what they ask of it."""

import asyncio
import random
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.udp_relay import UdpRelay, Wire, kind_of


@pytest.fixture
def far() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0)
        yield sock


async def received(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    async with asyncio.timeout(5):
        while True:
            try:
                data, sender = sock.recvfrom(100)
            except BlockingIOError:
                await asyncio.sleep(0.001)
            else:
                return data, sender


async def test_it_carries_both_ways_and_a_switch_gives_the_client_another_port(far: socket.socket) -> None:
    relay = UdpRelay()
    relay.start(far.getsockname())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.bind(("127.0.0.1", 0))
        near.settimeout(0)
        near.sendto(b"\x80up", relay.address)
        data, first = await received(far)
        far.sendto(b"\x16down", first)
        assert (data, (await received(near))[0]) == (b"\x80up", b"\x16down")
        relay.switch()
        far.sendto(b"\x16lost", first)
        near.sendto(b"\x80again", relay.address)
        data, second = await received(far)
        assert (data, second != first) == (b"\x80again", True)
        relay.blocked = True
        near.sendto(b"\x80lost", relay.address)
        await asyncio.sleep(0.01)
        relay.blocked = False
        near.sendto(b"\x80heard", relay.address)
        assert (await received(far))[0] == b"\x80heard"
    assert relay.passed == {("up", "media"): 3, ("down", "dtls"): 1}
    relay.stop()


@given(st.lists(st.integers(40, 1500), min_size=1, max_size=50), st.floats(1e4, 1e8), st.floats(0, 1))
def test_a_wire_keeps_its_rate_its_delay_and_its_queue(sizes: list[int], rate_bps: float, delay_s: float) -> None:
    wire = Wire(rate_bps=rate_bps, delay_s=delay_s)
    times = [(size, wire.arrives_s(size, 1.0)) for size in sizes]
    there = [(size, arrives_s) for size, arrives_s in times if arrives_s is not None]
    took_s = sum(size for size, _ in there) * 8 / rate_bps
    assert there[-1][1] == pytest.approx(1.0 + took_s + delay_s)
    assert took_s <= wire.queue_s + there[-1][0] * 8 / rate_bps + 1e-9
    if sum(sizes) * 8 / rate_bps <= wire.queue_s:
        assert len(there) == len(sizes), "what finds room is not lost"


def test_a_wire_loses_its_share() -> None:
    wire = Wire(loss=0.2, chance=random.Random(3))
    lost = sum(wire.arrives_s(100, 0.0) is None for _ in range(2000))
    assert 300 < lost < 500


def test_kinds_are_told_apart_by_their_first_bytes() -> None:
    kinds = [b"\x00\x01", b"\x01\x01", b"\x01\x11", b"\x16\xfe", b"\x80\x60", b"\x80\xc8"]
    assert [kind_of(kind) for kind in kinds] == ["check", "response", "response", "dtls", "media", "media"]
