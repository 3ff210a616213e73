"""What of two readings of the workers is news to a pool, and what is room for sessions that wait."""

from dataclasses import replace

import pytest

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.claims.identity import CAPACITY, FormatRange, WorkerIdentity
from genlock_core.claims.liveness import HEARTBEAT_STALE_MS
from genlock_core.claims.pulse import Vitals
from genlock_operator.reconcile.tables import WorkerTable

STUCK_AFTER_MS = 30_000
WARM = "studio/warm"
VIEW = WorkerView(
    identity=WorkerIdentity("w0", "an incarnation"),
    pool=WARM,
    model="wan2.1-1.3b",
    address="w0:7000",
    state=WorkerState.READY,
    heartbeat_age_ms=0,
    progress=1,
    links={},
    capacity=CAPACITY,
    free=500,
    sessions={"studio/a": 7},
    formats=FormatRange(1, 1),
    gpu_product="NVIDIA-H100",
    gpus=4,
)


def change(before: WorkerView | None, after: WorkerView | None) -> tuple[set[str], set[str]]:
    """Pools with news, and pools with more room, from one reading to the next."""
    table = WorkerTable(stuck_after_ms=STUCK_AFTER_MS)
    table.take({} if before is None else {"w0": before}, now_ms=0)
    changes = table.take({} if after is None else {"w0": after}, now_ms=1)
    return set(changes.pools), set(changes.roomier)


def test_a_worker_that_comes_is_news_and_room() -> None:
    assert change(None, VIEW) == ({WARM}, {WARM})


def test_a_worker_that_goes_is_news_and_no_room() -> None:
    assert change(VIEW, None) == ({WARM}, set())


def test_a_worker_of_another_pool_is_news_to_both() -> None:
    assert change(VIEW, replace(VIEW, pool="studio/other"))[0] == {WARM, "studio/other"}


@pytest.mark.parametrize(("free", "roomier"), [(750, {WARM}), (250, set())])
def test_only_more_room_than_before_is_room(free: int, roomier: set[str]) -> None:
    assert change(VIEW, replace(VIEW, free=free)) == ({WARM}, roomier)


@pytest.mark.parametrize(
    "closed", [replace(VIEW, state=WorkerState.DRAINING), replace(VIEW, heartbeat_age_ms=HEARTBEAT_STALE_MS + 1)]
)
def test_room_on_a_worker_that_takes_no_claims_is_none(closed: WorkerView) -> None:
    assert change(replace(closed, free=0), replace(closed, free=CAPACITY))[1] == set()
    assert change(closed, VIEW)[1] == {WARM}


def test_a_heartbeat_is_no_news() -> None:
    assert change(VIEW, replace(VIEW, heartbeat_age_ms=HEARTBEAT_STALE_MS, progress=2)) == (set(), set())


@pytest.mark.parametrize("limit_ms", [HEARTBEAT_STALE_MS, STUCK_AFTER_MS])
def test_a_heartbeat_that_gets_too_old_is_news(limit_ms: int) -> None:
    before = replace(VIEW, heartbeat_age_ms=limit_ms)

    assert change(before, replace(VIEW, heartbeat_age_ms=limit_ms + 1))[0] == {WARM}


def test_a_session_that_came_is_news_though_the_room_is_the_same() -> None:
    assert change(VIEW, replace(VIEW, sessions={"studio/b": 8})) == ({WARM}, set())


def test_a_worker_that_can_do_its_work_again_has_room_again() -> None:
    said = Vitals(1, "stepping", 0, 1_000, patient=True, overloaded=True)
    busy = replace(VIEW, sessions={"studio/demo": 1}, vitals=said)
    assert change(busy, replace(busy, vitals=replace(said, overloaded=False))) == ({WARM}, {WARM})
    assert change(replace(busy, vitals=None), busy) == ({WARM}, set())
