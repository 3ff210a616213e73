"""A full pool lets the next one in, others give way for it, and get back what they asked for. On a real Redis."""

from collections import Counter

import pytest

from genlock_core.claims import keys
from genlock_core.claims.facts import LimitOutcome
from genlock_core.claims.liveness import HOLE_AFTER_MS, HOLE_KEPT_MS
from genlock_core.claims.price_list import PoolChoice
from genlock_core.errors import NoCapacity
from genlock_core.levelling.keeper import RANK_OF_OPERATOR
from genlock_core.levelling.meter import LevelMeter
from tests.core.claims import probes, samples
from tests.core.levelling.busy_hour import EVERYBODY, PRICES, BusyHour


@pytest.fixture
async def full(hour: BusyHour) -> BusyHour:
    """One worker that eight sessions have filled at 4 steps each for longer than levels take to settle."""
    await hour.worker("w")
    await hour.fill()
    await hour.settle_down()
    hour.decider()
    await hour.passes(1)
    return hour


async def test_a_full_pool_serves_the_ninth_within_3_s(full: BusyHour) -> None:
    await full.arrive("ninth")
    assert full.waits == ["default/ninth"]

    await full.passes(3)

    assert full.waits == []
    await full.check()
    steps = await full.steps()
    assert sum(4 - one for one in steps.values()) == 5, "nobody gives up more than is needed"
    lowered = [await full.record(name) for name, one in steps.items() if one < 4]
    others = [one for one in lowered if one.session.key.name != "ninth"]
    assert others
    assert any(one.limit is not None for one in others)
    assert all(one.below_since_ms for one in lowered)


async def test_only_who_decides_counts_levels_and_the_time_below_the_request(full: BusyHour) -> None:
    full.decider("operator", RANK_OF_OPERATOR)
    both = full.deciders
    await full.arrive("ninth")
    await full.passes(5)

    def counted(name: str) -> list[float]:
        """What the processes say, each of its own."""
        samples = [[one for metric in each.metrics.registry.collect() for one in metric.samples] for each in both]
        return sorted(sum(one.value for one in of_one if one.name == name) for of_one in samples)

    assert counted("genlock_level_sessions") == [0, 9]
    assert counted("genlock_degraded_seconds_total")[0] == 0
    assert counted("genlock_degraded_seconds_total")[1] > 0


