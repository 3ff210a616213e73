"""What of records and workers a plan of levels is made from."""

from dataclasses import replace

import pytest

from genlock_core.approximation.levels import Level
from genlock_core.claims.facts import WorkerState
from genlock_core.claims.price_list import HalfRate, PoolChoice
from genlock_core.claims.record import Granted, SessionRecord
from genlock_core.levelling.facts import (
    LevelFacts,
    Reserved,
    SeatedWorker,
    level_facts,
    newcomer,
    reserved_in,
    seated,
    takes_part,
)
from genlock_core.spec.session import Phase
from tests.core.levelling.world import CHOICE, NOW_MS, POOL, overloaded, owned, view, waiting_record, waits


def facts(*records: SessionRecord, wait: tuple[SessionRecord, ...] = (), kept: Reserved | None = None) -> LevelFacts:
    """Of one worker with these sessions."""
    worker = SeatedWorker(view("w", *records), records)
    return level_facts([worker], [waits(one) for one in wait], kept=kept or Reserved(), now_ms=NOW_MS)


@pytest.mark.parametrize(
    "worker",
    [
        view("w", state=WorkerState.DRAINING),
        view("w", heartbeat_age_ms=1_001),
        view("w", owned("s"), vitals=overloaded()),
    ],
    ids=["drains", "is stale", "is overloaded"],
)
def test_a_worker_that_takes_no_session_is_left_alone(worker: object) -> None:
    assert isinstance(worker, type(view()))
    assert not takes_part(worker)
    found = level_facts([SeatedWorker(worker, (owned("s"),))], [], kept=Reserved(), now_ms=NOW_MS)
    assert (found.sessions, found.workers) == ((), ())


def test_a_worker_without_a_session_is_not_overloaded() -> None:
    assert takes_part(view("w", vitals=overloaded()))


def test_a_session_is_told_with_what_it_pays_and_since_when_it_has_less_than_it_asks_for() -> None:
    (session,) = facts(owned("s", 2, changed_ms=NOW_MS - 5_000)).sessions
    assert (session.worker, session.granted, session.cost) == ("w", Level(2), 150)
    assert (session.changed_ms, session.below_since_ms) == (NOW_MS - 5_000, NOW_MS - 5_000)
    assert session.ladders[POOL].top.level == Level(4)


def test_what_is_lowered_counts_as_settled() -> None:
    """Else the next plan would lower another session for the same hole."""
    found = facts(owned("s", 1, cost=250))
    assert [(one.cost) for one in found.sessions] == [125]
    assert found.workers[0].capacity == 1_000


def test_what_has_got_dearer_costs_what_the_claim_pays() -> None:
    (session,) = facts(owned("s", cost=100)).sessions
    assert session.cost == 100


def test_a_session_of_a_worker_that_keeps_to_no_limit_has_no_ladder() -> None:
    session = seated(owned("s"), view("w", limits=False), somebody_waits=True)
    assert session.ladders == {}


@pytest.mark.parametrize("limits", [True, False])
def test_no_hole_is_made_on_a_worker_that_keeps_to_no_limit(limits: bool) -> None:
    worker = SeatedWorker(view("w", limits=limits), ())
    (found,) = level_facts([worker], [], kept=Reserved(), now_ms=NOW_MS).workers
    assert found.admits is limits


@pytest.mark.parametrize(
    "record",
    [replace(owned("s"), granted=None), owned("s", pools=(PoolChoice(POOL, 250),))],
    ids=["nobody says what is granted", "the pool costs the same at any steps"],
)
def test_a_session_of_the_release_before_has_no_ladder(record: SessionRecord) -> None:
    assert seated(record, view(), somebody_waits=True).ladders == {}


def test_what_nobody_asks_for_any_more_is_left_to_its_claim_unless_somebody_waits() -> None:
    record = owned("s", granted=4, wish=2)
    assert seated(record, view(), somebody_waits=False).ladders == {}
    assert seated(record, view(), somebody_waits=True).ladders[POOL].top.level == Level(2)


