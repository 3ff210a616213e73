import itertools
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.level_pools import Group, exact, lowered_pool
from genlock_core.approximation.allocate import MOST_ADMISSIONS, MOST_SESSIONS, allocate
from genlock_core.approximation.knapsack import Knapsack
from genlock_core.approximation.options import RIPE_MS, SETTLE_MS, STICKINESS
from genlock_core.approximation.plan import LevelCause, LevelPlan, LevelSession, LevelWorker
from tests.core.approximation.level_worlds import (
    LINEAR,
    NOW_MS,
    POOL,
    ladder,
    newcomer,
    pools,
    seated,
    used,
)

Pool = tuple[Sequence[LevelSession], Sequence[LevelWorker]]
ONE = [LevelWorker("w", POOL, 1_000)]
TOLERANCE = 1.1e-3
"""In the share of quality: what decides between equals may cost a thousandth, and quality is counted in grains."""


def plan(
    sessions: Sequence[LevelSession], workers: Sequence[LevelWorker] = ONE, stickiness: float = STICKINESS
) -> LevelPlan:
    return allocate(sessions, workers, now_ms=NOW_MS, stickiness=stickiness)


def steps(found: LevelPlan) -> dict[str, int]:
    return {seat.session: seat.level.steps for seat in found.seats if seat.level is not None}


def told(found: LevelPlan) -> list[tuple[str, LevelCause, int]]:
    return [(one.session, one.cause, one.after.steps) for one in found.changes]


# -- what a plan does ------------------------------------------------------------------------------------------------


def test_a_full_pool_makes_room_for_one_more_and_nobody_is_lowered_further_than_that_needs() -> None:
    sessions = [seated(name, "w") for name in "abcd"] + [newcomer("e")]
    found = plan(sessions)
    assert found.waiting == ()
    assert used(found) == {"w": 1_000}
    assert found.quality == pytest.approx(3.75)
    assert found.changes[-1].cause is LevelCause.ADMITTED
    assert {one.cause for one in found.changes[:-1]} == {LevelCause.LOWERED}


def test_a_worker_with_room_raises_everybody() -> None:
    found = plan([seated("a", "w", 3), seated("b", "w", 2)])
    assert told(found) == [("a", LevelCause.RAISED, 4), ("b", LevelCause.RAISED, 4)]
    assert found.gap == 0


def test_who_was_lowered_longest_ago_is_raised_first() -> None:
    def world(since_a: int, since_b: int) -> list[LevelSession]:
        others = [seated(name, "w", rungs=ladder((375, 1.0))) for name in "xy"]
        a = seated("a", "w", 3, below_since_ms=NOW_MS - since_a)
        return [*others, a, seated("b", "w", 3, below_since_ms=NOW_MS - since_b)]

    workers = [LevelWorker("w", POOL, 1_125)]
    assert told(plan(world(200_000, 100_000), workers)) == [("a", LevelCause.RAISED, 4)]
    assert told(plan(world(100_000, 200_000), workers)) == [("b", LevelCause.RAISED, 4)]


def test_a_level_that_changed_a_moment_ago_is_not_raised_and_not_lowered_for_others_quality() -> None:
    fresh = NOW_MS - SETTLE_MS + 1
    assert plan([seated("a", "w", 3, changed_ms=fresh)]).changes == ()
    assert len(plan([seated("a", "w", 3, changed_ms=fresh - 1)]).changes) == 1

    # The other one would gain far more by the same room.
    poor = ladder((600, 0.2), (300, 0.1))
    rich = ladder((700, 1.0), (400, 0.1))
    held = [seated("a", "w", 0, poor, changed_ms=fresh), seated("b", "w", 1, rich)]
    assert plan(held).changes == ()
    free = [seated("a", "w", 0, poor), seated("b", "w", 1, rich)]
    assert told(plan(free)) == [("a", LevelCause.LOWERED, 3), ("b", LevelCause.RAISED, 4)]


def test_somebody_without_a_worker_lowers_at_once_what_changed_a_moment_ago() -> None:
    fresh = NOW_MS - 1
    sessions = [seated(name, "w", changed_ms=fresh) for name in "abcd"]
    assert plan(sessions).changes == ()
    assert plan([*sessions, newcomer("e")]).waiting == ()


