"""Conditions: since when a status holds, and what Kubernetes wants to see in them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.spec.pool import PoolConditionType
from genlock_core.spec.status import Condition, ConditionType
from genlock_operator.plan.conditions import (
    MAX_MESSAGE_CHARS,
    ConditionVerdict,
    conditions,
    find,
    milliseconds,
    timestamp,
)
from genlock_operator.reasons import PoolReason, Reason

NOON_MS = 1_767_268_800_000
"""2026-01-01 12:00:00 UTC."""
LATER_MS = NOON_MS + 90_000


def assigned(
    holds: bool | None, reason: Reason = Reason.CLAIMED, message: str = "worker w0 has it"
) -> ConditionVerdict:
    return ConditionVerdict(ConditionType.ASSIGNED, holds, reason, message)


def first(*verdicts: ConditionVerdict) -> list[Condition]:
    return conditions([], verdicts, generation=1, now_ms=NOON_MS)


def test_a_first_verdict_holds_since_now() -> None:
    (condition,) = first(assigned(True))

    assert condition.last_transition_time == "2026-01-01T12:00:00Z"


def test_a_status_that_stays_keeps_its_time_whatever_else_changes() -> None:
    before = first(assigned(False, Reason.POOL_FULL, "full"))

    (condition,) = conditions(before, [assigned(False, Reason.QUOTA_EXCEEDED, "quota")], generation=2, now_ms=LATER_MS)

    assert condition.last_transition_time == timestamp(NOON_MS)
    assert (condition.reason, condition.message, condition.observed_generation) == ("QuotaExceeded", "quota", 2)


def test_a_status_that_changes_holds_since_now() -> None:
    before = first(assigned(False, Reason.POOL_FULL, "full"))

    (condition,) = conditions(before, [assigned(True)], generation=1, now_ms=LATER_MS)

    assert condition.last_transition_time == timestamp(LATER_MS)


@pytest.mark.parametrize(("holds", "status"), [(True, "True"), (False, "False"), (None, "Unknown")])
def test_what_holds_is_said_in_the_words_of_kubernetes(holds: bool | None, status: str) -> None:
    assert first(assigned(holds))[0].status == status


def test_a_condition_without_a_verdict_stays_as_it_is() -> None:
    before = first(assigned(True), ConditionVerdict(ConditionType.LIVE, True, Reason.STREAMING, "frames flow"))

    after = conditions(before, [assigned(False, Reason.STORE_AWAY, "away")], generation=1, now_ms=LATER_MS)

    assert find(after, ConditionType.LIVE) == find(before, ConditionType.LIVE)


def test_a_condition_that_is_not_there_is_not_found() -> None:
    assert find(first(assigned(True)), ConditionType.LIVE) is None


def test_a_pool_makes_its_conditions_the_same_way() -> None:
    (condition,) = first(
        ConditionVerdict(PoolConditionType.AVAILABLE, True, PoolReason.READY, "4 of 4 workers are ready")
    )

    assert (condition.type, condition.reason) == ("Available", "Ready")


def test_a_message_longer_than_the_schema_allows_is_cut() -> None:
    (condition,) = first(assigned(False, message="x" * (MAX_MESSAGE_CHARS + 1)))

    assert len(condition.message) == MAX_MESSAGE_CHARS


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_a_timestamp_reads_back_to_the_second(second: int) -> None:
    assert milliseconds(timestamp(second * 1_000 + 999)) == second * 1_000


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=20))
def test_the_time_is_always_that_of_the_last_change(history: list[bool | None]) -> None:
    stored: list[Condition] = []
    changed_ms = 0
    for step, holds in enumerate(history):
        now_ms = NOON_MS + step * 1_000
        if step == 0 or holds != history[step - 1]:
            changed_ms = now_ms
        stored = conditions(stored, [assigned(holds)], generation=1, now_ms=now_ms)

    assert stored[0].last_transition_time == timestamp(changed_ms)


def test_a_timestamp_is_in_utc_wherever_the_operator_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        there = timestamp(NOON_MS)
    time.tzset()

    assert there == "2026-01-01T12:00:00Z"