def test_sessions_that_could_not_be_read_keep_their_room() -> None:
    known, unknown = owned("a"), owned("b")
    worker = SeatedWorker(view("w", known, unknown), (known,))
    found = level_facts([worker], [], kept=Reserved(), now_ms=NOW_MS)
    assert [one.capacity for one in found.workers] == [750]


def test_a_session_that_moved_meanwhile_is_none_of_the_worker() -> None:
    found = level_facts([SeatedWorker(view(), (owned("s", worker="other"),))], [], kept=Reserved(), now_ms=NOW_MS)
    assert found.sessions == ()


def test_a_price_list_that_makes_no_ladder_leaves_the_session_as_it_is() -> None:
    broken = PoolChoice(POOL, 0, (0, 0, 0, 0))
    assert facts(owned("s", pools=(broken,))).sessions[0].ladders == {}


def test_who_waits_has_a_ladder_in_each_of_its_pools() -> None:
    other = PoolChoice("b", 500, (200, 300, 400, 500))
    record = replace(waiting_record("s"), pools=(CHOICE, other))
    found = newcomer(*waits(record, recovers=True))
    assert found is not None
    assert {pool: ladder.lowest.cost for pool, ladder in found.ladders.items()} == {"a": 125, "b": 200}
    assert (found.worker, found.recovers, found.waits_since_ms) == (None, True, NOW_MS - 500)


def test_who_ended_meanwhile_waits_no_more() -> None:
    assert newcomer(*waits(replace(waiting_record("s"), phase=Phase.ENDED))) is None


def test_who_waits_for_a_polite_move_loses_nothing_by_it_and_counts_for_its_old_worker_as_there() -> None:
    record = owned("s", 2)
    found = newcomer(*waits(record))
    assert found is not None
    assert [rung.level.steps for rung in found.ladders[POOL].rungs] == [4, 3, 2]

    both = facts(record, owned("t"), wait=(record,))
    assert [(one.name, one.worker) for one in both.sessions] == [("default/t", "w"), ("default/s", None)]
    assert [one.capacity for one in both.workers] == [850]


def test_every_second_frame_is_a_level_as_well() -> None:
    choice = replace(CHOICE, half=HalfRate(1, 70))
    record = replace(owned("s", 1, pools=(choice,), cost=70), granted=Granted(1, 11, 0, every=2))
    assert facts(record).sessions[0].granted == Level(1, every=2)


def test_the_reserve_lies_where_most_is_free() -> None:
    workers = [view("v", owned("s")), view("w", owned("s"), owned("t")), view("gone", heartbeat_age_ms=9_999)]
    assert reserved_in(workers, {POOL: 900}) == Reserved({"v": 750, "w": 150}, {})
    assert reserved_in(workers, {POOL: 1_500}) == Reserved({"v": 750, "w": 500}, {POOL: 250})


def test_newcomers_get_nothing_of_the_reserve() -> None:
    kept = Reserved({"w": 250}, {})
    found = facts(owned("a"), owned("b"), kept=kept)
    assert [one.capacity for one in found.workers] == [750]


def test_what_is_missing_of_a_reserve_is_made_good_only_while_somebody_waits() -> None:
    kept = Reserved({}, {POOL: 200})
    full = [owned(name) for name in "abcd"]
    assert [one.capacity for one in facts(*full, kept=kept).workers] == [1_000]
    assert [one.capacity for one in facts(*full, kept=kept, wait=(waiting_record("x"),)).workers] == [800]


def test_what_is_missing_of_a_reserve_that_nothing_makes_whole_is_not_made_good_and_nobody_comes_in() -> None:
    full = [owned(name) for name in "abcd"]
    found = facts(*full, kept=Reserved({}, {POOL: 900}), wait=(waiting_record("x"),))
    assert [one.capacity for one in found.workers] == [1_000]
    assert [one.ladders for one in found.sessions if one.worker is None] == [{}]
