"""What is told of a pool: sentences, the gap to the best, and no more than fits."""

from collections.abc import Sequence

import pytest

from genlock_core.claims.facts import WorkerState
from genlock_core.claims.price_list import PoolChoice
from genlock_core.claims.record import SessionRecord
from genlock_core.levelling.facts import Reserved
from genlock_core.levelling.planning import Planned, Reading, plan_of
from genlock_core.levelling.telling import MOST_CHARS, MOST_SENTENCES, LevelsTold, left_alone, tell
from tests.core.levelling.world import NOW_MS, POOL, overloaded, owned, view, waiting_record, waits


def planned(
    records: Sequence[SessionRecord], *, wait: Sequence[SessionRecord] = (), kept: Reserved | None = None
) -> Planned:
    known = {one.name: one for one in records}
    worker = view("w", *records)
    return plan_of(Reading(NOW_MS, [worker], known, [waits(one) for one in wait], kept or Reserved()))


def told(found: Planned, *, waiting: int = 0, alone: Sequence[str] = ()) -> LevelsTold:
    return tell(POOL, found.pages, found.waits.get(POOL, ()), alone=alone, waiting=waiting, by="g0", at_ms=1)


def test_a_pool_that_is_well_tells_how_many_it_has() -> None:
    found = told(planned([owned("a"), owned("b")]))
    assert (found.sessions, found.below, found.waiting, found.gap) == (2, 0, 0, 0.0)
    assert found.sentences == ()


def test_whoever_is_below_its_request_is_told_of_with_the_reason() -> None:
    records = [*(owned(name) for name in "abc"), owned("low", 3, changed_ms=NOW_MS - 1_000)]
    found = told(planned(records))
    assert found.below == 1
    assert [one for one in found.sentences if one.startswith("default/low runs 3 of 4 steps")]


def test_who_waits_and_finds_no_hole_is_told_first() -> None:
    full = [owned(name, 1, cost=250, pools=(PoolChoice(POOL, 250, (250,)),)) for name in "abcd"]
    found = told(planned(full, wait=[waiting_record("big")]), waiting=1)
    assert found.waiting == 1
    assert found.sentences[0].startswith("default/big waits: no worker can make a hole for it now (125 thousandths")


def test_the_quality_of_a_pool_is_held_against_the_best_possible() -> None:
    low = [owned(name, 2, changed_ms=NOW_MS - 1_000) for name in "abc"]
    found = told(planned(low))
    assert found.quality == pytest.approx(1.5)
    assert found.bound == pytest.approx(3.0)
    assert found.gap == pytest.approx(0.5)


def test_what_is_kept_for_moves_is_told() -> None:
    found = told(planned([owned("a")], kept=Reserved({"w": 250}, {})))
    assert "250 thousandths of w are kept for moves" in found.sentences


def test_workers_that_are_left_alone_are_told_with_the_reason() -> None:
    views = [
        view("v", state=WorkerState.DRAINING),
        view("w", heartbeat_age_ms=9_999),
        view("x", owned("s"), vitals=overloaded()),
        view("y"),
    ]
    assert [one.partition(":")[0] for one in left_alone(views)] == [
        "v drains",
        "w has not been heard of lately",
        "x is overloaded",
    ]


def test_a_large_pool_tells_of_some_and_how_many_it_left_out() -> None:
    found = told(planned([owned("a")]), alone=["x" * 10_000] * 1_000)
    assert len(found.sentences) == MOST_SENTENCES
    assert found.left_out == 1_000 - MOST_SENTENCES
    assert max(len(one) for one in found.sentences) <= MOST_CHARS
