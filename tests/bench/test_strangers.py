"""The bound that a live stream has beside strangers, and what a crowd of them does."""

import asyncio
import struct

import pytest

from bench.crowd import STUN_COOKIE, Crowd, Stranger, bogus_check
from bench.strangers import Pair, Verdict
from genlock_core.process.address import Address


@pytest.mark.parametrize(
    ("pairs", "costs_ms", "bound_ms", "held"),
    [
        ([(20, 22), (20, 24), (20, 60)], 4, 5, True),
        ([(20, 22), (20, 26), (20, 60)], 6, 5, False),
        ([(200, 219), (200, 100), (200, 300)], 19, 20, True),
        ([(200, 221), (200, 100), (200, 300)], 21, 20, False),
    ],
)
def test_the_median_of_the_differences_is_held_against_5_ms_or_a_tenth(
    pairs: list[tuple[float, float]], costs_ms: float, bound_ms: float, held: bool
) -> None:
    verdict = Verdict.of([Pair(*pair) for pair in pairs])
    assert (verdict.costs_ms, verdict.bound_ms, verdict.held) == (costs_ms, bound_ms, held)


def test_a_bogus_check_is_stun_of_the_length_that_it_says() -> None:
    kind, length, cookie = struct.unpack("!HHI", bogus_check()[:8])
    assert (kind, length, cookie) == (1, len(bogus_check()) - 20, STUN_COOKIE)
    assert length % 4 == 0


async def test_a_stranger_that_is_shut_out_comes_again() -> None:
    came = asyncio.Queue[bytes]()

    async def shut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.put_nowait(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(shut, "127.0.0.1", 0) as server:
        to = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        stranger = Stranger("half-sent requests", to, b"GET", b"x")
        async with asyncio.timeout(20):
            for _ in range(2):
                stranger.act()
                assert await came.get() == b"GET"
                while stranger._socket is not None:
                    await asyncio.sleep(0.01)
                    stranger.act()
        assert stranger.opened == 2


def test_a_crowd_is_a_thousand_strangers() -> None:
    nobody = Address("127.0.0.1", 1)
    assert len(Crowd.of(nobody, nobody, nobody).strangers) == 1_000
