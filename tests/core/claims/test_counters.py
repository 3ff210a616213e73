"""What workers and pools have counted: read back, merged by nobody, and never believed where it cannot be."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core import store
from genlock_core.claims import keys
from genlock_core.claims.counters import (
    KEPT_S,
    MAX_COSTS,
    MAX_PAGE_BYTES,
    CostShape,
    CounterBoard,
    LearnedCost,
    PoolCounters,
    WorkerCounters,
    risen,
)

SHAPE = CostShape("wan2.1-1.3b", 832, 480)
COST = LearnedCost(
    SHAPE, 0.02, 0.03, 30.0, chunk_s=0.01, rows=2.0, chunks=1.0, promised_base_s=0.02, promised_row_s=0.02
)
PAGE = WorkerCounters("w0", "i0", "default/h100", frames=1_000, late=7, costs=(COST,))
POOL = "default/h100"


@pytest.fixture(params=["redis", "cluster"])
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[store.Store]:
    """An empty Redis, and an empty Redis Cluster."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        nodes = request.getfixturevalue("redis_cluster")
        url = "redis+cluster://" + ",".join(node.removeprefix("redis://").removesuffix("/0") for node in nodes)
    client = store.connect(url)
    yield client
    await client.aclose()


@pytest.fixture
def board(anywhere: store.Store) -> CounterBoard:
    return CounterBoard(anywhere)


async def test_what_workers_post_is_read_back_with_its_age(board: CounterBoard, anywhere: store.Store) -> None:
    await board.post(PAGE)
    await board.post(replace(PAGE, worker="w1", costs=()))
    await cast("Any", anywhere.pexpire(f"{keys.PREFIX}counts:worker:w1", (KEPT_S - 90) * 1_000))

    found = await board.workers()

    assert {name: replace(page, age_s=0.0) for name, page in found.items()} == {
        "w0": PAGE,
        "w1": replace(PAGE, worker="w1", costs=()),
    }
    assert 0 <= found["w0"].age_s < 60
    assert 90 <= found["w1"].age_s < 150


async def test_a_worker_that_is_gone_leaves_nothing(board: CounterBoard, anywhere: store.Store) -> None:
    await board.post(PAGE)
    assert 0 < await cast("Any", anywhere.ttl(f"{keys.PREFIX}counts:worker:w0")) <= KEPT_S
    await cast("Any", anywhere.delete(f"{keys.PREFIX}counts:worker:w0"))  # what its time to live does
    assert await board.workers() == {}
    assert await cast("Any", anywhere.smembers(f"{keys.PREFIX}counts:workers")) == set()


async def test_of_many_shapes_those_that_were_seen_most_are_told(board: CounterBoard) -> None:
    costs = [replace(COST, shape=replace(SHAPE, width=16 * number), weight=float(number)) for number in range(40)]
    await board.post(replace(PAGE, costs=tuple(costs)))
    (page,) = (await board.workers()).values()
    assert [cost.weight for cost in page.costs] == [float(number) for number in range(39, 39 - MAX_COSTS, -1)]


@pytest.mark.parametrize(
    "nonsense",
    [
        "no JSON",
        "[]",
        "7",
        "\xff",
        '{"worker": "w1", "incarnation": "i", "pool": "p", "frames": -1}',
        '{"worker": "w1", "incarnation": "i", "pool": "p", "late": "many"}',
        '{"worker": "w1", "incarnation": "i", "pool": "p", "costs": [{"shape": null}]}',
        '{"worker": "w1", "incarnation": "i", "pool": "p", "costs": [{"shape": {"model": "m", "width": 1, "height": 1},'
        ' "base_s": NaN, "row_s": 1, "weight": 1}]}',
        " " * MAX_PAGE_BYTES + '{"worker": "w1", "incarnation": "i", "pool": "p"}',
    ],
)
async def test_nonsense_is_left_out_and_the_rest_is_read(
    board: CounterBoard, anywhere: store.Store, nonsense: str, caplog: pytest.LogCaptureFixture
) -> None:
    await board.post(PAGE)
    await board.post(replace(PAGE, worker="w1"))
    await cast("Any", anywhere.set(f"{keys.PREFIX}counts:worker:w1", nonsense, ex=KEPT_S))
    assert list(await board.workers()) == ["w0"]
    assert "cannot be read" in caplog.text


async def test_a_page_of_another_release_is_read_as_far_as_it_is_known(
    board: CounterBoard, anywhere: store.Store
) -> None:
    await board.post(PAGE)
    text = '{"worker": "w0", "incarnation": "i1", "pool": "default/h100", "frames": 3, "mood": "good"}'
    await cast("Any", anywhere.set(f"{keys.PREFIX}counts:worker:w0", text, ex=KEPT_S))
    (page,) = (await board.workers()).values()
    assert (page.frames, page.late, page.costs) == (3, 0, ())


async def test_a_pools_counts_are_what_was_written_0_before_and_nothing_where_they_cannot_be_read(
    board: CounterBoard, anywhere: store.Store
) -> None:
    await cast("Any", anywhere.hset(keys.pool_counts(POOL), mapping={"arrivals": 3, "blocked": 1, "moods": 9}))
    await cast("Any", anywhere.hset(keys.pool_counts("default/odd"), mapping={"arrivals": "many"}))
    assert await board.pools([POOL, "default/new", "default/odd"]) == {
        POOL: PoolCounters(arrivals=3, blocked=1),
        "default/new": PoolCounters(),
    }
    assert await board.pools([]) == {}


@given(st.lists(st.integers(0, 1_000), min_size=1), st.data())
def test_what_has_risen_adds_up_over_restarts_and_never_falls(counted: list[int], data: st.DataObject) -> None:
    """Counts of one run after the other; within one they only grow."""
    total, before = 0, 0
    for run in counted:
        readings = sorted(data.draw(st.lists(st.integers(0, run), max_size=4)))
        for reading in [*readings, run]:
            more = risen(before, reading)
            assert more >= 0
            total += more
            before = reading
    # What a restart hides (it counted further than before by the next reading) can only be missed, never be invented.
    assert total <= sum(counted)


def test_a_count_that_went_back_began_anew() -> None:
    before, after = PoolCounters(100, 90, 5), PoolCounters(3, 91, 0)
    assert after.since(before) == PoolCounters(3, 1, 0)


def test_another_process_of_the_same_name_counts_from_0() -> None:
    later = replace(PAGE, frames=1_500, late=9)
    assert later.since(PAGE) == (500, 2)
    assert replace(later, incarnation="i1").since(PAGE) == (1_500, 9)
    assert later.since(None) == (1_500, 9)


def test_speed_is_what_was_promised_over_what_was_learned() -> None:
    # Two rows: promised 20 + 40 ms, learned 20 + 60 + 10 ms.
    assert COST.speed == pytest.approx(60 / 90)
    assert replace(COST, rows=4.0, chunks=2.0).speed == pytest.approx(100 / 160)
    assert replace(COST, promised_row_s=None).speed is None
    assert replace(COST, base_s=0.0, row_s=0.0, chunk_s=0.0).speed is None
    assert replace(COST, promised_base_s=0.0, promised_row_s=0.0).speed is None