def test_a_clock_that_jumped_holds_nobody_back() -> None:
    assert told(plan([seated("a", "w", 3, changed_ms=NOW_MS + 1_000_000)])) == [("a", LevelCause.RAISED, 4)]


def test_a_change_must_be_worth_more_than_stickiness() -> None:
    # To lower a and to raise b are two changes.
    def world(gain: float) -> list[LevelSession]:
        a = ladder((600, 0.5), (300, 0.5 - 0.1))
        b = ladder((700, 0.5 + gain), (400, 0.5))
        return [seated("a", "w", 0, a), seated("b", "w", 1, b, changed_ms=NOW_MS - RIPE_MS + 1)]

    assert plan(world(0.1 + 2 * STICKINESS - 0.005)).changes == ()
    assert len(plan(world(0.1 + 2 * STICKINESS + 0.005)).changes) == 2


def test_a_small_gain_waits_until_the_level_is_ripe_and_is_then_given() -> None:
    flat = ladder((300, 1.0), (200, 1.0 - STICKINESS / 2))
    assert plan([seated("a", "w", 1, flat, changed_ms=NOW_MS - RIPE_MS + 1)]).changes == ()
    assert len(plan([seated("a", "w", 1, flat, changed_ms=NOW_MS - RIPE_MS)]).changes) == 1


def test_of_levels_that_look_the_same_the_higher_one_is_granted() -> None:
    same = ladder((300, 0.8), (200, 0.8))
    assert steps(plan([seated("a", "w", 1, same)])) == {"a": 4}
    assert steps(plan([seated("a", "w", 0, same)])) == {"a": 4}


def test_what_is_granted_above_the_request_is_given_back_once_it_has_settled() -> None:
    lower = ladder((250, 1.0), (200, 0.75))
    asked = type(lower)(lower.rungs[1:])
    had = seated("a", "w", 0, lower)
    for changed_ms, expected in ((NOW_MS - 1, []), (NOW_MS - SETTLE_MS, [("a", LevelCause.GIVEN_BACK, 3)])):
        now = LevelSession("a", {POOL: asked}, "w", had.granted, had.cost, changed_ms=changed_ms)
        assert told(plan([now])) == expected


def test_a_ladder_with_one_rung_is_never_lowered_and_its_neighbour_is() -> None:
    fixed = ladder((500, 1.0))
    found = plan([seated("a", "w", 0, fixed), seated("b", "w", 0, ladder((500, 1.0), (250, 0.9))), newcomer("c")])
    assert steps(found)["a"] == 4
    assert steps(found)["b"] == 3
    assert plan([seated("a", "w", 0, fixed), seated("b", "w", 0, fixed), newcomer("c")]).waiting == ("c",)


def test_a_session_without_a_ladder_stays_as_it_is_and_keeps_its_place() -> None:
    old = LevelSession("old", {}, "w", None, 600)
    found = plan([old, seated("a", "w"), newcomer("b", ladder((250, 1.0)))])
    assert [(seat.session, seat.cost) for seat in found.seats] == [("a", 150), ("b", 250), ("old", 600)]


def test_a_session_is_admitted_where_the_others_lose_least() -> None:
    workers = [LevelWorker(name, POOL, 1_000) for name in ("v", "w")]
    dear = ladder((500, 1.0), (250, 0.2))
    cheap = ladder((500, 1.0), (250, 0.9))
    sessions = [seated(f"v{number}", "v", 0, dear) for number in range(2)]
    sessions += [seated(f"w{number}", "w", 0, cheap) for number in range(2)]
    found = plan([*sessions, newcomer("x", ladder((250, 1.0)))], workers)
    assert [seat.worker for seat in found.seats if seat.session == "x"] == ["w"]
    assert [one.session for one in found.changes if one.cause is LevelCause.LOWERED] in (["w0"], ["w1"])


def test_fragments_on_many_workers_admit_nobody() -> None:
    workers = [LevelWorker(f"w{number}", POOL, 1_000) for number in range(4)]
    sessions = [seated(f"s{number}", f"w{number}", 0, ladder((900, 1.0))) for number in range(4)]
    found = plan([*sessions, newcomer("x", ladder((400, 1.0), (200, 0.5)))], workers)
    assert found.waiting == ("x",)
    assert found.changes == ()


