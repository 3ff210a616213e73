"""One read for all who ask at once, and never one that began before the question."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from genlock_gateway.sessions.shared_reads import SharedReads


class Slow:
    """A read that ends when it is told to, and says which one it was."""

    def __init__(self) -> None:
        self.begun = 0
        self.ends = [asyncio.Event() for _ in range(4)]

    async def __call__(self) -> int:
        number = self.begun
        self.begun += 1
        await self.ends[number].wait()
        return number


@pytest.fixture
async def reads() -> AsyncIterator[SharedReads[int]]:
    made: SharedReads[int] = SharedReads()
    yield made
    await made.end()


def ask(reads: SharedReads[int], slow: Slow, key: str = "one") -> "asyncio.Task[int]":
    return asyncio.create_task(reads.get(key, slow))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_while_a_read_runs_gets_the_next_one(reads: SharedReads[int]) -> None:
    slow = Slow()
    first = ask(reads, slow)
    await settled()
    later = [ask(reads, slow) for _ in range(50)]
    await settled()
    assert slow.begun == 1
    slow.ends[0].set()
    assert await first == 0
    await settled()
    slow.ends[1].set()
    assert set(await asyncio.gather(*later)) == {1}
    assert slow.begun == 2


async def test_keys_do_not_wait_for_each_other(reads: SharedReads[int]) -> None:
    one, other = Slow(), Slow()
    stuck = ask(reads, one, "one")
    other.ends[0].set()
    assert await ask(reads, other, "other") == 0
    assert not stuck.done()


async def test_one_who_gives_up_takes_the_read_from_nobody(reads: SharedReads[int]) -> None:
    slow = Slow()
    quitter = ask(reads, slow)
    await settled()
    others = [ask(reads, slow), ask(reads, slow)]
    await settled()
    quitter.cancel()
    others[0].cancel()
    slow.ends[0].set()
    slow.ends[1].set()
    assert await others[1] == 1


async def test_all_who_share_a_read_hear_of_its_error_and_the_next_one_is_made(reads: SharedReads[int]) -> None:
    async def fails() -> int:
        await asyncio.sleep(0)
        raise ConnectionError("away")

    failed = await asyncio.gather(*(reads.get("one", fails) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in failed] == [ConnectionError] * 3
    slow = Slow()
    slow.ends[0].set()
    assert await reads.get("one", slow) == 0
    assert not reads._of_key