async def test_sessions_whose_counting_takes_long_are_counted_more_rarely(
    full: BusyHour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up a gateway's loop, which forwards pictures meanwhile."""
    counted: list[object] = []

    def slow(_meter: LevelMeter, pools: object) -> None:
        counted.append(pools)
        full.clock.advance(0.1)

    monkeypatch.setattr(LevelMeter, "count", slow)
    await full.passes(6)
    assert len(counted) == 3


async def test_nothing_is_done_while_everybody_has_what_it_asks_for(full: BusyHour) -> None:
    (decider,) = full.deciders
    assert set((await full.steps()).values()) == {4}
    assert decider.metrics.registry.get_sample_value("genlock_level_changes_total") is None


async def test_who_gave_way_is_raised_again_within_60_s_when_two_leave(full: BusyHour) -> None:
    await full.arrive("ninth")
    await full.passes(10)
    await full.leave("a")
    await full.leave("b")

    await full.passes(60)

    assert set((await full.steps()).values()) == {4}
    assert [(await full.record(name)).limit for name in "cdefgh"] == [None] * 6
    await full.check()


async def test_a_level_changes_once_in_15_s(full: BusyHour) -> None:
    """But for those who wait: a level falls for them at once."""
    await full.arrive("ninth")
    await full.passes(3)
    before = await full.steps()
    await full.leave("a")
    await full.leave("b")

    await full.passes(10)

    assert {name: steps for name, steps in (await full.steps()).items() if steps < 4} == {
        name: steps for name, steps in before.items() if steps < 4 and name not in "ab"
    }


async def test_a_hole_is_not_taken_by_those_who_want_more(full: BusyHour) -> None:
    """Each of them asks for room twice a second; the one for whom it was made comes late."""
    await full.wish("a", 1)
    await full.passes(20)
    await full.wish("a", 4)
    assert (await full.steps())["a"] == 4
    for name in "bc":
        await full.wish(name, 2)
    await full.passes(20)
    for name in "bc":
        await full.wish(name, 3)

    await full.create("ninth")
    full.waits.append("default/ninth")
    await full.passes(8)

    assert full.waits == []
    await full.check()


async def test_a_user_who_raises_steps_meanwhile_gets_what_there_is(full: BusyHour) -> None:
    await full.wish("a", 1)
    await full.passes(20)
    await full.arrive("ninth")
    await full.wish("a", 4)

    await full.passes(3)

    assert full.waits == []
    await full.check()


async def test_nobody_gives_way_on_a_worker_of_the_release_before(hour: BusyHour) -> None:
    """Its heartbeats raise whoever a plan lowers, so no hole would ever come of it."""
    for name in "vw":
        await hour.worker(name)
    await hour.redis.hdel(f"{keys.PREFIX}worker:v", "halves")
    await hour.fill("abcdefghijklmnop")
    await hour.settle_down()
    hour.decider()
    await hour.passes(1)

    await hour.arrive("next")
    await hour.passes(3)

    assert hour.waits == []
    assert (await hour.record("next")).owner == hour.workers["w"].identity
    views = {view.identity.name: view for view in await hour.claims.workers()}
    steps = await hour.steps()
    assert {steps[session.removeprefix("default/")] for session in views["v"].sessions} == {4}


async def test_a_session_that_gives_nothing_up_keeps_its_steps(hour: BusyHour) -> None:
    await hour.worker("w")
    for name in "abcdefgh":
        await hour.arrive(name, adaptive=name not in "abcdef")
    await hour.settle_down()
    hour.decider()
    await hour.passes(1)
    await hour.arrive("ninth")

    await hour.passes(3)

    steps = await hour.steps()
    assert hour.waits == []
    assert {steps[name] for name in "abcdef"} == {4}


async def test_who_fits_nowhere_waits_and_nobody_gives_way_for_it(hour: BusyHour) -> None:
    await hour.worker("w")
    for name in EVERYBODY:
        await hour.arrive(name, adaptive=False)
    hour.decider()
    await hour.arrive("ninth")

    await hour.passes(5)

    assert hour.waits == ["default/ninth"]
    assert set((await hour.steps()).values()) == {4}
    told = await hour.told.levels("a")
    assert told is not None
    assert told.waiting == 1
    assert any(sentence.startswith("default/ninth waits") for sentence in told.sentences)


async def test_for_whom_a_workers_room_is_kept_is_told_and_no_more_once_it_is_over(hour: BusyHour) -> None:
    await hour.worker("w")
    for name in EVERYBODY[:7]:
        await hour.arrive(name, adaptive=False)
    hour.decider()
    await hour.claims.create(samples.record("large", PoolChoice("a", 500)))
    hour.waits.append("default/large")
    await hour.passes(HOLE_AFTER_MS / 1_000 + 5)

    told = await hour.told.levels("a")
    assert told is not None
    begins = "default/large waits longest: the room of w is kept for it"
    assert told.sentences[0].startswith(begins)

    await hour.arrive("small", adaptive=False)
    assert hour.waits == ["default/large", "default/small"]
    await hour.passes(HOLE_KEPT_MS / 1_000 + 5)
    assert hour.waits == ["default/large"]
    told = await hour.told.levels("a")
    assert told is not None
    assert not any(sentence.startswith(begins) for sentence in told.sentences)


async def test_nobody_gives_way_where_a_reserve_can_never_be_whole(full: BusyHour) -> None:
    """No claim gets room beside it, however low all others are."""
    await full.claims.set_reserve("a", 900)
    await full.arrive("ninth")
    await full.passes(5)
    assert full.waits == ["default/ninth"]
    assert {(await full.steps())[name] for name in EVERYBODY} == {4}
    told = await full.told.levels("a")
    assert told is not None
    assert "nobody is let in" in told.sentences[0]

    await full.claims.set_reserve("a", 0)
    await full.passes(3)
    assert full.waits == []


async def test_who_has_two_pools_comes_where_others_lose_least(hour: BusyHour) -> None:
    await hour.worker("w")
    await hour.worker("v", "b")
    await hour.fill()
    for name in "ijklmnop":
        await hour.arrive(name, pools=("b",), adaptive=False)
    await hour.settle_down()
    hour.decider()
    await hour.passes(1)
    await hour.arrive("ninth", pools=("b", "a"))

    await hour.passes(3)

    ninth = await hour.record("ninth")
    assert (ninth.pool, hour.waits) == ("a", [])
    await hour.check()


async def test_one_hole_is_enough_for_who_takes_its_time(hour: BusyHour) -> None:
    """Meanwhile something happens on the other worker, which is planned again."""
    for name in ("v", "w"):
        await hour.worker(name)
        await hour.fill([f"{name}-{number}" for number in range(8)])
    await hour.settle_down()
    hour.decider()
    await hour.passes(1)
    session = await hour.create("late")
    with pytest.raises(NoCapacity):
        await hour.claims.claim(session)
    await hour.passes(1)
    host = {(await hour.record(name)).owner for name, steps in (await hour.steps()).items() if steps < 4}
    assert len(host) == 1

    others = [name for name in await hour.steps() if (await hour.record(name)).owner not in host]
    await hour.wish(others[0], 3)
    await hour.passes(2)

    assert {(await hour.steps())[name] for name in others[1:]} == {4}


async def test_sixteen_are_served_where_eight_were(full: BusyHour) -> None:
    for number in range(8):
        await full.arrive(f"late-{number}")

    await full.passes(10)

    assert full.waits == []
    assert Counter((await full.steps()).values()) == {1: 16}
    await full.check()


# -- who decides -----------------------------------------------------------------------------------------------------


async def test_a_gateway_decides_3_s_after_the_operator_is_gone(hour: BusyHour) -> None:
    await hour.worker("w")
    await hour.fill()
    operator = hour.decider("operator", RANK_OF_OPERATOR)
    gateway = hour.decider("gateway")
    await hour.passes(20)
    assert (hour.deciders[0].keeper.leads("a"), gateway.keeper.leads("a")) == (True, False)

    operator.dead = True
    await hour.arrive("ninth")
    await hour.passes(3)

    assert gateway.keeper.leads("a")
    await hour.passes(2)
    assert hour.waits == []


async def test_the_operator_takes_over_from_a_gateway_at_once(hour: BusyHour) -> None:
    await hour.worker("w")
    gateway = hour.decider("gateway")
    await hour.passes(2)
    assert gateway.keeper.leads("a")

    operator = hour.decider("operator", RANK_OF_OPERATOR)
    await hour.passes(1.5)

    assert operator.keeper.leads("a")
    assert not gateway.keeper.leads("a")


async def test_the_next_one_ends_what_a_decider_began(full: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies when it has told the first of two to give way; that one has not settled yet."""
    first = full.deciders[0]
    full.slow.add("w")
    for name in ("ninth", "tenth"):
        await full.arrive(name)
    limit = full.claims.limit

    async def limit_and_die(*args: object, **kwargs: object) -> None:
        await limit(*args, **kwargs)  # type: ignore[arg-type]
        raise RuntimeError("killed")

    monkeypatch.setattr(full.claims, "limit", limit_and_die)
    with pytest.raises(RuntimeError, match="killed"):
        await full.passes(1)
    monkeypatch.setattr(full.claims, "limit", limit)
    first.dead = True
    assert sum(steps < 4 for steps in (await full.steps()).values()) == 1
    await full.check()

    full.slow.clear()
    full.decider("next")
    await full.passes(5)

    assert full.waits == []
    await full.check()


async def test_it_begins_anew_where_redis_has_lost_everything(full: BusyHour) -> None:
    await probes.flush(full.redis)
    await full.passes(1)
    await full.worker("w")
    await full.fill()
    await full.settle_down()
    await full.arrive("ninth")

    await full.passes(4)

    assert full.waits == []
    await full.check()


async def test_a_user_who_wants_less_makes_room_for_who_waits_before_anybody_else_does(full: BusyHour) -> None:
    """It has not been given back yet: that takes 15 s where nobody waits."""
    await full.wish("a", 1)
    await full.wish("b", 1)
    await full.arrive("ninth")

    await full.passes(3)

    steps = await full.steps()
    assert full.waits == []
    assert {name: steps[name] for name in "abcdefgh"} == dict.fromkeys("ab", 1) | dict.fromkeys("cdefgh", 4)


async def test_what_is_kept_for_moves_is_given_to_nobody_who_waits(full: BusyHour) -> None:
    """So others make room for both, and the reserve is free when the ninth is there."""
    await full.claims.set_reserve("a", 100)
    await full.arrive("ninth")

    await full.passes(5)

    assert full.waits == []
    (worker,) = await full.claims.workers()
    assert worker.free >= 100
    await full.check()


async def test_who_drains_raises_and_lowers_nobody(full: BusyHour) -> None:
    await full.arrive("ninth")
    await full.passes(3)
    before = await full.steps()
    await full.claims.close(full.workers["w"].identity)
    await full.leave("a")
    await full.leave("b")

    await full.passes(40)

    left = {name: steps for name, steps in before.items() if name not in "ab"}
    assert await full.steps() == left
    told = await full.told.levels("a")
    assert told is not None
    assert "w drains: its sessions keep what they have" in told.sentences


async def test_two_that_decide_at_once_do_no_harm(full: BusyHour, monkeypatch: pytest.MonkeyPatch) -> None:
    async def yes(*_args: object, **_kwargs: object) -> bool:
        return True

    monkeypatch.setattr(full.claims, "decide", yes)
    full.decider("another")
    await full.arrive("ninth")

    await full.passes(5)

    assert full.waits == []
    assert sum(4 - steps for steps in (await full.steps()).values()) == 5
    await full.check()


async def test_an_order_that_redis_refuses_is_not_repeated_for_ever(
    full: BusyHour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later release may have another rule of what a session may have."""
    asked: list[str] = []

    async def refuse(session: str, **_kwargs: object) -> LimitOutcome:
        asked.append(session)
        return LimitOutcome.STALE

    monkeypatch.setattr(full.claims, "limit", refuse)
    await full.arrive("ninth")
    await full.passes(5)
    assert max(Counter(asked).values()) == 1


# -- what is told ----------------------------------------------------------------------------------------------------


async def test_the_last_plan_is_told_in_sentences_and_runs_out(full: BusyHour) -> None:
    await full.arrive("ninth")
    await full.passes(5)

    told = await full.told.levels("a")
    assert told is not None
    lowered = [name for name, steps in (await full.steps()).items() if steps < 4]
    assert (told.by, told.sessions, told.below, told.waiting) == ("gateway", 9, len(lowered), 0)
    assert 0 <= told.gap < 0.1
    assert all(any(f"default/{name} runs" in sentence for sentence in told.sentences) for name in lowered)

    full.deciders.clear()
    await full.passes(31)
    assert await full.told.levels("a") is None


async def test_changes_and_gap_are_counted(full: BusyHour) -> None:
    await full.arrive("ninth")
    await full.passes(5)
    value = full.deciders[0].metrics.registry.get_sample_value
    changes = value("genlock_level_changes_total", {"direction": "down", "cause": "admission"})
    assert changes is not None
    assert changes >= 1
    assert value("genlock_level_gap", {"pool": "a"}) is not None


def test_the_prices_are_what_these_tests_speak_of() -> None:
    assert PRICES[3] * 8 == 1_000
    assert PRICES[0] * 2 <= PRICES[3]