def test_who_had_a_worker_comes_first_then_who_waits_longest() -> None:
    hole = [LevelWorker("w", POOL, 250)]
    one_rung = ladder((250, 1.0))
    early, late = newcomer("y", one_rung, waits_since_ms=1), newcomer("x", one_rung, waits_since_ms=2)
    orphan = newcomer("z", one_rung, waits_since_ms=3, recovers=True)
    assert plan([early, late, orphan], hole).waiting == ("y", "x")
    assert plan([late, early], hole).waiting == ("x",)


def test_who_can_go_lower_finds_a_hole_that_was_too_small_for_another_with_the_same_wish() -> None:
    hole = [LevelWorker("w", POOL, 250)]
    proud, modest = newcomer("a", ladder((500, 1.0))), newcomer("b", ladder((500, 1.0), (250, 0.5)))
    assert plan([proud, modest], hole).waiting == ("a",)


def test_a_worker_that_admits_nobody_still_has_its_sessions_planned() -> None:
    leaving = [LevelWorker("w", POOL, 1_000, admits=False)]
    found = plan([seated("a", "w", 3), newcomer("b")], leaving)
    assert found.waiting == ("b",)
    assert told(found) == [("a", LevelCause.RAISED, 4)]


def test_a_worker_that_is_too_full_falls_at_once_and_as_low_as_it_may_where_that_is_not_enough() -> None:
    sessions = [seated(name, "w", changed_ms=NOW_MS - 1) for name in "abcd"]
    small = plan(sessions, [LevelWorker("w", POOL, 900)])
    assert used(small)["w"] <= 900
    assert small.overfull == ()
    tiny = plan(sessions, [LevelWorker("w", POOL, 400)])
    assert tiny.overfull == ("w",)
    assert used(tiny)["w"] == 500


def test_a_session_whose_worker_is_not_given_is_left_alone() -> None:
    found = plan([seated("a", "elsewhere", 3)])
    assert (found.seats, found.changes, found.waiting) == ((), (), ())


def test_two_sessions_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        plan([seated("a", "w"), seated("a", "w")])


def test_a_worker_of_a_million_thousandths_is_planned_in_coarser_parts_and_holds() -> None:
    big = [LevelWorker("w", POOL, 1_000_000)]
    many = [seated(f"s{number}", "w", 1, ladder((1_249, 1.0), (749, 0.5))) for number in range(1_000)]
    found = plan(many, big)
    assert used(found)["w"] <= 1_000_000
    assert found.gap < 0.01


# -- what holds for every plan ---------------------------------------------------------------------------------------


@given(pools())
def test_no_capacity_is_exceeded_and_no_level_is_one_that_its_session_does_not_allow(world: Pool) -> None:
    sessions, workers = world
    found = plan(sessions, workers)
    capacities = {worker.name: worker.capacity for worker in workers}
    assert found.overfull == ()
    assert all(cost <= capacities[name] for name, cost in used(found).items())

    by_name = {one.name: one for one in sessions}
    for seat in found.seats:
        rungs = by_name[seat.session].ladders[POOL].rungs
        assert (seat.level, seat.cost) in [(rung.level, rung.cost) for rung in rungs]
    assert {seat.session for seat in found.seats} | set(found.waiting) == set(by_name)


@given(pools())
def test_room_is_freed_before_it_is_taken(world: Pool) -> None:
    sessions, workers = world
    paid = {worker.name: sum(one.cost for one in sessions if one.worker == worker.name) for worker in workers}
    capacities = {worker.name: worker.capacity for worker in workers}
    for change in plan(sessions, workers).changes:
        paid[change.worker] += change.cost - change.cost_before
        assert paid[change.worker] <= capacities[change.worker]


@given(pools())
def test_nothing_changes_twice_in_its_time_unless_it_makes_room(world: Pool) -> None:
    sessions, workers = world
    found = plan(sessions, workers)
    admits = {one.worker for one in found.changes if one.cause is LevelCause.ADMITTED}
    by_name = {one.name: one for one in sessions}
    for change in found.changes:
        changed_ms = by_name[change.session].changed_ms
        if changed_ms is not None and NOW_MS - changed_ms < SETTLE_MS:
            assert change.cost < change.cost_before
            assert change.worker in admits
    assert len({change.session for change in found.changes}) == len(found.changes)


