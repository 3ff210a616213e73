"""Reading records together: one question to Redis for all who ask at once, and everybody gets their own answer."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.exceptions import ConnectionError as NoConnection

from genlock_core.claims.record import SessionRecord
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_operator.reconcile.records import RecordReader


class Redis:
    """Records by name, and what was asked. A question about `broken` has no answer that can be read."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.asked: list[list[str]] = []
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def records_of(self, sessions: Sequence[str]) -> dict[str, SessionRecord]:
        self.asked.append(list(sessions))
        await self.gate.wait()
        if self.away:
            raise NoConnection("nobody answers")
        if "studio/broken" in sessions:
            raise ValueError("that is no record")
        return {name: record(name) for name in sessions if name in self.names}


def record(name: str) -> SessionRecord:
    return SessionRecord(resolve(SessionKey.parse(name), StreamSessionSpec()), ())


def reader_of(redis: Redis) -> RecordReader:
    return RecordReader(redis)  # type: ignore[arg-type]


async def test_who_asks_at_the_same_moment_is_answered_by_one_question() -> None:
    redis = Redis("studio/a", "studio/b")
    reader = reader_of(redis)
    found = await asyncio.gather(*(reader.record(f"studio/{name}") for name in "abc"))
    assert [one and one.name for one in found] == ["studio/a", "studio/b", None]
    assert redis.asked == [["studio/a", "studio/b", "studio/c"]]


async def test_who_asks_during_a_question_gets_what_is_there_afterwards() -> None:
    redis = Redis()
    redis.gate.clear()
    reader = reader_of(redis)
    first = asyncio.create_task(reader.record("studio/a"))
    while not redis.asked:
        await asyncio.sleep(0)
    second = asyncio.create_task(reader.record("studio/a"))
    await asyncio.sleep(0)
    redis.gate.set()
    await first
    assert await second is None
    assert redis.asked == [["studio/a"], ["studio/a"]]


async def test_a_record_that_cannot_be_read_is_in_nobody_elses_way() -> None:
    reader = reader_of(Redis("studio/a", "studio/b"))
    names = ("studio/a", "studio/broken", "studio/b")
    first, broken, last = await asyncio.gather(*(reader.record(name) for name in names), return_exceptions=True)
    assert isinstance(first, SessionRecord)
    assert isinstance(broken, ValueError)
    assert isinstance(last, SessionRecord)


async def test_everybody_hears_that_redis_is_away_and_is_answered_when_it_is_back() -> None:
    redis = Redis("studio/a")
    redis.away = True
    reader = reader_of(redis)
    for one in await asyncio.gather(reader.record("studio/a"), reader.record("studio/b"), return_exceptions=True):
        assert isinstance(one, NoConnection)
    redis.away = False
    assert await reader.record("studio/a") is not None


async def test_one_that_does_not_wait_any_longer_leaves_the_others_their_answers() -> None:
    redis = Redis("studio/a", "studio/b")
    redis.gate.clear()
    reader = reader_of(redis)
    impatient, patient = (asyncio.create_task(reader.record(f"studio/{name}")) for name in "ab")
    while not redis.asked:
        await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    redis.gate.set()
    assert await patient is not None
