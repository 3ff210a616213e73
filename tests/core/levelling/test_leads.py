"""Which pools a process leads: those with workers that it covers, as long as it holds their leases."""

import pytest

from genlock_core.levelling.leads import LIST_EVERY_S, Leads
from tests.core.claims.passing import time_passes
from tests.core.levelling.busy_hour import BusyHour


def leads(hour: BusyHour, holder: str = "one", rank: int = 1, *, only: str = "") -> Leads:
    return Leads(hour.claims, holder=holder, rank=rank, clock=hour.clock, covers=lambda pool: pool.startswith(only))


async def test_whoever_comes_first_leads_until_it_holds_no_more(hour: BusyHour) -> None:
    await hour.worker("w")
    first, second = leads(hour, "one"), leads(hour, "two")
    for one in (first, second):
        await one.hold()
    assert (first.pools(), second.pools()) == (("a",), ())

    for _ in range(3):
        await time_passes(hour.claims, hour.clock, 1.0)
        await second.hold()
    assert (first.pools(), second.pools()) == ((), ("a",))


async def test_an_operator_leads_before_a_gateway(hour: BusyHour) -> None:
    await hour.worker("w")
    gateway, operator = leads(hour, "gateway"), leads(hour, "operator", 0)
    await gateway.hold()
    await operator.hold()
    await gateway.hold()
    assert (gateway.pools(), operator.pools()) == ((), ("a",))


async def test_only_pools_that_are_covered_are_led(hour: BusyHour) -> None:
    for name, pool in (("v", "media/a"), ("w", "other/a")):
        await hour.worker(name, pool)
    found = leads(hour, only="media/")
    await found.hold()
    assert found.pools() == ("media/a",)


async def test_a_new_pool_is_found_without_asking_each_time_what_there_is(
    hour: BusyHour, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    workers = hour.claims.workers

    async def counted() -> object:
        asked.append(hour.clock.monotonic())
        return await workers()

    monkeypatch.setattr(hour.claims, "workers", counted)
    await hour.worker("w")
    found = leads(hour)
    await found.hold()
    await found.hold()
    assert len(asked) == 1

    await hour.worker("v", "b")
    await time_passes(hour.claims, hour.clock, LIST_EVERY_S)
    await found.hold()
    assert found.pools() == ("a", "b")

    found.note(["b"])
    await found.hold()
    assert found.pools() == ("b",)
