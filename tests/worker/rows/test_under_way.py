"""Which batches the engine has, and when its device will be free."""

import pytest

from genlock_core.sizing.step_time import StepTime
from genlock_worker.engines.contract import BatchShape, DeviceSeconds, Row
from genlock_worker.rows.cost_model import CostModel
from genlock_worker.rows.under_way import BatchUnderWay, UnderWay

SHAPE = BatchShape("m", 64, 64, 4)


def batch(number: int, *sessions: str, begun: int = 0) -> BatchUnderWay:
    rows = tuple(Row(session, 0, 1) for session in sessions)
    return BatchUnderWay(number, rows, {session: f"{session}#1" for session in sessions}, SHAPE, begun)


def test_the_device_is_free_when_it_is_done_with_all_that_it_has() -> None:
    one = UnderWay(CostModel(StepTime(0.1, 0.01)))
    one.add(batch(1, "a"), 5.0)
    assert one.free_s == pytest.approx(5.11)
    one.add(batch(2, "a", "b"), 5.1)
    assert one.free_s == pytest.approx(5.11 + 0.12)
    one.add(batch(3, "c"), 9.0)
    assert one.free_s == pytest.approx(9.11), "it was free meanwhile"


def test_what_really_happened_corrects_that() -> None:
    one = UnderWay(CostModel(StepTime(0.1, 0.01)))
    one.add(batch(1, "a"), 5.0)
    one.add(batch(2, "b"), 5.1)
    assert one.take(1, 5.3) is not None
    assert one.free_s == pytest.approx(5.3 + 0.11)
    assert one.take(2, 5.35) is not None
    assert one.free_s == 5.35


def test_a_batch_comes_back_once() -> None:
    one = UnderWay(CostModel(StepTime(0.1, 0.01)))
    one.add(batch(1, "a", "b"), 5.0)
    one.add(batch(2, "c"), 5.0)
    assert (len(one), one.sessions) == (2, {"a", "b", "c"})
    taken = one.take(1, 5.1)
    assert taken is not None
    assert taken.names == {"a": "a#1", "b": "b#1"}
    free_s = one.free_s
    assert (one.take(1, 5.2), one.take(7, 5.2)) == (None, None)
    assert (len(one), one.sessions, one.free_s) == (1, {"c"}, free_s)


def test_numbers_are_never_used_twice() -> None:
    one = UnderWay(CostModel(StepTime(0.1, 0.01)))
    assert len({one.next_number() for _ in range(50)}) == 50


def test_what_a_batch_took_teaches_what_the_next_ones_take() -> None:
    cost = CostModel(StepTime(0.1, 0.0))
    one = UnderWay(cost)
    for number in range(60):
        one.learn(batch(number, "a", begun=1), DeviceSeconds(rows=0.2, encode=0.03, decode=0.05), encoded=1, decoded=1)
    assert cost.seconds(SHAPE, 1) == pytest.approx(0.2, rel=0.05)
    assert (cost.encode_s(SHAPE), cost.decode_s(SHAPE)) == pytest.approx((0.03, 0.05), rel=0.05)
    assert one.busy_s == pytest.approx(60 * 0.28)
    one.add(batch(99, "a", begun=2), 5.0)
    assert one.free_s == pytest.approx(5.0 + 0.2 + 0.06, rel=0.01)
