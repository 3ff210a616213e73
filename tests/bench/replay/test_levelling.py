"""Each policy of levels against a case worked by hand."""

from collections import Counter
from itertools import product

import pytest

from bench.replay.fleet import Fleet
from bench.replay.ladders import FIVE, SIX, quality_of
from bench.replay.levelling.by_load import ByLoad
from bench.replay.levelling.exact import Exact, best_levels
from bench.replay.levelling.fixed import BY_PROMPT, FASTEST, MOST_ACCURATE
from bench.replay.levelling.plan import Planned, PlannedWithMoves
from bench.replay.levelling.policy import LevelPolicy
from bench.replay.levelling.transport import PERIOD_S, Transport, transported, worker_levels
from tests.bench.replay.test_fleet import ready_worker


def admitted(policy: LevelPolicy, *prompts: int) -> Fleet:
    """One worker, to which these prompts come one after the other."""
    fleet = Fleet(SIX)
    ready_worker(fleet)
    for name, prompt in enumerate(prompts):
        policy.admit(fleet, name, prompt)
    return fleet


def places(fleet: Fleet) -> list[int]:
    return [fleet.sessions[name].place for name in sorted(fleet.sessions)]


def test_the_most_accurate_for_all_holds_4_and_the_fastest_for_all_6() -> None:
    assert places(admitted(MOST_ACCURATE, *[0] * 7)) == [0] * 4
    assert places(admitted(FASTEST, *[0] * 7)) == [3] * 6


def test_by_the_prompt_alone_each_has_what_it_needs_whatever_the_load() -> None:
    assert places(admitted(BY_PROMPT, 3, 0, 1, 2, 2)) == [3, 0, 1, 2]


def test_by_the_load_alone_all_of_a_worker_have_one_level() -> None:
    policy = ByLoad()
    fleet = admitted(policy, 0, 3, 0, 3, 0)
    assert places(fleet) == [2] * 5
    assert policy.admit(fleet, 5, 0) is fleet.ready[0]
    assert places(fleet) == [3] * 6
    assert policy.admit(fleet, 6, 0) is None

    policy.replan(fleet, fleet.leave(0))
    policy.replan(fleet, fleet.leave(1))
    assert places(fleet) == [0] * 4


def test_by_the_load_a_free_place_elsewhere_comes_before_a_lower_level() -> None:
    fleet = admitted(ByLoad(), 0, 0, 0, 0)
    other = ready_worker(fleet)
    assert ByLoad().admit(fleet, 9, 0) is other


def test_the_exact_programme_lowers_those_who_lose_least() -> None:
    prompts = (0, 0, 0, 3, 3)
    fitting = [levels for levels in product(range(4), repeat=5) if sum(SIX.costs[place] for place in levels) <= 1_000]
    most = max(sum(map(quality_of, prompts, levels)) for levels in fitting)

    fleet = admitted(Exact(), *prompts)
    assert sum(map(quality_of, prompts, places(fleet))) == pytest.approx(most)
    assert places(fleet)[3:] == [3, 3]
    assert best_levels(FIVE.costs, (0,) * 6) is None


def test_our_plan_has_the_quality_of_the_exact_programme_and_no_seventh_session() -> None:
    for prompts in ((0, 0, 0, 3, 3), (1, 2, 1, 0, 3, 2), (3, 3, 3, 3, 3)):
        fleet = admitted(Planned(SIX), *prompts)
        found = sum(quality_of(session.prompt, session.place) for session in fleet.sessions.values())
        best = best_levels(SIX.costs, tuple(sorted(prompts)))
        assert best is not None
        # A change must be worth more than the stickiness, so a plan may stay that much below for each session.
        assert best[0] - 0.01 * len(prompts) <= found <= best[0] + 1e-9
    assert Planned(SIX).admit(admitted(Planned(SIX), *[0] * 6), 6, 0) is None


def test_our_plan_raises_again_when_there_is_room_and_15_s_have_passed() -> None:
    policy = Planned(SIX)
    fleet = admitted(policy, 0, 0, 0, 0, 0)
    assert any(places(fleet))
    worker = fleet.leave(0)
    policy.replan(fleet, worker)
    assert any(places(fleet))
    fleet.advance(75)
    policy.replan(fleet, worker)
    assert places(fleet) == [0] * 4


def test_our_plan_looks_again_when_a_rule_of_time_is_due_and_never_for_ever() -> None:
    policy = Planned(SIX)
    for tenth in range(200):
        fleet = admitted(policy, 0, 0, 0, 0)
        fleet.advance(tenth / 10)
        policy.admit(fleet, 4, 0)
        worker = fleet.ready[0]
        found: list[float] = []
        while (in_s := policy.looks_again_in(fleet, worker)) is not None and len(found) < 9:
            fleet.advance(fleet.now_s + in_s)
            found.append(in_s)
        assert found == pytest.approx([15, 45])


def test_moves_that_raise_take_room_anywhere() -> None:
    policy = PlannedWithMoves(SIX)
    fleet = admitted(policy, 0, 0, 0, 0, 0)
    lowered = sum(place > 0 for place in places(fleet))
    ready_worker(fleet)
    policy.replan(fleet, fleet.ready[0])
    assert places(fleet) == [0] * 5
    assert fleet.meter.moves == lowered


@pytest.mark.parametrize(
    ("workers", "sessions", "levels"),
    [
        (3, 12, (3, 0, 0, 0)),
        (3, 18, (0, 0, 0, 3)),
        (3, 99, (0, 0, 0, 3)),
        # One at the third level holds 5: 8 sessions keep all that they ask for.
        (3, 13, (2, 0, 1, 0)),
        # The lowest level of one (0.9438 for 6) is less than two of the third (0.9581 for 5 each).
        (3, 14, (2, 0, 0, 1)),
    ],
)
def test_the_programme_of_workers_knows_no_prompts(workers: int, sessions: int, levels: tuple[int, ...]) -> None:
    assert worker_levels(SIX.costs, workers, sessions) == levels


def test_transport_brings_who_needs_most_to_the_top() -> None:
    fleet = admitted(FASTEST, 3, 0, 2, 1)
    found = transported(list(fleet.sessions.values()), Counter({0: 2, 3: 2}))
    assert {session.prompt: place for session, place in found} == {0: 0, 1: 0, 2: 3, 3: 3}


def test_programme_and_transport_route_every_15_s() -> None:
    policy = Transport()
    fleet = admitted(policy, 3, 3, 0, 0)
    ready_worker(fleet)
    fleet.advance(PERIOD_S)
    for name in range(10, 14):
        assert policy.admit(fleet, name, 1) is not None

    # 8 sessions, planned for 10: one worker goes to the lowest level, with those who lose least.
    fleet.advance(2 * PERIOD_S)
    policy.replan(fleet, fleet.ready[0])
    assert Counter(session.place for session in fleet.sessions.values()) == {0: 4, 3: 4}
    assert {session.prompt for session in fleet.sessions.values() if session.place == 0} == {0, 1}
