"""Records are read again when something happened to them, now and then anyway, and never all at once."""

import pytest
from redis.exceptions import ConnectionError as RedisAway

from genlock_core.claims import keys
from genlock_core.levelling.shelf import MOST_AT_ONCE, READ_AGAIN, RecordShelf
from tests.core.levelling.busy_hour import BusyHour


async def filled(hour: BusyHour, count: int = 3) -> tuple[RecordShelf, list[str]]:
    names = [await hour.create(f"s{number}") for number in range(count)]
    shelf = RecordShelf(hour.claims)
    await shelf.of(names)
    return shelf, names


async def test_what_is_known_is_not_read_again(hour: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, names = await filled(hour)
    monkeypatch.setattr(hour.claims, "records_of", None)
    assert list(await shelf.of(names)) == names


async def test_only_what_makes_a_difference_to_a_plan_is_told(hour: BusyHour) -> None:
    shelf, names = await filled(hour)
    await hour.claims.remember_control(names[0], {"prompt": "rain"}, "1-0")
    await hour.claims.remember_control(names[1], {"steps": "2"}, "1-0")
    for name in names[:2]:
        shelf.heard(name)

    assert await shelf.renew(also_longest_ago=False) == [names[1]]
    assert await shelf.renew(also_longest_ago=False) == []
    assert (await shelf.of(names))[names[1]].requested_steps == 2


async def test_what_happens_while_a_record_is_read_is_read_again(
    hour: BusyHour, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, names = await filled(hour)
    records_of = hour.claims.records_of

    async def overtaken(sessions: list[str]) -> object:
        found = await records_of(sessions)
        if names[0] in sessions:
            monkeypatch.undo()
            await hour.claims.remember_control(names[0], {"steps": "2"}, "1-0")
            shelf.heard(names[0])
        return found

    monkeypatch.setattr(hour.claims, "records_of", overtaken)
    shelf.heard(names[0])
    assert await shelf.renew(also_longest_ago=False) == []
    assert shelf.has_old
    assert await shelf.renew(also_longest_ago=False) == [names[0]]


async def test_what_could_not_be_read_is_still_old(hour: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, names = await filled(hour)

    async def away(_sessions: list[str]) -> object:
        raise RedisAway("away")

    monkeypatch.setattr(hour.claims, "records_of", away)
    shelf.heard(names[0])
    with pytest.raises(RedisAway):
        await shelf.renew(also_longest_ago=False)
    assert shelf.has_old


async def test_what_nobody_told_of_is_found_in_turn(hour: BusyHour) -> None:
    shelf, names = await filled(hour, READ_AGAIN + 5)
    await hour.claims.remember_control(names[-1], {"steps": "2"}, "1-0")
    assert await shelf.renew(also_longest_ago=True) == []
    assert await shelf.renew(also_longest_ago=True) == [names[-1]]


async def test_a_burst_of_events_is_read_in_parts(hour: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, names = await filled(hour, MOST_AT_ONCE + 5)
    asked: list[int] = []
    records_of = hour.claims.records_of

    async def counted(sessions: list[str]) -> object:
        asked.append(len(sessions))
        return await records_of(sessions)

    monkeypatch.setattr(hour.claims, "records_of", counted)
    for name in names:
        shelf.heard(name)
    await shelf.renew(also_longest_ago=False)
    assert shelf.has_old
    await shelf.renew(also_longest_ago=False)
    assert (asked, shelf.has_old) == ([MOST_AT_ONCE, 5], False)


async def test_what_happens_while_it_is_read_is_read_again(hour: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, names = await filled(hour)
    records_of = hour.claims.records_of

    async def slow(sessions: list[str]) -> object:
        found = await records_of(sessions)
        await hour.claims.remember_control(names[0], {"steps": "2"}, "1-0")
        shelf.heard(names[0])
        return found

    shelf.heard(names[0])
    monkeypatch.setattr(hour.claims, "records_of", slow)
    assert await shelf.renew(also_longest_ago=False) == []
    monkeypatch.setattr(hour.claims, "records_of", records_of)
    assert await shelf.renew(also_longest_ago=False) == [names[0]]


async def test_what_could_not_be_read_is_old_still(hour: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, names = await filled(hour)

    async def away(_sessions: list[str]) -> object:
        raise RedisAway("away")

    shelf.heard(names[0])
    monkeypatch.setattr(hour.claims, "records_of", away)
    with pytest.raises(RedisAway):
        await shelf.renew(also_longest_ago=False)
    assert shelf.has_old


async def test_a_record_of_a_later_release_spoils_no_other(hour: BusyHour, caplog: pytest.LogCaptureFixture) -> None:
    shelf, names = await filled(hour)
    await hour.redis.hset(keys.record(names[0]), "phase", "Sublimated")
    for name in names:
        shelf.heard(name)

    assert await shelf.renew(also_longest_ago=False) == [names[0]]
    assert list(await shelf.of(names)) == names[1:]
    shelf.heard(names[0])
    await shelf.renew(also_longest_ago=False)
    assert len(caplog.records) == 1, "it is told once"

    await hour.redis.hset(keys.record(names[0]), "phase", "Live")
    shelf.heard(names[0])
    await shelf.renew(also_longest_ago=False)
    assert list(await shelf.of(names)) == names


async def test_what_is_not_planned_any_more_is_forgotten(hour: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, names = await filled(hour)
    shelf.keep(names[:1])
    shelf.heard(names[1])
    monkeypatch.setattr(hour.claims, "records_of", None)
    assert await shelf.renew(also_longest_ago=False) == []