@given(pools(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(world: Pool, dice: random.Random) -> None:
    sessions, workers = list(world[0]), list(world[1])
    first = plan(sessions, workers)
    dice.shuffle(sessions)
    dice.shuffle(workers)
    assert plan(sessions, workers) == first


@given(pools(waiting=0))
def test_a_worker_alone_is_planned_as_it_is_in_its_pool(world: Pool) -> None:
    sessions, workers = world
    whole = plan(sessions, workers)
    for worker in workers:
        alone = plan([one for one in sessions if one.worker == worker.name], [worker])
        assert alone.changes == tuple(one for one in whole.changes if one.worker == worker.name)


@given(pools(settled=True))
def test_a_plan_that_is_carried_out_asks_for_nothing_more(world: Pool) -> None:
    sessions, workers = world
    found = plan(sessions, workers)
    by_name = {one.name: one for one in sessions}
    after = [
        LevelSession(seat.session, by_name[seat.session].ladders, seat.worker, seat.level, seat.cost)
        for seat in found.seats
    ]
    assert plan(after, workers).changes == ()


@given(pools(waiting=0))
def test_what_changes_is_worth_more_than_stickiness(world: Pool) -> None:
    sessions, workers = world
    found = plan(sessions, workers)
    now = {one.name: next(r.quality for r in one.ladders[POOL].rungs if r.level == one.granted) for one in sessions}
    by_name = {one.name: one for one in sessions}
    for worker in workers:
        here = [one for one in found.changes if one.worker == worker.name]
        gained = sum(seat.quality - now[seat.session] for seat in found.seats if seat.worker == worker.name)
        sticky = [one for one in here if one.cost < one.cost_before or not is_ripe(by_name[one.session])]
        # A thousandth decides between equals.
        assert gained >= len(sticky) * STICKINESS - TOLERANCE * len(now) - 1e-9


def is_ripe(session: LevelSession) -> bool:
    return session.changed_ms is None or NOW_MS - session.changed_ms >= RIPE_MS


# -- against oracles -------------------------------------------------------------------------------------------------


def worth(quality: float, *, changes: bool, raises: bool, stickiness: float) -> float:
    """An option in the oracles' words: all sessions have kept their level for long, so a raise is not sticky."""
    return quality - (stickiness if changes and not raises else 0.0)


def worth_of(found: LevelPlan, sessions: Sequence[LevelSession], stickiness: float) -> float:
    before = {one.name: one for one in sessions}
    total = 0.0
    for seat in found.seats:
        one = before[seat.session]
        changes = one.worker is not None and seat.level != one.granted
        total += worth(seat.quality, changes=changes, raises=seat.cost > one.cost, stickiness=stickiness)
    return total


def options(one: LevelSession, stickiness: float) -> list[tuple[int, float]]:
    return [
        (
            rung.cost,
            worth(
                rung.quality,
                changes=one.worker is not None and rung.level != one.granted,
                raises=rung.cost > one.cost,
                stickiness=stickiness,
            ),
        )
        for rung in one.ladders[POOL].rungs
    ]


def by_force(sessions: Sequence[LevelSession], workers: Sequence[LevelWorker], stickiness: float) -> float:
    """The best of all choices of one level for each session, and of a worker for each that waits. -inf: none fits."""
    names = [worker.name for worker in workers]
    places = [[one.worker] if one.worker is not None else names for one in sessions]
    choices = [
        list(itertools.product(where, options(one, stickiness))) for where, one in zip(places, sessions, strict=True)
    ]
    best = -math.inf
    for choice in itertools.product(*choices):
        left = {worker.name: worker.capacity for worker in workers}
        for where, (cost, _) in choice:
            left[where or ""] -= cost
        if min(left.values(), default=0) >= 0:
            best = max(best, sum(value for _, (_, value) in choice))
    return best


@settings(max_examples=80)
@given(pools(workers=2, sessions=3, waiting=1, settled=True), st.sampled_from([0.0, STICKINESS, 0.1]))
def test_a_plan_is_the_best_of_all_where_one_session_waits(world: Pool, stickiness: float) -> None:
    sessions, workers = world
    found = plan(sessions, workers, stickiness)
    best = by_force(sessions, workers, stickiness)
    assert bool(found.waiting) == (best == -math.inf)
    if not found.waiting:
        assert worth_of(found, sessions, stickiness) == pytest.approx(best, abs=TOLERANCE * max(1, len(sessions)))
        assert worth_of(found, sessions, stickiness) <= best + 1e-9


def by_programme(sessions: Sequence[LevelSession], workers: Sequence[LevelWorker], stickiness: float) -> float:
    """The same as a mixed-integer programme, with workers as bins."""
    groups = [Group([one.worker or ""], options(one, stickiness)) for one in sessions]
    return exact(groups, {worker.name: worker.capacity for worker in workers})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stickiness", [0.0, 0.05])
def test_a_plan_of_a_pool_is_within_a_thousandth_of_the_exact_programme(seed: int, stickiness: float) -> None:
    sessions, workers = lowered_pool(60, seed=seed, per_worker=12)
    found = plan(sessions, workers, stickiness)
    best = by_programme(sessions, workers, stickiness)
    assert len(found.changes) > 10
    assert best * (1 - TOLERANCE) <= worth_of(found, sessions, stickiness) <= best + 1e-6
    if stickiness == 0:
        assert found.quality <= best + 1e-6 <= found.bound + 2e-6
        assert found.gap < 0.05


def test_as_many_sessions_as_a_worker_may_have_add_up_without_overflow_and_more_are_refused() -> None:
    rungs = ladder((2, 1.0), (1, 0.9))
    many = [seated(f"s{number:04}", "w", 1, rungs, below_since_ms=number) for number in range(MOST_SESSIONS)]
    found = plan(many, [LevelWorker("w", POOL, 1_500)])
    assert used(found) == {"w": 1_500}
    assert found.quality == pytest.approx(950)
    with pytest.raises(ValueError, match="1001 sessions"):
        plan([*many, seated("one-more", "w")])


@given(pools(settled=True))
def test_no_plan_exceeds_its_bound(world: Pool) -> None:
    found = plan(*world)
    assert found.quality <= found.bound + 1e-9
    assert 0 <= found.gap <= 1


# -- how much it computes --------------------------------------------------------------------------------------------


def test_workers_whose_sessions_have_all_that_they_ask_for_cost_nothing() -> None:
    sessions, workers = lowered_pool(200, seed=1)
    content = [seated(one.name, one.worker or "", 0, ladder((50, 1.0), (25, 0.5))) for one in sessions]
    assert plan(content, workers).solved == 0


def test_ten_thousand_sessions_in_one_pool_are_one_knapsack_for_each_worker() -> None:
    sessions, workers = lowered_pool(10_000, seed=2)
    found = plan(sessions, workers)
    assert found.solved == len(workers) == 500
    assert len(found.seats) == 10_000


def test_ten_thousand_that_wait_for_a_full_pool_ask_each_worker_once_for_each_shape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0
    ask = Knapsack.value_with

    def counted(self: Knapsack, given: object) -> int | None:
        nonlocal asked
        asked += 1
        return ask(self, given)  # type: ignore[arg-type]

    monkeypatch.setattr(Knapsack, "value_with", counted)
    workers = [LevelWorker(f"w{number}", POOL, 1_000) for number in range(20)]
    sessions = [seated(f"s{number}", f"w{number}", 0, ladder((1_000, 1.0))) for number in range(20)]
    crowd = [newcomer(f"n{number}", LINEAR if number % 2 else ladder((500, 1.0))) for number in range(10_000)]
    found = plan([*sessions, *crowd], workers)
    assert len(found.waiting) == 10_000
    assert asked == 2 * len(workers)


def test_a_plan_admits_so_many_at_once_and_leaves_the_others_to_the_next() -> None:
    workers = [LevelWorker(f"w{number}", POOL, 1_000) for number in range(30)]
    crowd = [newcomer(f"n{number:03}", waits_since_ms=number) for number in range(100)]
    found = plan(crowd, workers)
    assert len(found.seats) == MOST_ADMISSIONS
    assert found.waiting == ()
    assert found.postponed == tuple(one.name for one in crowd[MOST_ADMISSIONS:])
