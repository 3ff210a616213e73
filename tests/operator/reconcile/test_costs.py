"""What sessions take of their workers, as their records say."""

from dataclasses import replace

import pytest

from genlock_core.claims.record import ControlValue
from genlock_operator.observed import SessionCost
from genlock_operator.reconcile.costs import CostTable
from tests.operator.reconcile.views import record_of

POOL = "studio/h100"
LEVELS = (100, 200, 300, 400)


@pytest.fixture
def table() -> CostTable:
    return CostTable()


def test_a_session_asks_for_its_level_pays_for_what_is_granted_and_can_be_lowered(table: CostTable) -> None:
    table.note("studio/s1", record_of("studio/s1", POOL, cost=200, levels=LEVELS, steps=4))
    assert table.of_pool(POOL) == {"studio/s1": SessionCost(asked=400, paid=200, lowest=100)}


def test_what_its_users_ask_for_now_counts_and_not_the_spec(table: CostTable) -> None:
    record = record_of("studio/s1", POOL, cost=200, levels=LEVELS, steps=4)
    table.note("studio/s1", replace(record, control={"steps": ControlValue("3", "1-0")}))
    assert table.of_pool(POOL)["studio/s1"].asked == 300


def test_a_session_that_is_never_lowered_has_one_cost(table: CostTable) -> None:
    table.note("studio/s1", record_of("studio/s1", POOL, cost=400, levels=LEVELS, steps=4, policy="Never"))
    assert table.of_pool(POOL)["studio/s1"].lowest == 400


def test_a_session_without_a_worker_takes_nothing_and_one_that_moved_takes_it_elsewhere(table: CostTable) -> None:
    record = record_of("studio/s1", POOL, cost=400, levels=LEVELS, steps=4)
    table.note("studio/s1", record)
    table.note(
        "studio/s1", replace(record, pool="studio/other", pools=(replace(record.pools[0], pool="studio/other"),))
    )
    assert table.of_pool(POOL) == {}
    assert list(table.of_pool("studio/other")) == ["studio/s1"]
    table.note("studio/s1", replace(record, owner=None))
    assert table.of_pool("studio/other") == {}
    table.note("studio/s1", record)
    table.note("studio/s1", None)
    assert table.of_pool(POOL) == {}


def test_who_comes_next_is_expected_to_be_like_those_there_are_or_like_the_last_one(table: CostTable) -> None:
    assert table.usual(POOL) is None
    table.note("studio/s1", record_of("studio/s1", POOL, cost=400, levels=LEVELS, steps=4))
    table.note("studio/s2", record_of("studio/s2", POOL, cost=200, levels=LEVELS, steps=2))
    assert table.usual(POOL) == 300
    table.note("studio/s1", None)
    table.note("studio/s2", None)
    assert table.usual(POOL) == 200
    table.forget_pool(POOL)
    assert table.usual(POOL) is None


def test_the_miss_budget_is_the_mean_of_the_pools_sessions(table: CostTable) -> None:
    assert table.miss_budget(POOL) is None
    table.note("studio/s1", record_of("studio/s1", POOL, cost=400, levels=LEVELS, steps=4))
    assert table.miss_budget(POOL) == pytest.approx(0.01)
